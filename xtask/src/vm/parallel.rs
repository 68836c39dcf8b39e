//! Several machines at once.

use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

/// What `work` makes of each item, in the items' order. At most `jobs` are at work at a time.
pub(super) fn map<T: Sync, R: Send>(
    items: &[T],
    jobs: NonZero<usize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let waiting = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let next = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(items.len()) {
            scope.spawn(|| {
                while let Some((place, item)) = next() {
                    let result = work(item);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_stand_in_the_items_order_and_work_is_done_at_once() {
        // The first waits for the second, so one worker alone would never end.
        let both = Barrier::new(2);
        let doubled = map(&[1, 2, 3], NonZero::new(2).unwrap(), |number| {
            if *number < 3 {
                both.wait();
            }
            number * 2
        });
        assert_eq!(doubled, [2, 4, 6]);
        assert!(map(&[], NonZero::<usize>::MIN, |number: &u8| *number).is_empty());
    }
}

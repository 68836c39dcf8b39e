//! Many that want to be looked at, a few at a time, each in its turn.

use std::{collections::BTreeSet, ops::Bound};

/// Those that wait. The order is theirs, and goes on behind the one that came last: nobody waits for ever.
#[derive(Debug)]
pub(super) struct Turns<T> {
    waiting: BTreeSet<T>,
    last: Option<T>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeSet::new(),
            last: None,
        }
    }
}

impl<T: Copy + Ord> Turns<T> {
    /// It waits from now on.
    pub(super) fn insert(&mut self, one: T) {
        self.waiting.insert(one);
    }

    /// It waits no more.
    pub(super) fn remove(&mut self, one: &T) {
        self.waiting.remove(one);
    }

    /// At most so many whose turn it is; they wait again.
    pub(super) fn next(&mut self, most: usize) -> Vec<T> {
        let chosen: Vec<T> = match self.last {
            None => self.waiting.iter().take(most).copied().collect(),
            Some(last) => {
                let behind = self
                    .waiting
                    .range((Bound::Excluded(last), Bound::Unbounded));
                let before = self.waiting.range(..=last);
                behind.chain(before).take(most).copied().collect()
            }
        };
        self.last = chosen.last().copied().or(self.last);
        chosen
    }

    /// As above; they wait no more.
    pub(super) fn take(&mut self, most: usize) -> Vec<T> {
        let chosen = self.next(most);
        for one in &chosen {
            self.waiting.remove(one);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_has_its_turn_though_the_lowest_always_want_one() {
        let mut turns = Turns::default();
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            for one in 0..40 {
                turns.insert(one);
            }
            seen.extend(turns.take(16));
        }
        assert_eq!(seen.len(), 40);
        // Who was not looked at still waits.
        assert_eq!(turns.next(40).len(), 24);
    }

    #[test]
    fn who_stays_comes_again() {
        let mut turns = Turns::default();
        for one in [1, 2, 3] {
            turns.insert(one);
        }
        assert_eq!(turns.next(2), [1, 2]);
        assert_eq!(turns.next(2), [3, 1]);
        turns.remove(&2);
        assert_eq!(turns.next(9), [3, 1]);
    }
}

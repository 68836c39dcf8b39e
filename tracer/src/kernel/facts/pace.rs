//! What is slow on a large machine is done less often there: events wait meanwhile.

use std::time::{Duration, Instant};

/// Of each second.
const SHARE: Duration = Duration::from_millis(50);

/// Time that slow work has taken, and that is not made up for yet.
#[derive(Debug, Default)]
pub(super) struct Pace {
    owed: Duration,
}

impl Pace {
    /// A second has gone by.
    pub(super) fn tick(&mut self) {
        self.owed = self.owed.saturating_sub(SHARE);
    }

    /// Does the work where there is time for it.
    pub(super) fn spend<T>(&mut self, work: impl FnOnce() -> T) -> Option<T> {
        if self.owed >= SHARE {
            return None;
        }
        let began = Instant::now();
        let done = work();
        self.owed += began.elapsed();
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_not_done_again_soon() {
        let mut pace = Pace::default();
        assert_eq!(pace.spend(|| 1), Some(1));
        assert_eq!(pace.spend(|| 2), Some(2), "it took no time");
        pace.owed = SHARE * 3;
        assert_eq!(pace.spend(|| 3), None);
        pace.tick();
        pace.tick();
        assert_eq!(pace.spend(|| 4), None);
        pace.tick();
        assert_eq!(pace.spend(|| 5), Some(5));
    }
}

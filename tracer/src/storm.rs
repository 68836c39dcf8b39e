//! Turns cumulative counts into "since last time".
//!
//! The kernel's records of a storm carry the total so far, and so does its map: whatever records are
//! lost, the sum of what is handed out equals the last total seen.

use std::{collections::HashMap, hash::Hash};

/// Totals seen so far, by key.
#[derive(Debug)]
pub struct Ledger<K> {
    seen: HashMap<K, u64>,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self {
            seen: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Ledger<K> {
    /// What a total adds to those seen before; 0 for one that came late.
    pub fn since(&mut self, key: K, total: u64) -> u64 {
        let seen = self.seen.entry(key).or_default();
        let new = total.saturating_sub(*seen);
        *seen += new;
        new
    }

    /// Forgets a key: its totals start from zero again.
    pub fn forget(&mut self, key: &K) {
        self.seen.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Records lost, doubled or out of order: the sum is the kernel's total.
        #[test]
        fn any_loss_and_order_keep_the_sum(
            totals in proptest::collection::vec(1u64..1000, 0..50),
            last in 1000u64..2000,
        ) {
            let mut ledger = Ledger::default();
            let told: u64 = totals.iter().map(|total| ledger.since("key", *total)).sum();
            prop_assert_eq!(told + ledger.since("key", last), last);
            prop_assert_eq!(ledger.since("other", last), last);
        }
    }
}

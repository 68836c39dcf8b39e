//! Time-wait overflows: how many each namespace counts, and how many were told with an owner.

use std::collections::{BTreeMap, HashMap};

/// `TCPTimeWaitOverflow` of namespaces, by inode number, against what was told.
pub(super) struct Overflows {
    at_start: BTreeMap<u32, u64>,
    told: HashMap<u32, u64>,
}

impl Overflows {
    /// From the counters at the start; a namespace that comes later starts from zero.
    pub(super) fn since(at_start: BTreeMap<u32, u64>) -> Self {
        Self {
            at_start,
            told: HashMap::new(),
        }
    }

    /// Some were told.
    pub(super) fn told(&mut self, netns: u32, count: u64) {
        *self.told.entry(netns).or_default() += count;
    }

    /// What the counters have now and nobody was told of, by namespace; it counts as told from now on.
    pub(super) fn rest(&mut self, now: &BTreeMap<u32, u64>) -> Vec<(u32, u64)> {
        let mut rest = Vec::new();
        for (netns, count) in now {
            let grown = count.saturating_sub(self.at_start.get(netns).copied().unwrap_or(0));
            let told = self.told.entry(*netns).or_default();
            let missing = grown.saturating_sub(*told);
            if missing > 0 {
                *told += missing;
                rest.push((*netns, missing));
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_and_the_rest_add_up_to_the_counter() {
        let mut overflows = Overflows::since(BTreeMap::from([(1, 100)]));
        overflows.told(1, 5);
        assert_eq!(
            overflows.rest(&BTreeMap::from([(1, 107), (2, 3)])),
            [(1, 2), (2, 3)]
        );
        assert_eq!(overflows.rest(&BTreeMap::from([(1, 107), (2, 3)])), []);
    }
}

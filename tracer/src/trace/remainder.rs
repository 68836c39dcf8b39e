//! How much each namespace counts by itself, and how much of it was told in events.

use std::collections::{BTreeMap, HashMap};

/// A counter of namespaces, by inode number, against what was told.
pub(super) struct Remainder {
    at_start: BTreeMap<u32, u64>,
    told: HashMap<u32, u64>,
}

impl Remainder {
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

    /// Whether its counter was read at the start.
    pub(super) fn is_from_start(&self, netns: u32) -> bool {
        self.at_start.contains_key(&netns)
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
        let mut overflows = Remainder::since(BTreeMap::from([(1, 100)]));
        overflows.told(1, 5);
        assert_eq!(
            overflows.rest(&BTreeMap::from([(1, 107), (2, 3)])),
            [(1, 2), (2, 3)]
        );
        assert_eq!(overflows.rest(&BTreeMap::from([(1, 107), (2, 3)])), []);
        assert!(overflows.is_from_start(1) && !overflows.is_from_start(2));
    }

    /// What happened between attaching and the first reading was told, though the counter had it already.
    #[test]
    fn there_is_no_rest_where_more_was_told_than_counted() {
        let mut segs = Remainder::since(BTreeMap::from([(1, 100)]));
        segs.told(1, 8);
        assert_eq!(segs.rest(&BTreeMap::from([(1, 107)])), []);
        assert_eq!(segs.rest(&BTreeMap::from([(1, 110)])), [(1, 2)]);
        // Another namespace that has got the number.
        assert_eq!(segs.rest(&BTreeMap::from([(1, 4)])), []);
    }
}

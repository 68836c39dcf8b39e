//! Each process's totals as the kernel counted them, also of those that its map has forgotten.
//!
//! They come from the kernel's map alone, so a lost record changes none of them.

use std::{cmp::Reverse, collections::HashMap, rc::Rc};

use tracer_common::process::{ProcessKey, Totals};

use super::frame::ProcessRow;
use crate::identity::Identity;

/// Processes that ended and had trouble; beyond that many they are added up in one row.
const ENDED_KEPT: usize = 65_536;

/// Totals of ended processes, and what was told of all.
#[derive(Debug, Default)]
pub(super) struct Ended {
    rows: HashMap<ProcessKey, ProcessRow>,
    /// Those beyond [`ENDED_KEPT`].
    others: Totals,
}

impl Ended {
    /// Keeps the totals of a process that the kernel's map is about to forget.
    pub(super) fn retire(&mut self, key: ProcessKey, who: &Rc<Identity>, totals: &Totals) {
        if *totals == Totals::default() {
            return;
        }
        if self.rows.len() < ENDED_KEPT || self.rows.contains_key(&key) {
            let row = self.rows.entry(key).or_insert_with(|| ProcessRow {
                who: Some(Rc::clone(who)),
                sockets: 0,
                totals: Totals::default(),
            });
            add(&mut row.totals, totals);
        } else {
            add(&mut self.others, totals);
        }
    }

    /// What a process's row comes to, with what the kernel's map has of it now.
    pub(super) fn with(&self, key: &ProcessKey, mut row: ProcessRow) -> ProcessRow {
        if let Some(before) = self.rows.get(key) {
            add(&mut row.totals, &before.totals);
        }
        if !key.is_known() {
            add(&mut row.totals, &self.others);
        }
        row
    }

    /// All processes with anything to tell, the most troubled first: those that were retired and those
    /// in the kernel's map now.
    pub(super) fn all(&self, live: Vec<(ProcessKey, ProcessRow)>) -> Vec<ProcessRow> {
        let mut rows = self.rows.clone();
        let mut is_unknown_told = false;
        for (key, row) in live {
            is_unknown_told |= !key.is_known();
            rows.insert(key, self.with(&key, row));
        }
        if !is_unknown_told {
            let row = ProcessRow {
                who: None,
                sockets: 0,
                totals: self.others,
            };
            rows.insert(ProcessKey::UNKNOWN, row);
        }
        let mut rows: Vec<(ProcessKey, ProcessRow)> = rows
            .into_iter()
            .filter(|(_, row)| row.totals != Totals::default())
            .collect();
        rows.sort_by_key(|(key, row)| {
            (
                Reverse(row.totals.trouble()),
                Reverse(row.totals.connections),
                *key,
            )
        });
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

const fn add(sum: &mut Totals, more: &Totals) {
    sum.connections += more.connections;
    sum.connect_failed += more.connect_failed;
    sum.retransmit_segs += more.retransmit_segs;
    sum.resets_sent += more.resets_sent;
    sum.resets_received += more.resets_received;
    sum.time_wait_overflow += more.time_wait_overflow;
    sum.fd_exhausted += more.fd_exhausted;
    sum.lost += more.lost;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey {
            start: u64::from(tgid),
            tgid,
            pad: 0,
        }
    }

    fn named(pid: u32) -> Rc<Identity> {
        Rc::new(Identity {
            pid,
            ..Identity::default()
        })
    }

    fn totals(segs: u64) -> Totals {
        Totals {
            retransmit_segs: segs,
            connections: 1,
            ..Totals::default()
        }
    }

    proptest! {
        /// However processes end and are retired, in whatever order: each one's sum is what the kernel
        /// counted.
        #[test]
        fn any_interleaving_keeps_the_totals(
            steps in proptest::collection::vec((1u32..6, 0u64..1000, any::<bool>()), 0..100),
        ) {
            let mut ended = Ended::default();
            let mut kernel: BTreeMap<u32, Totals> = BTreeMap::new();
            let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
            for (tgid, segs, is_retired) in steps {
                add(kernel.entry(tgid).or_default(), &totals(segs));
                *expected.entry(tgid).or_default() += segs;
                if is_retired && let Some(sum) = kernel.remove(&tgid) {
                    ended.retire(key(tgid), &named(tgid), &sum);
                }
            }
            let live: Vec<_> = kernel
                .into_iter()
                .map(|(tgid, totals)| {
                    let who = Some(named(tgid));
                    (key(tgid), ProcessRow { who, sockets: 0, totals })
                })
                .collect();
            let told: BTreeMap<u32, u64> = ended
                .all(live)
                .into_iter()
                .map(|row| (row.who.unwrap().pid, row.totals.retransmit_segs))
                .collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn the_most_troubled_process_comes_first() {
        let mut ended = Ended::default();
        ended.retire(key(1), &named(1), &totals(0));
        ended.retire(key(2), &named(2), &totals(9));
        let pids: Vec<_> = ended
            .all(Vec::new())
            .into_iter()
            .map(|row| row.who.unwrap().pid)
            .collect();
        assert_eq!(pids, [2, 1]);
    }
}

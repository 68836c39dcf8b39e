//! What is added up: events by kind as they were shown, and each process's totals as the kernel
//! counted them.
//!
//! The totals come from the kernel's map alone, so a lost record changes none of them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use serde::Serialize;
use tracer_common::process::{ProcessKey, Totals};

use crate::identity::{Identity, cgroup::Container};

/// Processes that ended and had trouble; beyond that many they are added up in one row.
const ENDED_KEPT: usize = 65_536;

/// Sums over a trace.
#[derive(Debug, Default)]
pub struct Aggregate {
    events: BTreeMap<&'static str, u64>,
    ended: HashMap<ProcessKey, (Rc<Identity>, Totals)>,
    ended_others: Totals,
}

/// A process's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessRow {
    /// Thread group id; null for what has no known owner.
    pub pid: Option<u32>,
    /// When it started, RFC 3339.
    pub pid_start: Option<String>,
    /// User id.
    pub uid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// Its command line, as far as it is known (256 bytes).
    pub cmdline: Option<String>,
    /// Its cgroup.
    pub cgroup: Option<String>,
    /// Its container.
    pub container: Option<Container>,
    /// Its unit.
    pub unit: Option<String>,
    /// What happened to it.
    #[serde(flatten)]
    pub totals: Totals,
}

impl Aggregate {
    /// Counts an event that was shown.
    pub fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// Events by kind.
    #[must_use]
    pub const fn events(&self) -> &BTreeMap<&'static str, u64> {
        &self.events
    }

    /// Keeps the totals of a process that the kernel's map is about to forget.
    pub fn retire(&mut self, key: ProcessKey, identity: &Rc<Identity>, totals: &Totals) {
        if *totals == Totals::default() {
            return;
        }
        if self.ended.len() < ENDED_KEPT || self.ended.contains_key(&key) {
            let (_, sum) = self
                .ended
                .entry(key)
                .or_insert_with(|| (Rc::clone(identity), Totals::default()));
            add(sum, totals);
        } else {
            add(&mut self.ended_others, totals);
        }
    }

    /// All processes with anything to tell, the most troubled first: those that were retired and those
    /// in the kernel's map now.
    #[must_use]
    pub fn processes(&self, live: &[Row]) -> Vec<Row> {
        let mut rows = self.ended.clone();
        for (key, identity, totals) in live {
            let (name, sum) = rows.entry(*key).or_default();
            name.clone_from(identity);
            add(sum, totals);
        }
        let (_, others) = rows.entry(ProcessKey::UNKNOWN).or_default();
        add(others, &self.ended_others);
        let mut rows: Vec<Row> = rows
            .into_iter()
            .map(|(key, (identity, totals))| (key, identity, totals))
            .filter(|(_, _, totals)| *totals != Totals::default())
            .collect();
        rows.sort_by_key(|(key, _, totals)| {
            (Reverse(totals.trouble()), Reverse(totals.connections), *key)
        });
        rows
    }
}

/// A process, who it is, and what happened to it.
pub type Row = (ProcessKey, Rc<Identity>, Totals);

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
    use proptest::prelude::*;

    use super::*;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey {
            start: u64::from(tgid),
            tgid,
            pad: 0,
        }
    }

    fn named(comm: &str) -> Rc<Identity> {
        Rc::new(Identity {
            comm: comm.to_owned(),
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
        /// However processes end and are retired, in whatever order, and whatever events were shown or
        /// lost meanwhile: each one's sum is what the kernel counted.
        #[test]
        fn any_interleaving_keeps_the_totals(
            steps in proptest::collection::vec((1u32..6, 0u64..1000, any::<bool>()), 0..100),
        ) {
            let mut aggregate = Aggregate::default();
            let mut kernel: BTreeMap<u32, Totals> = BTreeMap::new();
            let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
            for (tgid, segs, is_retired) in steps {
                add(kernel.entry(tgid).or_default(), &totals(segs));
                *expected.entry(tgid).or_default() += segs;
                if segs % 3 == 0 {
                    aggregate.count("retransmit");
                }
                if is_retired && let Some(sum) = kernel.remove(&tgid) {
                    aggregate.retire(key(tgid), &named("x"), &sum);
                }
            }
            let live: Vec<_> = kernel
                .into_iter()
                .map(|(tgid, sum)| (key(tgid), named("x"), sum))
                .collect();
            let told: BTreeMap<u32, u64> = aggregate
                .processes(&live)
                .into_iter()
                .map(|(key, _, sum)| (key.tgid, sum.retransmit_segs))
                .collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn the_most_troubled_process_comes_first() {
        let mut aggregate = Aggregate::default();
        aggregate.retire(key(1), &named("calm"), &totals(0));
        aggregate.retire(key(2), &named("troubled"), &totals(9));
        let names: Vec<_> = aggregate
            .processes(&[])
            .into_iter()
            .map(|row| row.1.comm.clone())
            .collect();
        assert_eq!(names, ["troubled", "calm"]);
    }
}

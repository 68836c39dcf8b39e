//! Each process's totals as the kernel counted them, also of those that its map has forgotten.
//!
//! They come from the kernel's map alone, so a lost record changes none of them.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use tracer_common::process::{ProcessKey, Totals};

use super::frame::ProcessRow;
use crate::identity::Identity;

/// Ended processes that are told apart; when there are more, some are told together, by program. A server
/// that forks for each connection has as many in seconds.
const KEPT: usize = 4_096;
/// Programs whose ended processes are told together; those of all others are in one more row.
const PROGRAMS: usize = 256;

/// Totals of ended processes.
#[derive(Debug)]
pub(super) struct Ended {
    kept: usize,
    /// Those that are told apart, and which of all ended processes each is.
    rows: HashMap<ProcessKey, (u64, ProcessRow)>,
    count: u64,
    /// Those that are told together.
    programs: Vec<ProcessRow>,
}

impl Default for Ended {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Ended {
    fn keeping(kept: usize) -> Self {
        Self {
            kept,
            rows: HashMap::new(),
            count: 0,
            programs: Vec::new(),
        }
    }

    /// Keeps the totals of a process that the kernel's map is about to forget.
    pub(super) fn retire(&mut self, key: ProcessKey, who: &Rc<Identity>, totals: &Totals) {
        if *totals == Totals::default() {
            return;
        }
        self.count += 1;
        let (_, row) = self.rows.entry(key).or_insert_with(|| {
            let row = ProcessRow {
                who: Some(Rc::clone(who)),
                sockets: 0,
                totals: Totals::default(),
            };
            (self.count, row)
        });
        row.totals.add(totals);
    }

    /// When too many are told apart, adds those with the least trouble, of equals those that ended first, to
    /// their programs. Returns the rows that have changed: theirs, which have nothing any more, and those of
    /// the programs. One that the kernel's map has again (`is_live`) stays.
    pub(super) fn fold(&mut self, is_live: impl Fn(&ProcessKey) -> bool) -> Vec<ProcessRow> {
        if self.rows.len() <= self.kept {
            return Vec::new();
        }
        let many = self.rows.len() - self.kept + self.kept / 8;
        let mut calmest: Vec<_> = self
            .rows
            .iter()
            .filter(|(key, _)| !is_live(key))
            .map(|(key, (place, row))| (row.totals.trouble(), *place, *key))
            .collect();
        calmest.sort_unstable();
        calmest.truncate(many);
        let (mut changed, mut programs) = (Vec::new(), BTreeSet::new());
        for (_, _, key) in calmest {
            let Some((_, row)) = self.rows.remove(&key) else {
                continue;
            };
            let Some(who) = &row.who else { continue };
            let place = self.program(who);
            if let Some(program) = self.programs.get_mut(place) {
                program.totals.add(&row.totals);
            }
            programs.insert(place);
            changed.push(ProcessRow {
                totals: Totals::default(),
                ..row
            });
        }
        changed.extend(
            programs
                .iter()
                .filter_map(|at| self.programs.get(*at).cloned()),
        );
        changed
    }

    /// Where the row of a process's program is.
    fn program(&mut self, who: &Identity) -> usize {
        let mut rows = self.programs.iter();
        let known = rows.position(|row| row.who.as_ref().is_some_and(|past| past.is_past_of(who)));
        known.unwrap_or_else(|| {
            let place = self.programs.len().min(PROGRAMS);
            if place == self.programs.len() {
                let number = place as u64 + 1;
                let past = if place == PROGRAMS {
                    Identity::past_of_others(number)
                } else {
                    who.past(number)
                };
                self.programs.push(ProcessRow {
                    who: Some(Rc::new(past)),
                    sockets: 0,
                    totals: Totals::default(),
                });
            }
            place
        })
    }

    /// What a process's row comes to, with what the kernel's map has of it now.
    pub(super) fn with(&self, key: &ProcessKey, mut row: ProcessRow) -> ProcessRow {
        if let Some((_, before)) = self.rows.get(key) {
            row.totals.add(&before.totals);
        }
        row
    }

    /// All processes with anything to tell, the most troubled first: those that were retired and those
    /// in the kernel's map now.
    pub(super) fn all(&self, live: Vec<(ProcessKey, ProcessRow)>) -> Vec<ProcessRow> {
        let ended = self.rows.iter();
        let mut rows: HashMap<ProcessKey, ProcessRow> =
            ended.map(|(key, (_, row))| (*key, row.clone())).collect();
        for (key, row) in live {
            rows.insert(key, self.with(&key, row));
        }
        let mut rows: Vec<ProcessRow> = rows
            .into_values()
            .chain(self.programs.iter().cloned())
            .filter(|row| row.totals != Totals::default())
            .collect();
        rows.sort_by_cached_key(|row| {
            (
                Reverse(row.totals.trouble()),
                Reverse(row.totals.connections),
                row.who.as_ref().map(|who| who.id()),
            )
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tracer_common::{conn::OwnerSource, record::Cause};

    use super::*;
    use crate::{
        aggregate::{Aggregate, Flow, sample},
        event::{Ends, Event},
        sink::Sink as _,
        time::Time,
        trace::frame::Sums,
    };

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
                kernel.entry(tgid).or_default().add(&totals(segs));
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

    /// A process of one of three programs.
    fn of_program(tgid: u32) -> Rc<Identity> {
        Rc::new(Identity {
            pid: tgid,
            start: Time(1_000 + u64::from(tgid)),
            comm: format!("program {}", tgid % 3),
            ..Identity::default()
        })
    }

    fn retransmit(ts: u64, who: &Rc<Identity>, segs: u32) -> Event {
        let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Event {
            owner: Some(Rc::clone(who)),
            owner_source: OwnerSource::Connect,
            ends: Some(Ends {
                local: end(40_000),
                remote: Some(end(80)),
            }),
            ..Event::nobody(
                Time(ts * 1_000_000_000),
                None,
                sample::retransmit(Cause::Rto, segs, 1),
            )
        }
    }

    /// Segments of all processes: by the kernel's totals, and by events.
    fn segs(aggregate: &Aggregate) -> (u64, u64) {
        let processes = || aggregate.processes.values();
        let flows = processes().flat_map(|process| process.flows.values());
        (
            processes().map(|one| one.totals.retransmit_segs).sum(),
            flows.map(Flow::segs).sum(),
        )
    }

    proptest! {
        /// However many processes end, and also when one comes again that was told together with others: what
        /// a sink adds up is at each moment what the kernel counted, and what it keeps has a bound.
        #[test]
        fn processes_that_are_told_together_count_once(
            steps in proptest::collection::vec((1u32..60, 1u32..9, any::<bool>()), 0..300),
        ) {
            const KEPT: usize = 8;
            let mut ended = Ended::keeping(KEPT);
            let mut aggregate = Aggregate::default();
            let mut kernel: BTreeMap<u32, Totals> = BTreeMap::new();
            let mut expected = 0;
            let sums = |ts, processes| Sums { ts: Time(ts), processes, hooks: Vec::new() };
            for (ts, (tgid, segs_sent, is_retired)) in (1..).zip(steps) {
                let who = of_program(tgid);
                expected += u64::from(segs_sent);
                aggregate.event(&retransmit(ts, &who, segs_sent)).unwrap();
                let now = kernel.entry(tgid).or_default();
                now.add(&totals(segs_sent.into()));
                let row = ProcessRow { who: Some(Rc::clone(&who)), sockets: 1, totals: *now };
                let row = ended.with(&key(tgid), row);
                aggregate.sums(&sums(ts, vec![row])).unwrap();
                if is_retired && let Some(sum) = kernel.remove(&tgid) {
                    ended.retire(key(tgid), &who, &sum);
                }
                let folded = ended.fold(|key| kernel.contains_key(&key.tgid));
                aggregate.sums(&sums(ts, folded)).unwrap();
                prop_assert_eq!(segs(&aggregate), (expected, expected));
                let most = kernel.len() + KEPT + 3;
                prop_assert!(aggregate.processes.len() <= most, "{} of {most}", aggregate.processes.len());
            }
            let live: Vec<_> = kernel
                .into_iter()
                .map(|(tgid, totals)| {
                    let who = Some(of_program(tgid));
                    (key(tgid), ProcessRow { who, sockets: 0, totals })
                })
                .collect();
            aggregate.sums(&sums(1_000, ended.all(live))).unwrap();
            prop_assert_eq!(segs(&aggregate), (expected, expected));
        }
    }

    #[test]
    fn more_programs_than_are_told_apart_share_a_row() {
        let mut ended = Ended::keeping(0);
        for tgid in 1..=1_000 {
            let who = Identity {
                comm: format!("worker {tgid}"),
                ..(*named(tgid)).clone()
            };
            ended.retire(key(tgid), &Rc::new(who), &totals(1));
            ended.fold(|_| false);
        }
        let rows = ended.all(Vec::new());
        assert_eq!(rows.len(), PROGRAMS + 1);
        let others = rows.first().and_then(|row| row.who.as_ref()).unwrap();
        assert!(others.is_past_of_others());
        let sum: u64 = rows.iter().map(|row| row.totals.retransmit_segs).sum();
        assert_eq!(sum, 1_000);
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

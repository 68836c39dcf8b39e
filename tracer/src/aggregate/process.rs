//! What happened to one process.

use std::{
    collections::{BTreeMap, hash_map::Entry},
    rc::Rc,
};

use rustc_hash::FxHashMap;
use tracer_common::process::Totals;

use super::{
    flow::{Flow, FlowKey, span},
    series::Series,
};
use crate::{
    event::{Detail, Errno, Event, Role, Syscall},
    identity::Identity,
    time::Time,
    trace::frame::ProcessRow,
};

/// Peers of a process that are told apart, and as many at its listeners, so that a server's clients do not
/// hide its backends; the rest are added up under one key.
const FLOWS: usize = 4_096;

/// A process's sums.
#[derive(Debug, Default)]
pub struct Process {
    /// Who it is; `None` in the row of what has no known owner.
    pub who: Option<Rc<Identity>>,
    /// Live sockets, as of the latest sum.
    pub sockets: u64,
    /// What happened to it, as the kernel counted.
    pub totals: Totals,
    /// When the totals grew first and last, by sums: `None` before any.
    pub grew: Option<(Time, Time)>,
    /// By peer and listener. Beyond [`FLOWS`] of them under [`FlowKey::OTHERS`].
    pub flows: FxHashMap<FlowKey, Flow>,
    /// How many of them there are.
    apart: BTreeMap<Option<Role>, usize>,
    /// Calls that found no descriptor, by call (`None` for none) and errno.
    pub descriptors: BTreeMap<(Option<Syscall>, Errno), Descriptors>,
    /// Time-wait overflows by network namespace (0 where it is not known).
    pub overflows: BTreeMap<u32, Overflow>,
    /// Its events over time.
    pub series: Series,
}

/// Calls that found no descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
    /// Descriptors that were open at the last of them, if that could be read.
    pub open_fds: Option<u32>,
    /// RLIMIT_NOFILE then.
    pub limit_soft: Option<u64>,
    /// As above, the hard one.
    pub limit_hard: Option<u64>,
}

impl Descriptors {
    /// Adds another's; what was read at the last of them stays.
    fn merge(&mut self, more: Self) {
        let count = self.count.saturating_add(more.count);
        let first = self.first.min(more.first);
        if more.last > self.last {
            *self = more;
        }
        (self.count, self.first) = (count, first);
    }
}

/// Sockets that found the time-wait table full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
    /// Sockets in the table at the last of them.
    pub tw_count: Option<u32>,
    /// `net.ipv4.tcp_max_tw_buckets` then.
    pub tw_max: Option<u32>,
}

impl Overflow {
    /// Adds another's; what was read at the last of them stays.
    fn merge(&mut self, more: Self) {
        let count = self.count.saturating_add(more.count);
        let first = self.first.min(more.first);
        if more.last > self.last {
            *self = more;
        }
        (self.count, self.first) = (count, first);
    }
}

fn merge_all<K: Ord, V>(to: &mut BTreeMap<K, V>, more: BTreeMap<K, V>, merge: fn(&mut V, V)) {
    for (key, more) in more {
        match to.get_mut(&key) {
            Some(sum) => merge(sum, more),
            None => {
                to.insert(key, more);
            }
        }
    }
}

impl Process {
    /// Sockets that found the time-wait table full: the kernel's total, and for those without an owner
    /// also what the namespaces' own counters have beyond it, which only events tell.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        match &self.who {
            Some(_) => self.totals.time_wait_overflow,
            None => self
                .totals
                .time_wait_overflow
                .max(self.overflows.values().map(|sum| sum.count).sum()),
        }
    }

    /// Segments sent again, likewise.
    #[must_use]
    pub fn sent_again(&self) -> u64 {
        match &self.who {
            Some(_) => self.totals.retransmit_segs,
            None => self
                .totals
                .retransmit_segs
                .max(self.flows.values().map(Flow::segs).sum()),
        }
    }

    /// Each flow that is of one peer or listener.
    pub fn known_flows(&self) -> impl Iterator<Item = (&FlowKey, &Flow)> {
        self.flows
            .iter()
            .filter(|(key, _)| **key != FlowKey::OTHERS)
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.series.add(event);
        match event.detail {
            Detail::FdExhausted {
                errno,
                syscall,
                count,
                open_fds,
                limit_soft,
                limit_hard,
            } => {
                let sum = self
                    .descriptors
                    .entry((syscall, errno))
                    .or_insert_with(|| Descriptors {
                        count: 0,
                        first: event.ts,
                        last: event.ts,
                        open_fds: None,
                        limit_soft: None,
                        limit_hard: None,
                    });
                sum.count = sum.count.saturating_add(count);
                sum.first = sum.first.min(event.ts);
                sum.last = sum.last.max(event.ts);
                sum.open_fds = open_fds.or(sum.open_fds);
                sum.limit_soft = limit_soft.or(sum.limit_soft);
                sum.limit_hard = limit_hard.or(sum.limit_hard);
                return;
            }
            Detail::TimeWaitOverflow {
                tw_count,
                tw_max,
                count,
                ..
            } => {
                let sum = self
                    .overflows
                    .entry(event.netns.unwrap_or(0))
                    .or_insert_with(|| Overflow {
                        count: 0,
                        first: event.ts,
                        last: event.ts,
                        tw_count: None,
                        tw_max: None,
                    });
                sum.count = sum.count.saturating_add(count);
                sum.first = sum.first.min(event.ts);
                sum.last = sum.last.max(event.ts);
                sum.tw_count = tw_count.or(sum.tw_count);
                sum.tw_max = tw_max.or(sum.tw_max);
            }
            _ => {}
        }
        let key = match FlowKey::of(event) {
            Some(key) => self.place(key),
            // A listener's own states belong to no flow.
            None if matches!(event.detail, Detail::State { .. } | Detail::Lost { .. }) => return,
            None => FlowKey::OTHERS,
        };
        self.flows
            .entry(key)
            .or_insert_with(|| Flow::new(event.ts))
            .add(event);
    }

    /// Under which key a flow is added up: its own, as long as there is room for one more of its role.
    fn place(&mut self, key: FlowKey) -> FlowKey {
        if self.flows.contains_key(&key) {
            return key;
        }
        let apart = self.apart.entry(key.role).or_default();
        if *apart >= FLOWS {
            return FlowKey::OTHERS;
        }
        *apart += 1;
        key
    }

    /// Adds what was added up of a process of the same program. Its totals are not added: the row that it is
    /// told in from now on has them.
    pub(super) fn merge(&mut self, other: Self) {
        self.grew = span(self.grew, other.grew);
        for (key, flow) in other.flows {
            let key = if key == FlowKey::OTHERS {
                key
            } else {
                self.place(key)
            };
            match self.flows.entry(key) {
                Entry::Occupied(known) => known.into_mut().merge(flow),
                Entry::Vacant(room) => {
                    room.insert(flow);
                }
            }
        }
        merge_all(&mut self.descriptors, other.descriptors, Descriptors::merge);
        merge_all(&mut self.overflows, other.overflows, Overflow::merge);
        self.series.merge(&other.series);
    }

    pub(super) fn set(&mut self, ts: Time, row: &ProcessRow) {
        if let Some(who) = &row.who {
            self.who = Some(Rc::clone(who));
        }
        if self.totals != row.totals {
            let first = self.grew.map_or(ts, |(first, _)| first);
            self.grew = Some((first, ts));
        }
        self.sockets = row.sockets;
        self.totals = row.totals;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A process with one flow.
    fn with(role: Role, peer: u32) -> Process {
        let key = FlowKey {
            netns: 1,
            role: Some(role),
            peer: Ipv4Addr::from(peer).into(),
            port: 80,
        };
        let mut process = Process::default();
        let key = process.place(key);
        process.flows.insert(key, Flow::new(Time(1)));
        process
    }

    #[test]
    fn the_clients_of_processes_that_are_told_together_do_not_hide_a_backend() {
        let mut past = Process::default();
        for client in 0..=4_096 {
            past.merge(with(Role::Passive, client));
        }
        past.merge(with(Role::Active, 1));
        let of = |role| past.flows.keys().filter(|key| key.role == role).count();
        assert_eq!(of(Some(Role::Passive)), FLOWS);
        assert_eq!(of(Some(Role::Active)), 1);
        assert!(past.flows.contains_key(&FlowKey::OTHERS));
    }

    #[test]
    fn what_was_read_at_the_last_of_two_stays_and_both_count() {
        let of = |first, last, open_fds| Descriptors {
            count: 1,
            first: Time(first),
            last: Time(last),
            open_fds: Some(open_fds),
            limit_soft: None,
            limit_hard: None,
        };
        let (early, late) = (of(1, 2, 10), of(3, 4, 20));
        for (mut sum, more) in [(early.clone(), late.clone()), (late, early)] {
            sum.merge(more);
            assert_eq!((sum.count, sum.open_fds), (2, Some(20)));
            assert_eq!((sum.first, sum.last), (Time(1), Time(4)));
        }
    }
}

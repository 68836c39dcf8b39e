//! What happened to one process.

use std::{
    collections::{BTreeMap, hash_map::Entry},
    rc::Rc,
};

use rustc_hash::FxHashMap;
use tracer_common::process::Totals;

use super::{
    flow::{Flow, FlowKey},
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
                sum.count += count;
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
                sum.count += count;
                sum.first = sum.first.min(event.ts);
                sum.last = sum.last.max(event.ts);
                sum.tw_count = tw_count.or(sum.tw_count);
                sum.tw_max = tw_max.or(sum.tw_max);
            }
            _ => {}
        }
        let mut key = match FlowKey::of(event) {
            Some(key) => key,
            // A listener's own states belong to no flow.
            None if matches!(event.detail, Detail::State { .. } | Detail::Lost { .. }) => return,
            None => FlowKey::OTHERS,
        };
        if !self.flows.contains_key(&key) {
            let apart = self.apart.entry(key.role).or_default();
            if *apart >= FLOWS {
                key = FlowKey::OTHERS;
            } else {
                *apart += 1;
            }
        }
        self.flows
            .entry(key)
            .or_insert_with(|| Flow::new(event.ts))
            .add(event);
    }

    /// Adds what was added up of a process of the same program. Its totals are not added: the row that it is
    /// told in from now on has them.
    pub(super) fn merge(&mut self, other: Self) {
        self.grew = match (self.grew, other.grew) {
            (Some((first, last)), Some((begun, ended))) => {
                Some((first.min(begun), last.max(ended)))
            }
            (one, another) => one.or(another),
        };
        for (mut key, flow) in other.flows {
            if self.flows.len() >= FLOWS && !self.flows.contains_key(&key) {
                key = FlowKey::OTHERS;
            }
            match self.flows.entry(key) {
                Entry::Occupied(known) => known.into_mut().merge(flow),
                Entry::Vacant(room) => {
                    room.insert(flow);
                }
            }
        }
        for (key, more) in other.descriptors {
            match self.descriptors.get_mut(&key) {
                Some(sum) => {
                    let latest = if more.last > sum.last { &more } else { &*sum }.clone();
                    *sum = Descriptors {
                        count: sum.count + more.count,
                        first: sum.first.min(more.first),
                        ..latest
                    };
                }
                None => {
                    self.descriptors.insert(key, more);
                }
            }
        }
        for (netns, more) in other.overflows {
            match self.overflows.get_mut(&netns) {
                Some(sum) => {
                    let latest = if more.last > sum.last { &more } else { &*sum }.clone();
                    *sum = Overflow {
                        count: sum.count + more.count,
                        first: sum.first.min(more.first),
                        ..latest
                    };
                }
                None => {
                    self.overflows.insert(netns, more);
                }
            }
        }
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

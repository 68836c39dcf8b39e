//! What can be counted in a trace, by name: budgets limit it, comparisons tell how it changed.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};
use tracer_common::{
    hook::Hook,
    process::Totals,
    record::{Cause, End},
};

use crate::{
    aggregate::{Aggregate, Process},
    event::{Errno, Syscall},
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Calls that found no descriptor.
    FdExhausted,
    /// Sockets that found the time-wait table full.
    TimeWaitOverflow,
    /// Connects that failed.
    ConnectFailed,
    /// Resets received.
    ResetsReceived,
    /// Resets sent.
    ResetsSent,
    /// Segments sent again.
    Retransmits,
    /// Connections that ended.
    Connections,
}

impl Kind {
    /// All of them, what matters most first.
    pub const ALL: [Self; 7] = [
        Self::FdExhausted,
        Self::TimeWaitOverflow,
        Self::ConnectFailed,
        Self::ResetsReceived,
        Self::ResetsSent,
        Self::Retransmits,
        Self::Connections,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FdExhausted => "fd_exhausted",
            Self::TimeWaitOverflow => "time_wait_overflow",
            Self::ConnectFailed => "connect_failed",
            Self::ResetsReceived => "resets_received",
            Self::ResetsSent => "resets_sent",
            Self::Retransmits => "retransmits",
            Self::Connections => "connections",
        }
    }

    /// Whether more of it is worse.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        !matches!(self, Self::Connections)
    }

    /// The hooks whose losses can make its number too small.
    #[must_use]
    pub const fn hooks(self) -> &'static [Hook] {
        match self {
            Self::FdExhausted => &[Hook::FdExhausted],
            Self::TimeWaitOverflow => &[Hook::State, Hook::TimeWaitOverflow],
            Self::ConnectFailed => &[Hook::State, Hook::ConnectFailed],
            Self::ResetsReceived => &[Hook::ReceiveReset],
            Self::ResetsSent => &[Hook::SendReset],
            Self::Retransmits => &[Hook::Retransmit, Hook::RetransmitSynack, Hook::Settled],
            Self::Connections => &[Hook::State, Hook::Connection],
        }
    }

    /// How many a process has, as the kernel counted.
    #[must_use]
    pub fn total(self, process: &Process) -> u64 {
        let totals = &process.totals;
        match self {
            Self::FdExhausted => totals.fd_exhausted,
            Self::TimeWaitOverflow => process.overflowed(),
            Self::ConnectFailed => totals.connect_failed,
            Self::ResetsReceived => totals.resets_received,
            Self::ResetsSent => totals.resets_sent,
            Self::Retransmits => process.sent_again(),
            Self::Connections => totals.connections,
        }
    }
}

/// A sort of a kind: it is told from events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort {
    /// How connections ended.
    End(End),
    /// Why segments were sent again.
    Cause(Cause),
    /// The error of connects, or of calls that found no descriptor.
    Errno(Errno),
    /// The call that found no descriptor.
    Syscall(Syscall),
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(end) => f.write_str(end.name()),
            Self::Cause(cause) => f.write_str(cause.name()),
            Self::Errno(errno) => errno.fmt(f),
            Self::Syscall(syscall) => syscall.fmt(f),
        }
    }
}

/// What is counted, by its name: `retransmits`, or a sort of it, `retransmits:rto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Measure {
    /// The kind.
    pub kind: Kind,
    /// The sort; `None` for all of the kind.
    pub sort: Option<Sort>,
}

impl Measure {
    /// How many of it a process has.
    #[must_use]
    pub fn of(&self, process: &Process) -> u64 {
        match self.sort {
            None => self.kind.total(process),
            Some(sort) => sorts(self.kind, process).get(&sort).copied().unwrap_or(0),
        }
    }

    /// All that a process has.
    pub fn all(process: &Process) -> impl Iterator<Item = (Self, u64)> {
        Kind::ALL.into_iter().flat_map(|kind| {
            let all = (Self { kind, sort: None }, kind.total(process));
            let sorts = sorts(kind, process);
            let of = move |(sort, count)| {
                (
                    Self {
                        kind,
                        sort: Some(sort),
                    },
                    count,
                )
            };
            std::iter::once(all).chain(sorts.into_iter().map(of))
        })
    }
}

/// A kind's sorts in a process's events.
#[must_use]
pub fn sorts(kind: Kind, process: &Process) -> BTreeMap<Sort, u64> {
    let mut sorts = BTreeMap::new();
    let mut add = |sort, count: u64| *sorts.entry(sort).or_default() += count;
    let flows = process.flows.values();
    match kind {
        Kind::FdExhausted => {
            for ((syscall, errno), sum) in &process.descriptors {
                add(Sort::Errno(*errno), sum.count);
                if let Some(syscall) = syscall {
                    add(Sort::Syscall(*syscall), sum.count);
                }
            }
        }
        Kind::ConnectFailed => flows
            .flat_map(|flow| &flow.failed)
            .for_each(|(errno, count)| add(Sort::Errno(*errno), *count)),
        Kind::Retransmits => flows
            .flat_map(|flow| &flow.retransmits)
            .for_each(|(cause, count)| add(Sort::Cause(*cause), *count)),
        Kind::Connections => flows
            .flat_map(|flow| &flow.ends)
            .for_each(|(end, count)| add(Sort::End(*end), *count)),
        Kind::TimeWaitOverflow | Kind::ResetsReceived | Kind::ResetsSent => {}
    }
    sorts
}

/// How many of a kind the events of a process tell of; fewer than its total where some were lost.
#[must_use]
pub fn in_events(kind: Kind, process: &Process) -> u64 {
    let flows = process.flows.values();
    match kind {
        Kind::FdExhausted => process.descriptors.values().map(|sum| sum.count).sum(),
        Kind::TimeWaitOverflow => process.overflows.values().map(|sum| sum.count).sum(),
        Kind::ConnectFailed => flows.map(|flow| flow.failed()).sum(),
        Kind::ResetsReceived => flows.map(|flow| flow.resets_received).sum(),
        Kind::ResetsSent => flows.map(|flow| flow.resets_sent).sum(),
        Kind::Retransmits => flows.map(|flow| flow.segs()).sum(),
        Kind::Connections => flows.map(|flow| flow.connections()).sum(),
    }
}

/// The trace was cut off: what happened after its last sums is told by events alone, and counted by them.
pub fn complete(aggregate: &mut Aggregate) {
    for process in aggregate.processes.values_mut() {
        let told = |kind| in_events(kind, process).max(kind.total(process));
        process.totals = Totals {
            connections: told(Kind::Connections),
            connect_failed: told(Kind::ConnectFailed),
            retransmit_segs: told(Kind::Retransmits),
            resets_sent: told(Kind::ResetsSent),
            resets_received: told(Kind::ResetsReceived),
            time_wait_overflow: told(Kind::TimeWaitOverflow),
            fd_exhausted: told(Kind::FdExhausted),
            lost: process.totals.lost,
        };
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.sort {
            Some(sort) => write!(f, ":{sort}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, sort) = match text.split_once(':') {
            Some((name, sort)) => (name, Some(sort)),
            None => (text, None),
        };
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let known = Kind::ALL.map(Kind::name).join(", ");
            return Err(format!("no kind `{name}`; there are {known}"));
        };
        let Some(sort) = sort else {
            return Ok(Self { kind, sort: None });
        };
        let (found, known) = match kind {
            Kind::FdExhausted => (
                Errno::from_name(sort)
                    .map(Sort::Errno)
                    .or_else(|| Syscall::from_name(sort).map(Sort::Syscall)),
                String::from("EMFILE, ENFILE, and system calls such as accept4"),
            ),
            Kind::ConnectFailed => (
                Errno::from_name(sort).map(Sort::Errno),
                String::from("errors such as ECONNREFUSED"),
            ),
            Kind::Retransmits => (
                Cause::from_name(sort).map(Sort::Cause),
                names((0..=u8::MAX).map_while(Cause::from_byte).map(Cause::name)),
            ),
            Kind::Connections => (
                End::from_name(sort).map(Sort::End),
                names((0..=u8::MAX).map_while(End::from_byte).map(End::name)),
            ),
            Kind::TimeWaitOverflow | Kind::ResetsReceived | Kind::ResetsSent => {
                (None, String::from("none"))
            }
        };
        match found {
            Some(sort) => Ok(Self {
                kind,
                sort: Some(sort),
            }),
            None => Err(format!("no sort `{sort}` of `{name}`; there are {known}")),
        }
    }
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::sample::{Sample, sample},
        report::{Part, Report},
        sink::Sink as _,
        trace::frame::Sums,
    };

    #[test]
    fn names_are_read_back() {
        let aggregate = sample().end(10);
        let measures: Vec<_> = aggregate
            .processes
            .values()
            .flat_map(Measure::all)
            .collect();
        assert!(measures.len() > 20, "{measures:?}");
        for (measure, _) in measures {
            assert_eq!(measure.to_string().parse(), Ok(measure));
        }
    }

    #[test]
    fn sorts_add_up_to_what_the_events_tell() {
        let aggregate = sample().end(10);
        for process in aggregate.processes.values() {
            for kind in [Kind::ConnectFailed, Kind::Retransmits, Kind::Connections] {
                let sum: u64 = sorts(kind, process).values().sum();
                assert_eq!(sum, in_events(kind, process), "{kind:?}");
                assert_eq!(sum, kind.total(process), "{kind:?}");
            }
        }
    }

    #[test]
    fn an_unknown_name_tells_what_there_is() {
        let error = "retransmit".parse::<Measure>().unwrap_err();
        assert!(
            error.contains("no kind `retransmit`; there are fd_exhausted"),
            "{error}"
        );
        let error = "retransmits:late".parse::<Measure>().unwrap_err();
        assert!(error.contains("there are unknown, rto, fast"), "{error}");
        assert!("resets_sent:rto".parse::<Measure>().is_err());
    }

    #[test]
    fn a_trace_that_was_cut_off_counts_what_came_after_its_last_sums() {
        let whole = sample().end(10);
        let mut cut = sample().cut();
        // The sums of one process are older than its events, those of the others have not come.
        let of = |comm: &str, aggregate: &Aggregate| {
            let mut processes = aggregate.processes.values();
            let is_it =
                |process: &&Process| process.who.as_ref().is_some_and(|who| who.comm == comm);
            processes.find(is_it).map(|process| process.totals)
        };
        let mut rows = whole.end.as_ref().unwrap().processes.clone();
        rows.retain(|row| row.who.as_ref().is_some_and(|who| who.comm == "worker"));
        rows[0].totals.connections -= 3;
        rows[0].totals.retransmit_segs += 7;
        let told = rows[0].totals;
        cut.sums(&Sums {
            ts: cut.now,
            processes: rows,
            hooks: Vec::new(),
        })
        .unwrap();
        complete(&mut cut);
        let worker = Totals {
            connections: told.connections + 3,
            ..told
        };
        assert_eq!(of("worker", &cut), Some(worker));
        assert_eq!(of("redis-server", &cut), of("redis-server", &whole));
        let report = Report::of(&cut, Part::All, Some("no end"));
        assert_eq!(report.connections.unwrap().connections, 21);
        // Nothing is made of nothing.
        let mut empty = Sample::new().cut();
        complete(&mut empty);
        assert!(empty.processes.is_empty());
    }
}

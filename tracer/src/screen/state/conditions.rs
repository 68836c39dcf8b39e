//! How things stand, whatever happens: what is full, what waits, what the kernel has counted since boot.
//! It is there before any event, so it tells of trouble that began before the trace.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use rustc_hash::FxHashMap;

use super::age::Age;
use crate::{
    event::Ends,
    fact::{Facts, Subject, Value, name},
    identity::Pid,
    time::Time,
};

/// Counters that tell of trouble when they are not 0, the worst first.
const COUNTERS: [&str; 14] = [
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPTimeWaitOverflow",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.TCPAbortOnTimeout",
    "TcpExt.TCPAbortOnMemory",
    "TcpExt.TCPMemoryPressures",
    "TcpExt.TCPBacklogDrop",
    "TcpExt.TCPRcvQDrop",
    "TcpExt.TCPTimeouts",
    "Tcp.AttemptFails",
    "Tcp.EstabResets",
    "Tcp.InErrs",
];

/// Something that has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// What is used.
    pub used: u64,
    /// What there is.
    pub limit: u64,
}

impl Gauge {
    /// The share that is used, 1 for all.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.limit == 0 {
            return 0.0;
        }
        self.used as f64 / self.limit as f64
    }

    /// Whether little is left.
    #[must_use]
    pub fn is_nearly_full(self) -> bool {
        self.share() >= 0.9
    }
}

/// A listener's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Network namespace.
    pub netns: u32,
    /// Where it listens.
    pub local: SocketAddr,
    /// Process that listens, where it is known.
    pub pid: Option<u32>,
    /// Connections that wait to be accepted, against the backlog.
    pub gauge: Gauge,
}

/// A connection that gets nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Network namespace.
    pub netns: u32,
    /// Its ends.
    pub ends: Ends,
    /// Its process, where it is known.
    pub pid: Option<u32>,
    /// How often its timer has doubled.
    pub backoff: u64,
    /// Whether the peer's window is closed; else segments are not acknowledged.
    pub is_probing: bool,
}

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Descriptors that processes have open, against their limits.
    pub descriptors: FxHashMap<Pid, Gauge>,
    /// The same, the fullest first.
    pub fullest: Vec<(Pid, Gauge)>,
    /// Files that are open on the machine.
    pub files: Option<Gauge>,
    /// Time-wait tables by network namespace, the fullest first.
    pub time_wait: Vec<(u32, Gauge)>,
    /// Listeners, the fullest first.
    pub queues: Vec<Queue>,
    /// Connections that get nothing through, the longest first.
    pub stuck: Vec<Stuck>,
    /// Counters that tell of trouble, since boot, of all namespaces: the name without its group, the value,
    /// and how much it grew during the trace.
    pub counters: Vec<(&'static str, u64, u64)>,
    /// Segments sent since boot, and of those, sent again.
    pub segments: Option<(u64, u64)>,
    /// Network namespaces that were read.
    pub namespaces: usize,
    /// By process: see [`Self::ends`].
    ends: FxHashMap<u32, Vec<SocketAddr>>,
    /// Of those, where sockets could not be listed.
    pub unread: usize,
}

impl Conditions {
    /// From what was read.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let mut all = Self::default();
        let mut counters: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let (mut sent, mut again) = (0, 0);
        for subject in facts.subjects() {
            let number = |name| {
                facts
                    .number(subject, name)
                    .and_then(|number| u64::try_from(number).ok())
            };
            let gauge = |used, limit| {
                Some(Gauge {
                    used: number(used)?,
                    limit: number(limit)?,
                })
            };
            let pid = || number(name::CONNECTION_PID).and_then(|pid| u32::try_from(pid).ok());
            match *subject {
                Subject::Machine => all.files = gauge(name::FILE_NR, name::FILE_MAX),
                Subject::Process(_) if number(name::ENDED) == Some(1) => {}
                Subject::Listener { .. } | Subject::Connection { .. }
                    if facts.is_closed(subject) => {}
                Subject::Process(pid) => {
                    if let Some(gauge) = gauge(name::OPEN_FDS, name::LIMIT_SOFT) {
                        all.descriptors.insert(pid, gauge);
                        all.fullest.push((pid, gauge));
                    }
                }
                Subject::Namespace(netns) => {
                    all.namespaces += 1;
                    if number(name::NAMESPACE_ENDED) != Some(1) {
                        all.unread += usize::from(number(name::SOCKETS_UNREAD) == Some(1));
                        all.time_wait.extend(
                            gauge("sockstat.TCP.tw", "net.ipv4.tcp_max_tw_buckets")
                                .map(|gauge| (netns, gauge)),
                        );
                    }
                    for name in COUNTERS {
                        let (value, growth) = counters.entry(name).or_default();
                        *value += number(name).unwrap_or(0);
                        *growth += facts.growth(subject, name).unwrap_or(0);
                    }
                    sent += number("Tcp.OutSegs").unwrap_or(0);
                    again += number("Tcp.RetransSegs").unwrap_or(0);
                }
                Subject::Listener { netns, local } => {
                    if let Some(pid) = pid() {
                        all.ends.entry(pid).or_default().push(local);
                    }
                    all.queues
                        .extend(gauge(name::BACKLOG, name::BACKLOG_MAX).map(|gauge| Queue {
                            netns,
                            local,
                            pid: pid(),
                            gauge,
                        }));
                }
                Subject::Connection { netns, ends } => {
                    let backoff = number(name::BACKOFF).unwrap_or(0);
                    let timer = facts.text(subject, name::TIMER);
                    let is_probing = timer == Some("probe");
                    let is_waiting =
                        timer == Some("retransmit") && number(name::RETRANSMITS).unwrap_or(0) > 0;
                    if is_probing || is_waiting {
                        if let Some(pid) = pid() {
                            let both = std::iter::once(ends.local).chain(ends.remote);
                            all.ends.entry(pid).or_default().extend(both);
                        }
                        all.stuck.push(Stuck {
                            netns,
                            ends,
                            pid: pid(),
                            backoff,
                            is_probing,
                        });
                    }
                }
            }
        }
        all.segments = (sent > 0).then_some((sent, again));
        all.counters = COUNTERS
            .iter()
            .filter_map(|name| {
                let (value, growth) = *counters.get(name)?;
                let short = name.split_once('.').map_or(*name, |(_, short)| short);
                (value > 0).then_some((short, value, growth))
            })
            .collect();
        // Names break ties, so that what is shown does not jump.
        all.fullest
            .sort_by(|(a, one), (b, other)| by_share(*one, *other).then(a.cmp(b)));
        all.time_wait
            .sort_by(|(a, one), (b, other)| by_share(*one, *other).then(a.cmp(b)));
        all.queues.sort_by(|one, other| {
            by_share(one.gauge, other.gauge)
                .then((one.netns, one.local).cmp(&(other.netns, other.local)))
        });
        all.stuck.sort_by_key(|one| {
            (
                std::cmp::Reverse(one.backoff),
                one.netns,
                one.ends.local,
                one.ends.remote,
            )
        });
        all
    }

    /// Ends of what a process listens at and of its connections that are stuck.
    pub fn ends(&self, pid: Pid) -> impl Iterator<Item = (IpAddr, u16)> + Clone {
        let ends = self.ends.get(&pid.pid).into_iter().flatten();
        ends.map(|end| (end.ip(), end.port()))
    }
}

/// When a process that is about to run out of descriptors was seen so at first, if that was before anything
/// else was seen: the first and the latest reading say so.
pub(super) fn full_since(facts: &Facts, pid: Pid, started: Time) -> Option<Time> {
    let of = |name| facts.get(&Subject::Process(pid), name);
    let (used, limit) = (of(name::OPEN_FDS)?, of(name::LIMIT_SOFT)?);
    let is_full = |used: &Value, limit: &Value| {
        let number = |value: &Value| u64::try_from(value.number()?).ok();
        let gauge = number(used).zip(number(limit));
        gauge.is_some_and(|(used, limit)| Gauge { used, limit }.is_nearly_full())
    };
    let was_there = Age::new(started, used.first.0, used.last.0).is_longer;
    (was_there && is_full(&used.first.1, &limit.first.1) && is_full(&used.last.1, &limit.last.1))
        .then_some(used.first.0)
}

/// The fuller first, and of equals the one with more.
fn by_share(one: Gauge, other: Gauge) -> std::cmp::Ordering {
    other
        .share()
        .total_cmp(&one.share())
        .then(other.used.cmp(&one.used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;

    #[test]
    fn the_fullest_comes_first_and_counters_are_those_of_all_namespaces() {
        let mut facts = Facts::default();
        let mut add = |subject, name: &'static str, number| {
            facts.add(&Fact {
                ts: Time(1),
                subject,
                name: name.into(),
                value: Value::Number(number),
            });
        };
        for (netns, used, limit, overflows) in [(1, 5, 1_000, 3), (2, 100, 100, 901), (3, 0, 10, 0)]
        {
            let netns = Subject::Namespace(netns);
            add(netns, "sockstat.TCP.tw", used);
            add(netns, "net.ipv4.tcp_max_tw_buckets", limit);
            add(netns, "TcpExt.TCPTimeWaitOverflow", overflows);
        }
        add(Subject::Namespace(2), name::SOCKETS_UNREAD, 1);
        add(Subject::Namespace(3), name::SOCKETS_UNREAD, 0);
        let conditions = Conditions::of(&facts);
        assert_eq!(conditions.unread, 1);
        let order: Vec<_> = conditions
            .time_wait
            .iter()
            .map(|(netns, _)| *netns)
            .collect();
        assert_eq!(order, [2, 1, 3]);
        assert_eq!(conditions.counters, [("TCPTimeWaitOverflow", 904, 0)]);
        assert_eq!(conditions.namespaces, 3);
    }

    #[test]
    fn what_is_gone_does_not_stand_any_more() {
        let mut facts = Facts::default();
        let mut add = |subject, name: &'static str, value| {
            facts.add(&Fact {
                ts: Time(1),
                subject,
                name: name.into(),
                value,
            });
        };
        let process = Subject::Process(Pid {
            pid: 7,
            start: Time(1),
        });
        let listener = Subject::Listener {
            netns: 1,
            local: ([0, 0, 0, 0], 80).into(),
        };
        add(process, name::OPEN_FDS, Value::Number(24));
        add(process, name::LIMIT_SOFT, Value::Number(24));
        add(listener, name::BACKLOG, Value::Number(9));
        add(listener, name::BACKLOG_MAX, Value::Number(8));
        add(Subject::Namespace(1), "sockstat.TCP.tw", Value::Number(9));
        let most = "net.ipv4.tcp_max_tw_buckets";
        add(Subject::Namespace(1), most, Value::Number(9));
        add(process, name::ENDED, Value::Number(1));
        add(
            Subject::Namespace(1),
            name::NAMESPACE_ENDED,
            Value::Number(1),
        );
        add(listener, name::STATE, Value::Text("CLOSE".to_owned()));
        let conditions = Conditions::of(&facts);
        assert!(conditions.descriptors.is_empty() && conditions.queues.is_empty());
        assert!(conditions.time_wait.is_empty());
    }

    #[test]
    fn what_has_no_limit_is_not_full() {
        let gauge = Gauge { used: 1, limit: 0 };
        assert!(!gauge.is_nearly_full());
    }
}

//! A process's traffic with one peer, or at one listener.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
};

use tracer_common::{
    conn::OwnerSource,
    record::{Cause, End},
    tcp,
};

use crate::{
    event::{Detail, Direction, Errno, Event, Role},
    time::Time,
};

/// What is told apart of a process's connections: the service and who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Network namespace, 0 where it is not known.
    pub netns: u32,
    /// Whether the process connected or accepted; `None` where a connection was there before the trace
    /// and it is not known.
    pub role: Option<Role>,
    /// The other side's address.
    pub peer: IpAddr,
    /// The service's port: the peer's for connections that the process opened, else its own.
    pub port: u16,
}

impl FlowKey {
    /// Those that are not told apart, and what has no connection.
    pub const OTHERS: Self = Self {
        netns: 0,
        role: None,
        peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
    };

    /// Where an event belongs; `None` where it has no connection, and for a listener's own events.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let ends = event.ends?;
        let remote = ends.remote.filter(|remote| remote.port() != 0)?;
        let role = match event.detail {
            Detail::Connection { role, .. } if role.is_some() => role,
            _ => match event.owner_source {
                OwnerSource::Connect | OwnerSource::Current => Some(Role::Active),
                OwnerSource::Accept | OwnerSource::Inherited | OwnerSource::Listen => {
                    Some(Role::Passive)
                }
                // The lower port is the service's, as ephemeral ones are high.
                OwnerSource::Iter | OwnerSource::Unknown => None,
            },
        };
        let port = match role {
            Some(Role::Active) => remote.port(),
            Some(Role::Passive) => ends.local.port(),
            None => remote.port().min(ends.local.port()),
        };
        Some(Self {
            netns: event.netns.unwrap_or(0),
            role,
            peer: remote.ip(),
            port,
        })
    }
}

/// Sums of a flow.
#[derive(Debug)]
pub struct Flow {
    /// Its first event.
    pub first: Time,
    /// Its last event.
    pub last: Time,
    /// Connections that ended, by how.
    pub ends: BTreeMap<End, u64>,
    /// Of those, the ones that sent a segment again.
    pub lossy: u64,
    /// Segments that those sent again.
    pub ended_segs: u64,
    /// Connects that failed, by error.
    pub failed: BTreeMap<Errno, u64>,
    /// Of those, the ones that no SYN was sent for.
    pub failed_unsent: u64,
    /// When they failed.
    pub failures: Failures,
    /// The longest time in which every connect was refused.
    pub refused: Streak,
    /// As above, the present one.
    pub refusing: Streak,
    /// When the latest of the connections that have ended was established.
    pub last_established: Option<Time>,
    /// Segments sent again, by cause.
    pub retransmits: BTreeMap<Cause, u64>,
    /// When a segment was sent again first and last.
    pub sent_again: Option<(Time, Time)>,
    /// Resets sent.
    pub resets_sent: u64,
    /// Resets received.
    pub resets_received: u64,
    /// Time-wait overflows.
    pub overflows: u64,
    /// Payload bytes of connections that ended.
    pub bytes_sent: u64,
    /// As above, received.
    pub bytes_received: u64,
    /// Segments sent by connections that ended, 0 where the trace does not tell.
    pub segs_out: u64,
    /// The latest smoothed round-trip time, us.
    pub srtt_us: Option<u32>,
}

impl Flow {
    pub(super) const fn new(ts: Time) -> Self {
        Self {
            first: ts,
            last: ts,
            ends: BTreeMap::new(),
            lossy: 0,
            ended_segs: 0,
            failed: BTreeMap::new(),
            failed_unsent: 0,
            failures: Failures::new(),
            refused: Streak::NONE,
            refusing: Streak::NONE,
            last_established: None,
            retransmits: BTreeMap::new(),
            sent_again: None,
            resets_sent: 0,
            resets_received: 0,
            overflows: 0,
            bytes_sent: 0,
            bytes_received: 0,
            segs_out: 0,
            srtt_us: None,
        }
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.first = self.first.min(event.ts);
        self.last = self.last.max(event.ts);
        match event.detail {
            Detail::Connection {
                end,
                segs_out,
                segs_retrans,
                bytes_sent,
                bytes_received,
                srtt_us,
                connect_us,
                duration_us,
                ..
            } => {
                if let Some(connect_us) = connect_us {
                    // It is told at its end, which may be long after.
                    let us = duration_us.unwrap_or(0).saturating_sub(connect_us);
                    let at = Time(event.ts.0.saturating_sub(us.saturating_mul(1_000)));
                    if at > self.refusing.first {
                        self.refusing = Streak::NONE;
                    }
                    self.last_established = self.last_established.max(Some(at));
                }
                *self.ends.entry(end).or_default() += 1;
                self.lossy += u64::from(segs_retrans > 0);
                self.ended_segs += u64::from(segs_retrans);
                self.bytes_sent = self.bytes_sent.saturating_add(bytes_sent);
                self.bytes_received = self.bytes_received.saturating_add(bytes_received);
                self.segs_out += u64::from(segs_out.unwrap_or(0));
                self.srtt_us = srtt_us.or(self.srtt_us);
            }
            Detail::ConnectFailed {
                errno, syn_sent, ..
            } => {
                *self.failed.entry(errno).or_default() += 1;
                self.failed_unsent += u64::from(!syn_sent);
                self.failures.add(event.ts);
                if errno == Errno(tcp::errno::ECONNREFUSED) {
                    self.refusing.add(event.ts);
                    if self.refusing.lasted() >= self.refused.lasted() {
                        self.refused = self.refusing;
                    }
                }
            }
            Detail::Retransmit {
                cause,
                segs,
                srtt_us,
                ..
            } => {
                *self.retransmits.entry(cause).or_default() += u64::from(segs);
                self.sent_again = span(self.sent_again, Some((event.ts, event.ts)));
                self.srtt_us = srtt_us.or(self.srtt_us);
            }
            Detail::Reset { direction, .. } => match direction {
                Direction::Sent => self.resets_sent += 1,
                Direction::Received => self.resets_received += 1,
            },
            Detail::TimeWaitOverflow { count, .. } => {
                self.overflows = self.overflows.saturating_add(count);
            }
            Detail::State { .. } | Detail::FdExhausted { .. } | Detail::Lost { .. } => {}
        }
    }

    /// Adds the flow of another process with the same peer.
    pub(super) fn merge(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        add_all(&mut self.ends, other.ends);
        self.lossy += other.lossy;
        self.ended_segs += other.ended_segs;
        add_all(&mut self.failed, other.failed);
        self.failed_unsent += other.failed_unsent;
        self.failures.merge(&other.failures);
        if other.refused.lasted() > self.refused.lasted() {
            self.refused = other.refused;
        }
        if other.refusing.last > self.refusing.last {
            self.refusing = other.refusing;
        }
        self.last_established = self.last_established.max(other.last_established);
        add_all(&mut self.retransmits, other.retransmits);
        self.sent_again = span(self.sent_again, other.sent_again);
        self.resets_sent += other.resets_sent;
        self.resets_received += other.resets_received;
        self.overflows = self.overflows.saturating_add(other.overflows);
        self.bytes_sent = self.bytes_sent.saturating_add(other.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(other.bytes_received);
        self.segs_out += other.segs_out;
        self.srtt_us = other.srtt_us.or(self.srtt_us);
    }

    /// Connections that ended.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.ends.values().sum()
    }

    /// Connects that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Segments sent again.
    #[must_use]
    pub fn segs(&self) -> u64 {
        self.retransmits.values().sum()
    }
}

/// From the earlier beginning to the later end.
pub(super) fn span(one: Option<(Time, Time)>, other: Option<(Time, Time)>) -> Option<(Time, Time)> {
    match (one, other) {
        (Some((first, last)), Some((begun, ended))) => Some((first.min(begun), last.max(ended))),
        (one, other) => one.or(other),
    }
}

fn add_all<K: Ord>(to: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *to.entry(key).or_default() += count;
    }
}

/// Failures with no success between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
}

/// After so long without an attempt a new streak begins, ns: clients that back off do not wait longer.
const PAUSE: u64 = 180_000_000_000;

impl Streak {
    /// No failure.
    pub const NONE: Self = Self {
        count: 0,
        first: Time(0),
        last: Time(0),
    };

    /// From the first to the last, ns.
    #[must_use]
    pub const fn lasted(&self) -> u64 {
        self.last.since(self.first)
    }

    fn add(&mut self, ts: Time) {
        if self.count == 0 || ts.since(self.last) > PAUSE {
            *self = Self {
                count: 0,
                first: ts,
                last: ts,
            };
        }
        self.count += 1;
        self.last = self.last.max(ts);
    }
}

/// When connects failed: the latest instants, which tell a client's back-off.
#[derive(Debug, Default)]
pub struct Failures {
    latest: VecDeque<Time>,
}

/// Instants that are kept.
const FAILURES: usize = 64;

impl Failures {
    const fn new() -> Self {
        Self {
            latest: VecDeque::new(),
        }
    }

    fn add(&mut self, ts: Time) {
        if self.latest.len() == FAILURES {
            self.latest.pop_front();
        }
        self.latest.push_back(ts);
    }

    fn merge(&mut self, other: &Self) {
        self.latest.extend(&other.latest);
        self.latest.make_contiguous().sort_unstable();
        self.latest
            .drain(..self.latest.len().saturating_sub(FAILURES));
    }

    /// The latest of them, the oldest first.
    pub fn times(&self) -> impl Iterator<Item = Time> {
        self.latest.iter().copied()
    }

    /// Milliseconds between each and the next.
    #[must_use]
    pub fn gaps_ms(&self) -> Vec<u64> {
        self.latest
            .iter()
            .zip(self.latest.iter().skip(1))
            .map(|(one, next)| next.since(*one) / 1_000_000)
            .collect()
    }
}

//! Connections on which nothing is acknowledged, from events and from the sockets' own state.

mod found;

use tracer_common::record::{Cause, End};

use self::found::by_facts;
use super::give_up::{Limits, RTO_MAX_MS};
use crate::{
    aggregate::{Aggregate, Connection, Stall},
    event::{Ends, Errno},
    fact::{Subject, name},
    identity::Pid,
    time::Time,
};

/// Timeouts of the same data that make a stall: one happens on any path, two on a bad one.
const TIMEOUTS: u32 = 3;
/// What is left to a timer, an event and the reader to come, ns.
const SLACK: u64 = 1_000_000_000;

/// A connection on which nothing is acknowledged, or was until it ended.
#[derive(Clone, Debug)]
pub(super) struct Stalled {
    pub(super) netns: u32,
    pub(super) ends: Ends,
    pub(super) pid: Option<Pid>,
    /// The first timeout.
    pub(super) first: Time,
    /// The last known.
    pub(super) last: Time,
    pub(super) timeouts: u32,
    /// The timer that runs, us; it doubles with each timeout.
    pub(super) rto_us: u64,
    pub(super) srtt_us: Option<u64>,
    /// Segments, or bytes where only an event tells.
    pub(super) unacked: (u64, &'static str),
    /// What decides when the kernel gives up.
    pub(super) limits: Limits,
    /// When it will; or when it ended.
    pub(super) give_up: Time,
    /// How it ended.
    pub(super) end: Option<(End, Option<Errno>)>,
    /// It is known by the socket's state, not by events.
    pub(super) is_found: bool,
}

impl Stalled {
    /// Whether nothing came back at all: any other end is an answer, a reset or an ICMP error.
    pub(super) fn is_silent(&self) -> bool {
        self.end.is_none_or(|(end, _)| end == End::TimedOut)
    }
}

/// All of them that stall now or ended so.
pub(super) fn all(aggregate: &Aggregate) -> Vec<Stalled> {
    let mut all: Vec<Stalled> = aggregate
        .connections
        .iter()
        .filter_map(|connection| by_events(aggregate, connection))
        .collect();
    for subject in aggregate.facts.subjects() {
        if let Subject::Connection { netns, ends } = *subject
            && !all
                .iter()
                .any(|known| known.netns == netns && known.ends == ends)
            && let Some(stalled) = by_facts(aggregate, netns, ends)
        {
            all.push(stalled);
        }
    }
    all
}

fn by_events(aggregate: &Aggregate, connection: &Connection) -> Option<Stalled> {
    let stall = connection
        .stall
        .filter(|stall| stall.timeouts >= TIMEOUTS)?;
    // Of a SYN that nobody answers no connection has come.
    if connection.segs.get(&Cause::Rto).copied().unwrap_or(0) < u64::from(TIMEOUTS) {
        return None;
    }
    // It ended long after data was last sent again: that was acknowledged.
    if connection.end.is_some() && !is_due(&stall, connection.last) {
        return None;
    }
    // It did not leave this machine: a local filter (EPERM), no route.
    if connection.err < 0 && connection.err != -libc::EBUSY {
        return None;
    }
    let (netns, ends) = (connection.netns?, connection.ends?);
    if connection.end.is_none() && !goes_on(aggregate, netns, ends, &stall) {
        return None;
    }
    if !is_neighbour(aggregate, netns, ends) {
        return None;
    }
    let limits = limits(aggregate, netns, ends);
    let first = stall.first_timeout?;
    // The event tells the timer that has just expired.
    let longest = limits.rto_max_ms.saturating_mul(1_000);
    let rto_us = stall.rto_us?.saturating_mul(2).min(longest);
    let rto = rto_us.saturating_mul(1_000);
    let next = Time(stall.last.0.saturating_add(rto));
    Some(Stalled {
        netns,
        ends,
        pid: connection.owner.as_ref().map(|who| who.id()),
        first,
        last: connection.end.map_or(stall.last, |_| connection.last),
        timeouts: stall.timeouts,
        rto_us,
        srtt_us: connection.srtt_us.map(u64::from),
        unacked: (connection.unacked_bytes.into(), "bytes"),
        limits,
        give_up: if connection.end.is_some() {
            connection.last
        } else {
            limits.give_up(first, next, rto)
        },
        end: connection.end,
        is_found: false,
    })
}

/// Whether a stall without an end goes on: the socket was seen so since, or the next timeout is not
/// overdue. Data that is acknowledged makes no event.
fn goes_on(aggregate: &Aggregate, netns: u32, ends: Ends, stall: &Stall) -> bool {
    let subject = Subject::Connection { netns, ends };
    if let Some(known) = aggregate.facts.get(&subject, name::RETRANSMITS)
        && known.last.0 >= stall.last
    {
        return known.last.1.number() != Some(0);
    }
    is_due(stall, aggregate.now)
}

/// Whether a stall can have gone on until then: the next timeout, after twice the time, is not overdue.
pub(super) fn is_due(stall: &Stall, at: Time) -> bool {
    is_next_due(stall.last, stall.rto_us.unwrap_or(RTO_MAX_MS * 1_000), at)
}

fn is_next_due(last: Time, rto_us: u64, at: Time) -> bool {
    at.since(last) <= rto_us.saturating_mul(2_000).saturating_add(SLACK)
}

/// False when the peer's link address is asked for and nobody answers: the host, or the link to it, is
/// down, which the neighbour table says by itself.
fn is_neighbour(aggregate: &Aggregate, netns: u32, ends: Ends) -> bool {
    let subject = Subject::Connection { netns, ends };
    aggregate.facts.number(&subject, name::NEIGHBOUR) != Some(0)
}

fn limits(aggregate: &Aggregate, netns: u32, ends: Ends) -> Limits {
    let sysctl = |name: &str| {
        let number = aggregate.facts.number(&Subject::Namespace(netns), name)?;
        u64::try_from(number).ok()
    };
    let socket = |name| {
        aggregate
            .facts
            .number(&Subject::Connection { netns, ends }, name)
    };
    let is_orphan = socket(name::ORPHAN) == Some(1);
    Limits {
        retries: if is_orphan {
            // `tcp_orphan_retries`: 0 stands for 8.
            sysctl("net.ipv4.tcp_orphan_retries")
                .filter(|it| *it > 0)
                .unwrap_or(8)
        } else {
            sysctl("net.ipv4.tcp_retries2").unwrap_or(15)
        },
        rto_max_ms: sysctl("net.ipv4.tcp_rto_max_ms").unwrap_or(RTO_MAX_MS),
        user_timeout_ms: socket(name::USER_TIMEOUT_MS)
            .and_then(|it| u64::try_from(it).ok())
            .unwrap_or(0),
    }
}

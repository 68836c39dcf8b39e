//! Connections on which nothing is acknowledged, from events and from the sockets' own state.

use tracer_common::{
    record::{Cause, End},
    tcp::state,
};

use super::{
    give_up::{Limits, RTO_MAX_MS},
    who,
};
use crate::{
    aggregate::{Aggregate, Connection, Stall},
    event::{Ends, Errno, State},
    fact::{Subject, Value, name},
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

/// Known by the state of the socket, for the trace came late; its end may have been seen.
fn by_facts(aggregate: &Aggregate, netns: u32, ends: Ends) -> Option<Stalled> {
    let subject = Subject::Connection { netns, ends };
    let number = |name| {
        aggregate
            .facts
            .number(&subject, name)
            .and_then(|it| u64::try_from(it).ok())
    };
    let text = |name| aggregate.facts.text(&subject, name);
    let retransmits = number(name::RETRANSMITS).filter(|it| *it >= u64::from(TIMEOUTS))?;
    let read = aggregate.facts.get(&subject, name::EXPIRES_MS)?;
    let ended = ended(aggregate, netns, ends, read.last.0);
    let states = aggregate.facts.get(&subject, name::STATE)?;
    // A socket that has ended is closed; how it was before says what the end was of.
    let state = if ended.is_some() {
        &states.first
    } else {
        &states.last
    };
    if !is_data(&state.1)
        || text(name::TIMER)? != "retransmit"
        || !is_neighbour(aggregate, netns, ends)
    {
        return None;
    }
    let limits = limits(aggregate, netns, ends);
    let expires = number(name::EXPIRES_MS)?.saturating_mul(1_000_000);
    let next = Time(read.last.0.0.saturating_add(expires));
    let rto_us = number(name::RTO_US)?;
    if let Some(connection) = ended {
        let stall = connection.stall.filter(|stall| stall.last > read.last.0);
        let goes_on = match &stall {
            Some(stall) => is_due(stall, connection.last),
            None => is_next_due(read.last.0, rto_us, connection.last),
        };
        if !goes_on {
            return None;
        }
    }
    let rto = rto_us.saturating_mul(1_000);
    let srtt_us = number(name::SRTT_US).filter(|us| *us > 0);
    let first = limits.first_timeout(
        retransmits,
        next,
        rto,
        base_us(
            rto_us,
            number(name::BACKOFF)?,
            limits,
            srtt_us,
            number(name::RTTVAR_US),
        )
        .saturating_mul(1_000),
    );
    Some(Stalled {
        netns,
        ends,
        pid: who::holder(aggregate, &subject),
        first,
        last: ended.map_or(read.last.0, |connection| connection.last),
        timeouts: retransmits.try_into().unwrap_or(u32::MAX),
        rto_us,
        srtt_us,
        unacked: (number(name::UNACKED)?, "segments"),
        limits,
        give_up: ended.map_or_else(
            || limits.give_up(first, next, rto),
            |connection| connection.last,
        ),
        end: ended.and_then(|connection| connection.end),
        is_found: true,
    })
}

/// Whether a connection in this state has data to send: it was established.
fn is_data(state: &Value) -> bool {
    let Value::Text(name) = state else {
        return false;
    };
    State::from_name(name)
        .is_some_and(|state| ![state::SYN_SENT, state::SYN_RECV, state::CLOSE].contains(&state.0))
}

/// What has become of a connection that was read at `since`, if it ended badly.
fn ended(aggregate: &Aggregate, netns: u32, ends: Ends, since: Time) -> Option<&Connection> {
    aggregate.connections.iter().find(|connection| {
        connection.netns == Some(netns)
            && connection.ends == Some(ends)
            && connection.end.is_some()
            && connection.last >= since
    })
}

/// The timer before any timeout: what has been doubled, or, where it stands at its maximum, what the
/// round-trip time asks for (`net/ipv4/tcp_input.c: tcp_set_rto`, at least 200 ms above it).
fn base_us(
    rto_us: u64,
    backoff: u64,
    limits: Limits,
    srtt_us: Option<u64>,
    rttvar_us: Option<u64>,
) -> u64 {
    if rto_us < limits.rto_max_ms.saturating_mul(1_000) {
        rto_us >> backoff.min(63)
    } else {
        let above = rttvar_us.unwrap_or(0).saturating_mul(4).max(200_000);
        srtt_us.unwrap_or(0).saturating_add(above)
    }
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tracer_common::record::{Cause, End};

    use crate::{
        diagnose::synthetic::{NETNS, Synthetic, ends, process},
        event::{Direction, Ends},
        fact::{Subject, name},
        identity::Identity,
        time::Time,
    };

    fn conn() -> (u64, Ends) {
        (1, ends("10.0.0.1:40000", "10.0.0.2:6379"))
    }

    fn subject() -> Subject {
        Subject::Connection {
            netns: NETNS,
            ends: conn().1,
        }
    }

    /// A trace that came late: the socket is read after five timeouts, in this state.
    fn found(redis: &Identity, state: &str) -> Synthetic {
        let subject = subject();
        let mut trace = Synthetic::default();
        trace.limits(redis, 1024, 4096, None);
        trace
            .text(0, subject, name::STATE, state)
            .text(0, subject, name::TIMER, "retransmit");
        for (name, value) in [
            (name::EXPIRES_MS, 3_392),
            (name::RETRANSMITS, 5),
            (name::BACKOFF, 5),
            (name::RTO_US, 6_528_000),
            (name::UNACKED, 1),
            (name::CONNECTION_PID, 812),
            (name::CONNECTION_PID_START, redis.start.0 as i64),
        ] {
            trace.fact(0, subject, name, value);
        }
        trace.namespace(0, "net.ipv4.tcp_retries2", 5);
        trace
    }

    #[test]
    fn a_stall_is_found_in_the_sockets_state_alone() {
        let redis = process("redis-server", 812);
        let finding = found(&redis, "ESTABLISHED").only();
        assert!(
            finding.sentence.contains("redis-server[812]"),
            "{}",
            finding.sentence
        );
        assert_eq!(
            finding.value("gives_up_at"),
            Synthetic::time(3_392).to_string()
        );
        // The timers before were 408, 816, 1632, 3264 ms, and 3136 ms of this one are over.
        assert_eq!(
            finding.first,
            Synthetic::time(0)
                .0
                .checked_sub(9_256_000_000)
                .map(Time)
                .unwrap()
        );
    }

    /// The next timeout is seen, and what comes then.
    fn then(trace: &mut Synthetic, redis: &Rc<Identity>, end: End, errno: i32) {
        trace.retransmit(3_392, redis, conn(), Cause::Rto, 77, 5, 6_528);
        trace.ended(3_393, redis, conn(), end, Some(errno), None);
        trace.text(3_393, subject(), name::STATE, "CLOSE");
        trace.until(5_000);
    }

    #[test]
    fn what_a_late_trace_sees_end_is_told_by_its_end() {
        let redis = process("redis-server", 812);
        let mut answered = found(&redis, "ESTABLISHED");
        answered.reset(3_392, &redis, conn(), Direction::Received);
        then(&mut answered, &redis, End::ResetRemote, libc::ECONNRESET);
        assert_eq!(answered.names(), ["peer-restarted"]);

        let mut gave_up = found(&redis, "ESTABLISHED");
        then(&mut gave_up, &redis, End::TimedOut, libc::ETIMEDOUT);
        let finding = gave_up.only();
        assert!(
            finding.sentence.contains("gave up with ETIMEDOUT"),
            "{}",
            finding.sentence
        );
        assert_eq!(
            finding.value("gave_up_at"),
            Synthetic::time(3_393).to_string()
        );

        let mut never_came = found(&redis, "SYN_SENT");
        then(&mut never_came, &redis, End::TimedOut, libc::ETIMEDOUT);
        assert!(never_came.names().is_empty(), "it was no connection");
    }

    #[test]
    fn what_ends_long_after_a_stall_has_another_cause() {
        let redis = process("redis-server", 812);
        let mut recovered = found(&redis, "ESTABLISHED");
        // By keepalive: the data of the stall was acknowledged long ago.
        let end = (End::TimedOut, Some(libc::ETIMEDOUT));
        recovered.ended(90_000, &redis, conn(), end.0, end.1, None);
        recovered.text(90_000, subject(), name::STATE, "CLOSE");
        assert!(recovered.names().is_empty());

        let mut seen = Synthetic::default();
        for (backoff, at) in (0..4).zip([200, 600, 1_400, 3_000]) {
            seen.retransmit(at, &redis, conn(), Cause::Rto, 77, backoff, 200 << backoff);
        }
        seen.ended(90_000, &redis, conn(), end.0, end.1, None);
        assert!(seen.names().is_empty());
    }

    #[test]
    fn what_a_late_trace_sees_closed_in_order_has_no_finding() {
        let redis = process("redis-server", 812);
        let mut closed = found(&redis, "ESTABLISHED");
        closed.ended(3_000, &redis, conn(), End::ClosedLocal, None, None);
        closed.text(3_000, subject(), name::STATE, "CLOSE");
        assert!(closed.names().is_empty());
    }
}

//! Stalls that are known by the socket's state, for the trace came late.

use tracer_common::tcp::state;

use super::{Stalled, TIMEOUTS, is_due, is_neighbour, is_next_due, limits};
use crate::{
    aggregate::{Aggregate, Connection},
    diagnose::{give_up::Limits, who},
    event::{Ends, State},
    fact::{Subject, Value, name},
    time::Time,
};

/// Known by the state of the socket, for the trace came late; its end may have been seen.
pub(super) fn by_facts(aggregate: &Aggregate, netns: u32, ends: Ends) -> Option<Stalled> {
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

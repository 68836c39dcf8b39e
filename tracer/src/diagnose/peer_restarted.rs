//! `peer-restarted`: the peer was away, came back, and knows nothing of the connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracer_common::record::{Cause, End};

use super::{About, Evidence, Finding, Rule, Severity, phrase, stalled, who};
use crate::{
    aggregate::{Aggregate, Connection, Stall},
    time::Time,
};

/// Timeouts before the reset: one can be a lost segment.
const TIMEOUTS: u32 = 2;

pub(super) struct PeerRestarted;

impl Rule for PeerRestarted {
    fn name(&self) -> &'static str {
        "peer-restarted"
    }

    fn page(&self) -> &'static str {
        "docs/findings/peer-restarted.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        peers(aggregate)
            .into_iter()
            .filter_map(|((netns, ip), all)| finding(aggregate, netns, ip, &all))
            .collect()
    }
}

/// Peers that answered data that was sent again with a reset, and on which connections.
pub(super) fn peers(aggregate: &Aggregate) -> BTreeMap<(u32, IpAddr), Vec<&Connection>> {
    let mut peers: BTreeMap<(u32, IpAddr), Vec<&Connection>> = BTreeMap::new();
    for connection in aggregate.connections.iter() {
        if is_answered(connection)
            && let Some(netns) = connection.netns
            && let Some(remote) = connection.ends.and_then(|ends| ends.remote)
        {
            let of_peer = peers.entry((netns, remote.ip())).or_default();
            of_peer.push(connection);
        }
    }
    peers
}

/// Whether it ended with the peer's reset, and while nothing was acknowledged: a reset that comes long after
/// the last timeout is of another matter, as what was sent again has arrived. A SYN is no data.
fn is_answered(connection: &Connection) -> bool {
    matches!(connection.end, Some((End::ResetRemote, _)))
        && connection.segs.contains_key(&Cause::Rto)
        && connection.stall.is_some_and(|stall| {
            timeouts(&stall) >= TIMEOUTS && stalled::is_due(&stall, connection.last)
        })
}

/// Timeouts up to its last, also those before the trace: the exponent of the back-off counts them.
fn timeouts(stall: &Stall) -> u32 {
    if stall.timeouts == 0 {
        return 0;
    }
    stall.timeouts.max(u32::from(stall.backoff) + 1)
}

/// When its data was first sent again, also before the trace: each timer was half as long as the next.
fn first(stall: &Stall) -> Time {
    if timeouts(stall) == stall.timeouts {
        return stall.first;
    }
    let us: u64 = (0..stall.backoff)
        .map(|doublings| stall.rto_us.unwrap_or(0).checked_shr(doublings.into()))
        .map(|timer| timer.unwrap_or(0))
        .fold(0, u64::saturating_add);
    let ns = us.saturating_mul(1_000);
    stall.first.min(Time(stall.last.0.saturating_sub(ns)))
}

fn finding(aggregate: &Aggregate, netns: u32, ip: IpAddr, all: &[&Connection]) -> Option<Finding> {
    let worst = all
        .iter()
        .max_by_key(|one| one.stall.map(|stall| timeouts(&stall)))?;
    let stall = worst.stall?;
    let processes: BTreeSet<_> = all
        .iter()
        .filter_map(|one| one.owner.as_ref())
        .map(|who| who.id())
        .collect();
    let who = worst
        .owner
        .as_ref()
        .and_then(|who| who::who(aggregate, who.id()));
    let name = who
        .as_ref()
        .map_or_else(|| "nobody known".to_owned(), ToString::to_string);
    let away = worst.last.since(first(&stall));
    let peer = worst.ends?.remote?;
    let sentence = format!(
        "{peer} was away for some {} and came back without its connections: it answered data of {} that was sent again with a reset ({}).",
        phrase::duration(away),
        phrase::and_more(&name, processes.len()),
        phrase::count(all.len() as u64, "connection", "connections"),
    );
    let since = all
        .iter()
        .filter_map(|one| one.stall)
        .map(|stall| first(&stall))
        .min()?;
    let last = all.iter().map(|one| one.last).max()?;
    let about = About {
        process: who,
        processes: processes.len(),
        peer: Some(peer.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Warning, since, last, sentence, about);
    let resets: u32 = all.iter().map(|one| one.resets_received).sum();
    for (name, value, source) in [
        (
            "timeouts of the same data",
            timeouts(&stall).to_string(),
            "event retransmit",
        ),
        ("resets received", resets.to_string(), "event reset"),
        ("connections", all.len().to_string(), "event connection"),
    ] {
        finding.evidence.push(Evidence::new(name, value, source));
    }
    finding.remedy = vec![
        format!("See why {ip} was away: its host was restarted, it failed over to another, or a firewall or load balancer between lost its table of connections."),
        "Have the application connect anew after ECONNRESET, and repeat what is safe to repeat.".to_owned(),
        "Notice it sooner: a timeout in the application's protocol, or TCP_USER_TIMEOUT. Nothing is to be set in this kernel: the reset is right.".to_owned(),
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use tracer_common::record::{Cause, End};

    use crate::{
        diagnose::synthetic::{Synthetic, ends, process},
        event::Direction,
    };

    fn away(timeouts: u32) -> Synthetic {
        let (redis, conn) = (
            process("redis-server", 7),
            (1, ends("10.0.0.1:40000", "10.0.0.2:6379")),
        );
        let mut trace = Synthetic::default();
        for (backoff, at) in (0..timeouts as u8).zip([200, 600, 1_400, 3_000]) {
            trace.retransmit(at, &redis, conn, Cause::Rto, 77, backoff, 200 << backoff);
        }
        trace.reset(3_001, &redis, conn, Direction::Received);
        trace.ended(3_001, &redis, conn, End::ResetRemote, Some(104), None);
        trace
    }

    #[test]
    fn a_reset_that_answers_a_retransmit_is_a_restart() {
        let finding = away(4).only();
        assert_eq!(finding.name, "peer-restarted");
        assert_eq!(finding.value("timeouts of the same data"), "4");
        assert_eq!(finding.about.peer.as_deref(), Some("10.0.0.2:6379"));
    }

    #[test]
    fn timeouts_before_the_trace_count() {
        let (redis, conn) = (
            process("redis-server", 7),
            (1, ends("10.0.0.1:40000", "10.0.0.2:6379")),
        );
        let mut trace = Synthetic::default();
        // The fifth timeout: the timers before it were 3264, 1632, 816 and 408 ms.
        trace.retransmit(300, &redis, conn, Cause::Rto, 77, 4, 3_264);
        trace.reset(301, &redis, conn, Direction::Received);
        trace.ended(301, &redis, conn, End::ResetRemote, Some(104), None);
        let finding = trace.only();
        assert_eq!(finding.name, "peer-restarted");
        assert_eq!(finding.value("timeouts of the same data"), "5");
        let away = Synthetic::time(301).since(finding.first) / 1_000_000;
        assert_eq!(away, 1 + 3_264 + 1_632 + 816 + 408);
    }

    #[test]
    fn a_reset_long_after_the_data_was_acknowledged_is_none() {
        let (redis, conn) = (
            process("redis-server", 7),
            (1, ends("10.0.0.1:40000", "10.0.0.2:6379")),
        );
        let mut trace = Synthetic::default();
        trace.retransmit(200, &redis, conn, Cause::Rto, 77, 0, 200);
        trace.retransmit(600, &redis, conn, Cause::Rto, 77, 1, 400);
        trace.reset(60_600, &redis, conn, Direction::Received);
        trace.ended(60_600, &redis, conn, End::ResetRemote, Some(104), None);
        assert!(trace.names().is_empty());
    }

    #[test]
    fn a_syn_that_is_sent_again_is_no_data() {
        let (redis, conn) = (
            process("redis-server", 7),
            (1, ends("10.0.0.1:40000", "10.0.0.2:6379")),
        );
        let mut trace = Synthetic::default();
        for (backoff, at) in (0..3).zip([1_000, 2_000, 4_000]) {
            trace.retransmit(at, &redis, conn, Cause::Syn, 77, backoff, 1_000 << backoff);
        }
        trace.reset(4_300, &redis, conn, Direction::Received);
        trace.ended(
            4_300,
            &redis,
            conn,
            End::ResetRemote,
            Some(104),
            Some(4_100),
        );
        assert!(trace.names().is_empty());
    }

    #[test]
    fn a_plain_reset_is_none() {
        assert!(away(0).names().is_empty());
        assert!(away(1).names().is_empty());
    }
}

//! `packet-loss`: segments get lost on the way to a peer, or their acknowledgements do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use tracer_common::record::Cause;

use super::{
    About, Evidence, Finding, Rule, Severity, listener, local_firewall_drop, peer_restarted,
    phrase,
    stalled::{self, Stalled},
    who,
};
use crate::{
    aggregate::{Aggregate, Flow, FlowKey},
    event::Role,
    fact::{Subject, name},
    identity::Pid,
};

/// Segments sent again below which nothing is said.
const FEW: u64 = 20;
/// Percent of the namespace's segments, or of those to the peer, that were sent again: below that congestion control is at work, and
/// throughput hardly suffers.
const SHARE: u64 = 1;
const SENT_AGAIN: &str = "Tcp.RetransSegs";
const SENT: &str = "Tcp.OutSegs";

pub(super) struct PacketLoss;

/// Whose segments were lost, by cause.
#[derive(Default)]
struct Lossy<'a> {
    causes: BTreeMap<Cause, u64>,
    processes: BTreeMap<Pid, u64>,
    flows: Vec<&'a Flow>,
}

impl Rule for PacketLoss {
    fn name(&self) -> &'static str {
        "packet-loss"
    }

    fn page(&self) -> &'static str {
        "docs/findings/packet-loss.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let filtered = local_firewall_drop::peers(aggregate);
        // A peer that is gone, or was, loses everything: that has another name.
        let gone: BTreeSet<(u32, IpAddr)> = stalled::all(aggregate)
            .into_iter()
            .filter(Stalled::is_silent)
            .filter_map(|one| Some((one.netns, one.ends.remote?.ip())))
            .chain(peer_restarted::peers(aggregate).into_keys())
            .collect();
        let mut peers: BTreeMap<(u32, IpAddr), Lossy> = BTreeMap::new();
        for (pid, process) in &aggregate.processes {
            for (key, flow) in process.known_flows() {
                let at = (key.netns, key.peer);
                let has_lost = !flow.retransmits.is_empty();
                if filtered.contains_key(&at)
                    || gone.contains(&at)
                    || (has_lost && is_queued(aggregate, key))
                {
                    continue;
                }
                let lossy = peers.entry(at).or_default();
                lossy.flows.push(flow);
                for (cause, segs) in &flow.retransmits {
                    // Handshakes are lost to full queues, too, and a smaller path MTU loses nothing.
                    if !matches!(cause, Cause::Syn | Cause::Synack | Cause::Pmtu) {
                        *lossy.causes.entry(*cause).or_default() += segs;
                        *lossy.processes.entry(*pid).or_default() += segs;
                    }
                }
            }
        }
        peers
            .into_iter()
            .filter_map(|((netns, ip), lossy)| finding(aggregate, netns, ip, &lossy))
            .collect()
    }
}

/// Whether what was sent found the full queue of a listener of this host, which drops it until somebody accepts.
fn is_queued(aggregate: &Aggregate, key: &FlowKey) -> bool {
    key.role != Some(Role::Passive)
        && key.peer.is_loopback()
        && listener::is_full(aggregate, key.netns, SocketAddr::new(key.peer, key.port))
}

fn permille(part: u64, whole: u64) -> u64 {
    let share = (u128::from(part) * 1_000).checked_div(whole.into());
    share
        .and_then(|share| u64::try_from(share).ok())
        .unwrap_or(0)
}

fn finding(aggregate: &Aggregate, netns: u32, ip: IpAddr, lossy: &Lossy) -> Option<Finding> {
    let segs: u64 = lossy.causes.values().sum();
    let subject = Subject::Namespace(netns);
    let grown = |name| aggregate.facts.growth(&subject, name);
    let (again, sent) = (grown(SENT_AGAIN)?, grown(SENT)?);
    // What counts as sent does not count what was sent again: `net/ipv4/tcp_output.c: __tcp_transmit_skb`.
    let of_all = permille(again, sent.saturating_add(again));
    // Of many peers one may lose much, and the others hide it. What was sent to it is known of connections that
    // have ended, their handshakes with it.
    let to_peer = lossy.flows.iter().map(|flow| flow.segs_out).sum();
    let ended = lossy.flows.iter().map(|flow| flow.ended_segs).sum();
    let of_peer = permille(segs.min(ended), to_peer);
    if segs < FEW || of_all.max(of_peer) < SHARE * 10 {
        return None;
    }
    let (permille, all) = if of_all >= SHARE * 10 {
        (of_all, "this namespace sent")
    } else {
        (of_peer, "connections that have ended sent to it")
    };
    let (worst, _) = lossy.processes.iter().max_by_key(|(_, segs)| **segs)?;
    let who = who::who(aggregate, *worst);
    let name = who
        .as_ref()
        .map_or_else(|| "nobody known".to_owned(), ToString::to_string);
    let share = format!("{}.{} %", permille / 10, permille % 10);
    let sentence = format!(
        "Packets to or from {ip} get lost: {} of {} had to be sent again, {share} of all that {all}.",
        phrase::count(segs, "segment", "segments"),
        phrase::and_more(&name, lossy.processes.len()),
    );
    let about = About {
        process: who,
        processes: lossy.processes.len(),
        peer: Some(ip.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let times = || lossy.flows.iter().filter_map(|flow| flow.sent_again);
    let first = times().map(|(first, _)| first).min()?;
    let last = times().map(|(_, last)| last).max()?;
    let mut finding = Finding::new(Severity::Warning, first, last, sentence, about);
    finding
        .evidence
        .push(Evidence::new("retransmit segs", segs, "event retransmit"));
    for (cause, segs) in &lossy.causes {
        finding.evidence.push(Evidence::new(
            format!("of those, {}", cause.name()),
            segs,
            "event retransmit",
        ));
    }
    let over = "/proc/net/snmp, over the trace";
    finding
        .evidence
        .push(Evidence::new(SENT_AGAIN, again, over));
    finding.evidence.push(Evidence::new(SENT, sent, over));
    for (name, segs) in [("segs_retrans", ended), ("segs_out", to_peer)] {
        if to_peer > 0 {
            let source = "event connection, to this peer";
            finding.evidence.push(Evidence::new(name, segs, source));
        }
    }
    if let Some(us) = lossy.flows.iter().filter_map(|flow| flow.srtt_us).max() {
        finding
            .evidence
            .push(Evidence::new("srtt_us", us, "event retransmit"));
    }
    let filter = if are_drops_watched(aggregate) {
        "No drop of this host's netfilter was seen to explain them."
    } else {
        "Look at this host's own netfilter first (counters of `nft list ruleset` or `iptables -L -v -n`): its drops were not watched; Linux tells of them from 5.17 on."
    };
    finding.remedy = vec![
        format!("Find where they are lost on the way to {ip}: errors and drops of the interfaces (`ip -s link`, `ethtool -S`), a full queue (`tc -s qdisc`), a shaper or policer, the peer's own firewall."),
        filter.to_owned(),
        "Do not change net.ipv4.tcp_retries2, tcp_sack or buffers: the sender does what it should. Over a long way a congestion control that bears loss (bbr) helps throughput, not the loss.".to_owned(),
    ];
    Some(finding)
}

/// Whether anybody looked, at any time.
fn are_drops_watched(aggregate: &Aggregate) -> bool {
    let known = aggregate.facts.get(&Subject::Machine, name::DROPS_WATCHED);
    known.is_some_and(|known| {
        [&known.first, &known.last]
            .iter()
            .any(|(_, value)| value.number() == Some(1))
    })
}

#[cfg(test)]
mod tests {
    use tracer_common::record::End;

    use super::*;
    use crate::diagnose::synthetic::{NETNS, Synthetic, ends, process};

    fn lossy(segs: u64, sent: i64) -> Synthetic {
        let (app, conn) = (
            process("app", 5),
            (1, ends("10.0.0.1:40000", "10.0.0.2:80")),
        );
        let mut trace = Synthetic::default();
        trace.namespace(0, SENT, 0).namespace(0, SENT_AGAIN, 0);
        for at in 0..segs {
            trace.retransmit(at * 10, &app, conn, Cause::Fast, at as u32, 0, 204);
        }
        trace
            .namespace(9_000, SENT, sent)
            .namespace(9_000, SENT_AGAIN, segs as i64);
        trace
    }

    #[test]
    fn the_share_decides() {
        let finding = lossy(815, 16_000).only();
        assert_eq!(finding.name, "packet-loss");
        assert_eq!(finding.value("of those, fast"), "815");
        assert!(finding.sentence.contains("4.8 %"), "{}", finding.sentence);
        assert!(lossy(815, 1_000_000).names().is_empty(), "0.08 %");
        assert!(lossy(19, 100).names().is_empty(), "few");
    }

    #[test]
    fn a_full_listener_of_this_host_loses_nothing() {
        let client = process("client", 5);
        let mut trace = Synthetic::default();
        trace.namespace(0, SENT, 0).namespace(0, SENT_AGAIN, 0);
        for id in 1..=20 {
            let conn = (
                id,
                ends(&format!("127.0.0.1:{}", 40_000 + id), "127.0.0.1:80"),
            );
            for (backoff, at) in (0..3).zip([200, 600, 1_400]) {
                trace.retransmit(at, &client, conn, Cause::Rto, 77, backoff, 200 << backoff);
            }
            trace.ended(1_500, &client, conn, End::ClosedLocal, None, Some(50));
        }
        trace
            .namespace(9_000, SENT, 100)
            .namespace(9_000, SENT_AGAIN, 60);
        assert_eq!(trace.names(), ["packet-loss"]);
        let listener = Subject::Listener {
            netns: NETNS,
            local: "0.0.0.0:80".parse().unwrap(),
        };
        trace.fact(1_000, listener, name::BACKLOG_FULL, 2);
        assert!(trace.names().is_empty());
    }

    #[test]
    fn one_lossy_peer_of_many_is_found() {
        let mut trace = lossy(815, 1_000_000);
        assert!(trace.names().is_empty());
        let conn = (1, ends("10.0.0.1:40000", "10.0.0.2:80"));
        trace.sent(9_000, &process("app", 5), conn, 16_000, 815);
        let finding = trace.only();
        assert!(
            finding
                .sentence
                .contains("5.0 % of all that connections that have ended sent to it"),
            "{}",
            finding.sentence
        );
        assert_eq!(finding.value("segs_out"), "16000");
    }

    #[test]
    fn a_connection_that_once_stalled_does_not_hide_the_loss() {
        for (end, errno) in [
            (End::ResetRemote, libc::ECONNRESET),
            // By keepalive, long after.
            (End::TimedOut, libc::ETIMEDOUT),
        ] {
            let mut trace = lossy(815, 16_000);
            let app = process("app", 5);
            let conn = (2, ends("10.0.0.1:40001", "10.0.0.2:80"));
            for (backoff, at) in (0..4).zip([200, 600, 1_400, 3_000]) {
                trace.retransmit(at, &app, conn, Cause::Rto, 77, backoff, 200 << backoff);
            }
            trace.ended(80_000, &app, conn, end, Some(errno), None);
            assert_eq!(trace.names(), ["packet-loss"]);
        }
    }

    #[test]
    fn drops_that_nobody_watched_are_not_denied() {
        const DENIED: &str = "No drop of this host's netfilter";
        let mut trace = lossy(815, 16_000);
        assert!(!trace.only().advises(&[DENIED]));
        trace.fact(500, Subject::Machine, name::DROPS_WATCHED, 0);
        assert!(!trace.only().advises(&[DENIED]), "it could not be");
        let mut watched = lossy(815, 16_000);
        for (at, value) in [(500, 1), (9_000, 0)] {
            watched.fact(at, Subject::Machine, name::DROPS_WATCHED, value);
        }
        assert!(watched.only().advises(&[DENIED]));
    }

    #[test]
    fn lost_handshakes_are_another_matter() {
        let (app, conn) = (
            process("app", 5),
            (1, ends("10.0.0.1:40000", "10.0.0.2:80")),
        );
        let mut trace = Synthetic::default();
        trace.namespace(0, SENT, 0).namespace(0, SENT_AGAIN, 0);
        for at in 0..90 {
            trace.retransmit(at * 10, &app, conn, Cause::Syn, 1, 0, 1_000);
        }
        trace
            .namespace(9_000, SENT, 100)
            .namespace(9_000, SENT_AGAIN, 90);
        assert!(trace.names().is_empty());
    }
}

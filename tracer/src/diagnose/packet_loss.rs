//! `packet-loss`: segments get lost on the way to a peer, or their acknowledgements do.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracer_common::record::Cause;

use super::{About, Evidence, Finding, Rule, Severity, local_firewall_drop, phrase, stalled, who};
use crate::{
    aggregate::{Aggregate, Flow},
    fact::Subject,
    identity::Pid,
};

/// Segments sent again below which nothing is said.
const FEW: u64 = 20;
/// Percent of the namespace's segments that were sent again: below that congestion control is at work, and
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
        // A peer that is gone loses everything: that has another name.
        let gone: BTreeSet<(u32, IpAddr)> = stalled::all(aggregate)
            .into_iter()
            .filter_map(|one| Some((one.netns, one.ends.remote?.ip())))
            .collect();
        let mut peers: BTreeMap<(u32, IpAddr), Lossy> = BTreeMap::new();
        for (pid, process) in &aggregate.processes {
            for (key, flow) in process.known_flows() {
                let at = (key.netns, key.peer);
                if filtered.contains_key(&at) || gone.contains(&at) {
                    continue;
                }
                for (cause, segs) in &flow.retransmits {
                    // Handshakes are lost to full queues, too, and a smaller path MTU loses nothing.
                    if !matches!(cause, Cause::Syn | Cause::Synack | Cause::Pmtu) {
                        let lossy = peers.entry(at).or_default();
                        *lossy.causes.entry(*cause).or_default() += segs;
                        *lossy.processes.entry(*pid).or_default() += segs;
                        lossy.flows.push(flow);
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

fn finding(aggregate: &Aggregate, netns: u32, ip: IpAddr, lossy: &Lossy) -> Option<Finding> {
    let segs: u64 = lossy.causes.values().sum();
    let subject = Subject::Namespace(netns);
    let grown = |name| aggregate.facts.growth(&subject, name);
    let (again, sent) = (grown(SENT_AGAIN)?, grown(SENT)?);
    // What counts as sent does not count what was sent again: `net/ipv4/tcp_output.c: __tcp_transmit_skb`.
    let permille = again * 1_000 / (sent + again).max(1);
    if segs < FEW || permille < SHARE * 10 {
        return None;
    }
    let (worst, _) = lossy.processes.iter().max_by_key(|(_, segs)| **segs)?;
    let who = who::who(aggregate, *worst);
    let name = who
        .as_ref()
        .map_or_else(|| "nobody known".to_owned(), ToString::to_string);
    let share = format!("{}.{} %", permille / 10, permille % 10);
    let sentence = format!(
        "Packets to or from {ip} get lost: {} of {} had to be sent again, {share} of all that this namespace sent.",
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
    let first = lossy.flows.iter().map(|flow| flow.first).min()?;
    let last = lossy.flows.iter().map(|flow| flow.last).max()?;
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
    if let Some(us) = lossy.flows.iter().filter_map(|flow| flow.srtt_us).max() {
        finding
            .evidence
            .push(Evidence::new("srtt_us", us, "event retransmit"));
    }
    finding.remedy = vec![
        format!("Find where they are lost on the way to {ip}: errors and drops of the interfaces (`ip -s link`, `ethtool -S`), a full queue (`tc -s qdisc`), a shaper or policer, the peer's own firewall."),
        "No drop of this host's netfilter was seen to explain them.".to_owned(),
        "Do not change net.ipv4.tcp_retries2, tcp_sack or buffers: the sender does what it should. Over a long way a congestion control that bears loss (bbr) helps throughput, not the loss.".to_owned(),
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{Synthetic, ends, process};

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

//! `local-firewall-drop`: this machine's own netfilter drops TCP segments.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracer_common::record::Cause;

use super::{About, Evidence, Finding, Rule, Severity, phrase, who};
use crate::{
    aggregate::{Aggregate, Flow},
    fact::Subject,
    identity::Pid,
    time::Time,
};

/// Drops below which nothing is said: a rule that drops strays is what a firewall is for.
const FEW: u64 = 10;
/// Segments sent again to the same peer below which it hurts nobody.
const SENT_AGAIN: u64 = 10;
/// `include/net/dropreason-core.h`, as facts name it; source and destination follow.
const DROPPED: &str = "drop.NETFILTER_DROP ";

pub(super) struct LocalFirewallDrop;

impl Rule for LocalFirewallDrop {
    fn name(&self) -> &'static str {
        "local-firewall-drop"
    }

    fn page(&self) -> &'static str {
        "docs/findings/local-firewall-drop.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        peers(aggregate)
            .iter()
            .filter_map(|((netns, ip), dropped)| finding(aggregate, *netns, *ip, dropped))
            .collect()
    }
}

/// What netfilter dropped to or from an address, in all namespaces of the machine.
#[derive(Clone, Debug)]
pub(super) struct Dropped {
    count: u64,
    first: Time,
    last: Time,
    /// Where; 0 is on the way out of any.
    namespaces: BTreeSet<u32>,
}

/// Peers whose segments are dropped and sent again.
pub(super) fn peers(aggregate: &Aggregate) -> BTreeMap<(u32, IpAddr), Dropped> {
    let dropped = dropped(aggregate);
    if dropped.is_empty() {
        return BTreeMap::new();
    }
    let mut sent_again: BTreeMap<(u32, IpAddr), u64> = BTreeMap::new();
    for process in aggregate.processes.values() {
        for (key, flow) in process.known_flows() {
            *sent_again.entry((key.netns, key.peer)).or_default() += hurt(flow);
        }
    }
    sent_again
        .into_iter()
        .filter(|(_, segs)| *segs >= SENT_AGAIN)
        .filter_map(|(at, _)| Some((at, dropped.get(&at.1)?.clone())))
        .filter(|(_, dropped)| dropped.count >= FEW)
        .collect()
}

/// Segments sent again that somebody waits for. A SYN-ACK that is sent again is answered by nobody: that of a
/// flood, or of a scan that a firewall keeps out.
fn hurt(flow: &Flow) -> u64 {
    let synacks = flow.retransmits.get(&Cause::Synack).copied().unwrap_or(0);
    flow.segs() - synacks
}

/// By address, at either end of the packets.
fn dropped(aggregate: &Aggregate) -> BTreeMap<IpAddr, Dropped> {
    let mut by_address: BTreeMap<IpAddr, Dropped> = BTreeMap::new();
    for subject in aggregate.facts.subjects() {
        let Subject::Namespace(netns) = *subject else {
            continue;
        };
        for (name, known) in aggregate.facts.of(subject) {
            let Some(pair) = name.strip_prefix(DROPPED) else {
                continue;
            };
            for address in pair.split(' ').filter_map(|address| address.parse().ok()) {
                let sum = by_address.entry(address).or_insert_with(|| Dropped {
                    count: 0,
                    first: known.first.0,
                    last: known.last.0,
                    namespaces: BTreeSet::new(),
                });
                sum.count = sum.count.saturating_add(known.growth());
                sum.first = sum.first.min(known.first.0);
                sum.last = sum.last.max(known.last.0);
                sum.namespaces.insert(netns);
            }
        }
    }
    by_address
}

fn finding(aggregate: &Aggregate, netns: u32, ip: IpAddr, dropped: &Dropped) -> Option<Finding> {
    let mut processes: BTreeMap<Pid, u64> = BTreeMap::new();
    for (pid, process) in &aggregate.processes {
        for (key, flow) in process.known_flows() {
            if (key.netns, key.peer) == (netns, ip) && hurt(flow) > 0 {
                *processes.entry(*pid).or_default() += hurt(flow);
            }
        }
    }
    let again: u64 = processes.values().sum();
    let (worst, _) = processes.iter().max_by_key(|(_, segs)| **segs)?;
    let who = who::who(aggregate, *worst);
    let name = who
        .as_ref()
        .map_or_else(|| "nobody known".to_owned(), ToString::to_string);
    let places = places(&dropped.namespaces);
    let sentence = format!(
        "This machine's own firewall drops TCP to or from {ip}: netfilter dropped {} {places}, and {} of {} had to be sent again.",
        phrase::count(dropped.count, "packet", "packets"),
        phrase::count(again, "segment", "segments"),
        phrase::and_more(&name, processes.len()),
    );
    let about = About {
        process: who,
        processes: processes.len(),
        peer: Some(ip.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(
        Severity::Warning,
        dropped.first,
        dropped.last,
        sentence,
        about,
    );
    let source = "tracepoint kfree_skb, TCP only, since loss was seen";
    finding
        .evidence
        .push(Evidence::new("NETFILTER_DROP", dropped.count, source));
    finding
        .evidence
        .push(Evidence::new("retransmit segs", again, "event retransmit"));
    finding.remedy = vec![
        format!("Find the rule {places}: `nft list ruleset` with counters, or `iptables -L -v -n`; `nft monitor trace` after `meta nftrace set 1` names it for a packet."),
        "If it is meant, have it reject instead of drop (`reject with tcp reset`): clients then fail at once instead of sending again.".to_owned(),
        "Do not look at the network between: these packets were on this machine when they were dropped.".to_owned(),
    ];
    Some(finding)
}

/// `in network namespace 4026531840`, as far as the packets tell it.
fn places(namespaces: &BTreeSet<u32>) -> String {
    let known = namespaces.iter().filter(|netns| **netns != 0);
    let known: Vec<String> = known.map(u32::to_string).collect();
    match known.as_slice() {
        [] => "on their way out".to_owned(),
        [one] => format!("in network namespace {one}"),
        several => format!("in network namespaces {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{Synthetic, ends, process};

    fn lossy(segs: u64) -> Synthetic {
        let (app, conn) = (
            process("app", 5),
            (1, ends("10.0.0.1:40000", "10.0.0.2:80")),
        );
        let mut trace = Synthetic::default();
        for at in 0..segs {
            trace.retransmit(at * 10, &app, conn, Cause::Fast, at as u32, 0, 204);
        }
        for (name, last) in [("Tcp.OutSegs", 16_000), ("Tcp.RetransSegs", 815)] {
            trace.namespace(0, name, 0).namespace(9_000, name, last);
        }
        trace
    }

    fn drops(trace: &mut Synthetic, name: &'static str) {
        // The receiver's namespace is another one on this machine.
        let far = Subject::Namespace(7);
        trace.fact(500, far, name, 0).fact(9_000, far, name, 814);
    }

    #[test]
    fn drops_of_netfilter_explain_the_loss() {
        let mut trace = lossy(815);
        drops(&mut trace, "drop.NETFILTER_DROP 10.0.0.1 10.0.0.2");
        let finding = trace.only();
        assert_eq!(finding.name, "local-firewall-drop");
        assert_eq!(finding.value("NETFILTER_DROP"), "814");
        assert!(
            finding.sentence.contains("in network namespace 7"),
            "{}",
            finding.sentence
        );
        assert!(finding.advises(&["nft list ruleset"]));
    }

    #[test]
    fn drops_of_others_explain_nothing() {
        let mut trace = lossy(815);
        drops(&mut trace, "drop.NETFILTER_DROP 10.0.9.1 10.0.9.2");
        assert_eq!(trace.names(), ["packet-loss"]);
        let mut other = lossy(815);
        drops(&mut other, "drop.TCP_OFOMERGE 10.0.0.1 10.0.0.2");
        assert_eq!(other.names(), ["packet-loss"]);
    }

    #[test]
    fn who_is_kept_out_is_not_hurt() {
        let (app, conn) = (
            process("app", 5),
            (1, ends("10.0.0.1:80", "10.0.0.2:40000")),
        );
        let mut trace = Synthetic::default();
        for at in 0..100 {
            trace.retransmit(at * 10, &app, conn, Cause::Synack, 1, 0, 1_000);
        }
        drops(&mut trace, "drop.NETFILTER_DROP 10.0.0.1 10.0.0.2");
        assert!(trace.names().is_empty());
    }

    #[test]
    fn a_rule_that_drops_strays_hurts_nobody() {
        let mut trace = lossy(5);
        drops(&mut trace, "drop.NETFILTER_DROP 10.0.0.1 10.0.0.2");
        assert!(trace.names().is_empty());
    }
}

//! `local-firewall-drop`: this host's own netfilter drops TCP segments.

use std::collections::BTreeSet;

use super::{About, Evidence, Finding, Rule, Severity, phrase, who};
use crate::{aggregate::Aggregate, fact::Subject, identity::Pid};

/// Drops below which nothing is said: a rule that drops strays is what a firewall is for.
const FEW: u64 = 10;
/// Segments sent again while it drops: without them it hurts nobody.
const SENT_AGAIN: &str = "Tcp.RetransSegs";
/// Packets of TCP that netfilter dropped, `include/net/dropreason-core.h`.
const DROPPED: &str = "drop.NETFILTER_DROP";

pub(super) struct LocalFirewallDrop;

impl Rule for LocalFirewallDrop {
    fn name(&self) -> &'static str {
        "local-firewall-drop"
    }

    fn page(&self) -> &'static str {
        "docs/findings/local-firewall-drop.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        namespaces(aggregate)
            .into_iter()
            .filter_map(|netns| finding(aggregate, netns))
            .collect()
    }
}

/// Namespaces whose netfilter drops segments that are then sent again.
pub(super) fn namespaces(aggregate: &Aggregate) -> BTreeSet<u32> {
    super::listener::namespaces(aggregate)
        .into_iter()
        .filter(|netns| {
            let subject = Subject::Namespace(*netns);
            let grown = |name| aggregate.facts.growth(&subject, name).unwrap_or(0);
            grown(DROPPED) >= FEW && grown(SENT_AGAIN) >= FEW
        })
        .collect()
}

fn finding(aggregate: &Aggregate, netns: u32) -> Option<Finding> {
    let subject = Subject::Namespace(netns);
    let dropped = aggregate.facts.get(&subject, DROPPED)?;
    let again = aggregate.facts.growth(&subject, SENT_AGAIN)?;
    let mut processes: Vec<(u64, Pid)> = aggregate
        .processes
        .iter()
        .filter_map(|(pid, process)| {
            let flows = process.flows.iter().filter(|(key, _)| key.netns == netns);
            let segs = flows.map(|(_, flow)| flow.segs()).sum();
            (segs > 0 && *pid != Pid::default()).then_some((segs, *pid))
        })
        .collect();
    processes.sort_unstable();
    let who = processes
        .last()
        .and_then(|(_, pid)| who::who(aggregate, *pid));
    let whose = who.as_ref().map_or_else(String::new, |who| {
        format!(
            " of {}",
            phrase::and_more(&who.to_string(), processes.len())
        )
    });
    let sentence = format!(
        "This host's own firewall drops TCP: netfilter dropped {}, and {}{whose} had to be sent again.",
        phrase::count(dropped.growth(), "packet", "packets"),
        phrase::count(again, "segment", "segments"),
    );
    let about = About {
        process: who,
        processes: processes.len(),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(
        Severity::Warning,
        dropped.first.0,
        dropped.last.0,
        sentence,
        about,
    );
    finding.evidence.push(Evidence::new(
        DROPPED,
        dropped.growth(),
        "tracepoint kfree_skb, TCP only",
    ));
    finding.evidence.push(Evidence::new(
        SENT_AGAIN,
        again,
        "/proc/net/snmp, over the trace",
    ));
    finding.remedy = vec![
        "Find the rule: `nft list ruleset` with counters, or `iptables -L -v -n`, in this network namespace; `nft monitor trace` after `meta nftrace set 1` names it for a packet.".to_owned(),
        "If it is meant, have it reject instead of drop (`reject with tcp reset`): clients then fail at once instead of sending again.".to_owned(),
        "Do not look at the network or the peer: these packets never left this host, or had reached it.".to_owned(),
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use tracer_common::record::Cause;

    use super::*;
    use crate::diagnose::synthetic::{Synthetic, ends, process};

    #[test]
    fn drops_of_netfilter_explain_the_loss() {
        let (app, conn) = (
            process("app", 5),
            (1, ends("10.0.0.1:40000", "10.0.0.2:80")),
        );
        let mut trace = Synthetic::default();
        for (name, last) in [("Tcp.OutSegs", 16_000), (SENT_AGAIN, 815), (DROPPED, 814)] {
            trace.namespace(0, name, 0).namespace(9_000, name, last);
        }
        for at in 0..815 {
            trace.retransmit(at * 10, &app, conn, Cause::Fast, at as u32, 0, 204);
        }
        let finding = trace.only();
        assert_eq!(finding.name, "local-firewall-drop");
        assert_eq!(finding.value(DROPPED), "814");
        assert!(finding.advises(&["nft list ruleset"]));
    }

    #[test]
    fn a_rule_that_drops_strays_hurts_nobody() {
        let mut trace = Synthetic::default();
        trace
            .namespace(0, DROPPED, 0)
            .namespace(9_000, DROPPED, 814);
        assert!(trace.names().is_empty());
    }
}

//! `ports-exhausted`: no local port is left for another connection to the same peer.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use super::{About, Evidence, Finding, Rule, Severity, phrase, who};
use crate::{
    aggregate::{Aggregate, Flow, Process},
    event::{Errno, Role},
    fact::{Known, PORT_RANGE, Subject},
    identity::Pid,
};

/// Failures below which nothing is said.
const FEW: u64 = 3;
const RANGE: &str = PORT_RANGE;
const IN_USE: &str = "sockstat.TCP.inuse";
const IN_TIME_WAIT: &str = "sockstat.TCP.tw";

pub(super) struct PortsExhausted;

impl Rule for PortsExhausted {
    fn name(&self) -> &'static str {
        "ports-exhausted"
    }

    fn page(&self) -> &'static str {
        "docs/findings/ports-exhausted.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let mut peers: BTreeMap<(u32, IpAddr, u16), BTreeMap<Pid, &Flow>> = BTreeMap::new();
        for (pid, process) in &aggregate.processes {
            for (key, flow) in process.known_flows() {
                if key.role == Some(Role::Active) && unsent(flow) > 0 {
                    peers
                        .entry((key.netns, key.peer, key.port))
                        .or_default()
                        .insert(*pid, flow);
                }
            }
        }
        peers
            .into_iter()
            .filter_map(|((netns, ip, port), clients)| {
                finding(aggregate, netns, SocketAddr::new(ip, port), &clients)
            })
            .collect()
    }
}

/// Connects that found no port: no SYN was sent for them.
fn unsent(flow: &Flow) -> u64 {
    let failed = flow
        .failed
        .get(&Errno(libc::EADDRNOTAVAIL))
        .copied()
        .unwrap_or(0);
    failed.min(flow.failed_unsent)
}

fn finding(
    aggregate: &Aggregate,
    netns: u32,
    peer: SocketAddr,
    clients: &BTreeMap<Pid, &Flow>,
) -> Option<Finding> {
    let count: u64 = clients.values().map(|flow| unsent(flow)).sum();
    let subject = Subject::Namespace(netns);
    let facts = &aggregate.facts;
    let range = facts.ephemeral_ports(netns).map(RangeInclusive::into_inner);
    let largest = |name| {
        let Known { first, last } = facts.get(&subject, name)?;
        first
            .1
            .number()
            .max(last.1.number())
            .and_then(|it| u64::try_from(it).ok())
    };
    let (in_use, in_time_wait) = (largest(IN_USE), largest(IN_TIME_WAIT));
    // The same error is that of an address which this host does not have, as `::1` where IPv6 is off.
    let taken = in_use.unwrap_or(0) + in_time_wait.unwrap_or(0);
    let is_taken = range.is_some_and(|(low, high)| taken > u64::from(high - low));
    let has_connected = clients.values().any(|flow| flow.last_established.is_some());
    let is_possible = peer.is_ipv4() || speaks_ipv6(aggregate, netns);
    if count < FEW || !(has_connected || (is_taken && is_possible)) {
        return None;
    }
    let (worst, _) = clients.iter().max_by_key(|(_, flow)| unsent(flow))?;
    let who = who::who(aggregate, *worst)?;
    let of = range.map_or_else(String::new, |(low, high)| {
        format!(
            " of the {} of {RANGE}",
            phrase::thousands(u64::from(high - low) + 1)
        )
    });
    let sentence = format!(
        "No local port{of} is left for {peer}: {} of {} failed with EADDRNOTAVAIL before a SYN was sent.",
        phrase::count(count, "connect", "connects"),
        phrase::and_more(&who.to_string(), clients.len()),
    );
    let first = clients.values().map(|flow| flow.first).min()?;
    let failures = clients.values().flat_map(|flow| flow.failures.times());
    let last = failures.max()?;
    let about = About {
        process: Some(who),
        processes: clients.len(),
        peer: Some(peer.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Critical, first, last, sentence, about);
    let mut add = |name: &str, value: Option<String>, source: &str| {
        if let Some(value) = value {
            finding.evidence.push(Evidence::new(name, value, source));
        }
    };
    add(
        "EADDRNOTAVAIL",
        Some(count.to_string()),
        "event connect_failed, no SYN sent",
    );
    add(
        RANGE,
        facts.text(&subject, RANGE).map(str::to_owned),
        "sysctl of the namespace",
    );
    add(
        IN_USE,
        in_use.map(|it| it.to_string()),
        "/proc/net/sockstat",
    );
    add(
        IN_TIME_WAIT,
        in_time_wait.map(|it| it.to_string()),
        "/proc/net/sockstat",
    );
    let reuse = facts.number(&subject, "net.ipv4.tcp_tw_reuse");
    add(
        "net.ipv4.tcp_tw_reuse",
        reuse.map(|it| it.to_string()),
        "sysctl of the namespace",
    );
    let now = facts
        .text(&subject, RANGE)
        .map_or_else(String::new, |now| format!(" (now {now})"));
    let is_held = in_time_wait.unwrap_or(0) < in_use.unwrap_or(0);
    finding.remedy = vec![
        "Reuse connections (a pool, keep-alive) instead of one for each request: ports are counted for each peer address and port.".to_owned(),
        format!("Or widen `{RANGE}`{now} to `1024 65535`; or connect from, or to, more than one address."),
        if is_held {
            "net.ipv4.tcp_tw_reuse does not help here: the ports are held by connections that are open, not by TIME_WAIT. See whether they leak.".to_owned()
        } else {
            format!("`net.ipv4.tcp_tw_reuse=1`{} lets a connect take a port that is in TIME_WAIT for more than a second. tcp_max_tw_buckets and tcp_fin_timeout are no remedies.", reuse.map_or_else(String::new, |it| format!(" (now {it})")))
        },
    ];
    Some(finding)
}

/// Whether anything of the namespace has spoken IPv6: where it is off, all of its addresses give the error
/// of a port that can't be had.
fn speaks_ipv6(aggregate: &Aggregate, netns: u32) -> bool {
    aggregate
        .processes
        .values()
        .flat_map(Process::known_flows)
        .any(|(key, flow)| {
            (key.netns, key.peer.is_ipv6()) == (netns, true) && flow.connections() > 0
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{NETNS, Synthetic, process};

    fn failing(to: &str) -> Synthetic {
        let client = process("app", 5);
        let mut trace = Synthetic::default();
        trace.text(0, Subject::Namespace(NETNS), RANGE, "40000 40049");
        for at in 0..500 {
            trace.failed(at, &client, to, libc::EADDRNOTAVAIL, false);
        }
        trace
    }

    #[test]
    fn held_ports_are_told_from_time_wait() {
        let mut held = failing("10.0.0.2:80");
        held.namespace(0, IN_USE, 51).namespace(0, IN_TIME_WAIT, 0);
        let finding = held.only();
        assert_eq!(finding.name, "ports-exhausted");
        assert_eq!(finding.value("EADDRNOTAVAIL"), "500");
        assert!(
            finding
                .sentence
                .contains("of the 50 of net.ipv4.ip_local_port_range"),
            "{}",
            finding.sentence
        );
        assert!(finding.advises(&["ip_local_port_range` (now 40000 40049)"]));
        assert!(finding.advises(&["tcp_tw_reuse does not help here"]));
        let mut waiting = failing("10.0.0.2:80");
        waiting
            .namespace(0, IN_USE, 1)
            .namespace(0, IN_TIME_WAIT, 50)
            .namespace(0, "net.ipv4.tcp_tw_reuse", 2);
        assert!(waiting.only().advises(&["tcp_tw_reuse=1` (now 2)"]));
    }

    #[test]
    fn where_ipv6_is_off_its_addresses_are_no_lack_of_ports() {
        let mut trace = failing("[::1]:80");
        // As many sockets as there are ports: to other peers, all of them.
        trace
            .namespace(0, IN_USE, 51)
            .namespace(0, IN_TIME_WAIT, 50);
        assert!(trace.names().is_empty());
        trace.served(600, &process("app", 5), "[::1]:81");
        assert_eq!(trace.names(), ["ports-exhausted"]);
    }

    #[test]
    fn an_address_that_the_host_does_not_have_is_no_lack_of_ports() {
        let mut trace = failing("[2001:db8::1]:80");
        trace.namespace(0, IN_USE, 3).namespace(0, IN_TIME_WAIT, 0);
        assert!(trace.names().is_empty());
    }
}

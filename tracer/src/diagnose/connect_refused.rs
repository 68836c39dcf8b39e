//! `connect-refused`: nobody listens where a client connects again and again.

use std::net::SocketAddr;

use tracer_common::{hook::Hook, tcp::errno::ECONNREFUSED};

use super::{
    About, Evidence, Finding, Rule, Seen, Severity,
    back_off::{self, BackOff},
    phrase,
    refused::{self, Peer},
    who,
};
use crate::{
    aggregate::{Aggregate, Flow, Streak},
    event::Errno,
    fact::Subject,
};

pub(super) struct ConnectRefused;

impl Rule for ConnectRefused {
    fn name(&self) -> &'static str {
        "connect-refused"
    }

    fn page(&self) -> &'static str {
        "docs/findings/connect-refused.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        refused::peers(aggregate)
            .iter()
            .filter_map(|peer| finding(aggregate, peer))
            .collect()
    }
}

fn finding(aggregate: &Aggregate, peer: &Peer) -> Option<Finding> {
    let (netns, at) = (peer.netns, peer.at);
    let count = |all: &[(Streak, &Flow)]| all.iter().map(|(streak, _)| streak.count).sum::<u64>();
    let (worst, flows) = peer.clients.iter().max_by_key(|(_, all)| count(all))?;
    let who = who::who(aggregate, *worst)?;
    let gaps = flows
        .iter()
        .map(|(_, flow)| back_off::attempts(&flow.failures.gaps_ms()))
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let backoff = BackOff::of(&gaps);
    let processes = peer.clients.len();
    let resets: u64 = peer
        .clients
        .values()
        .flatten()
        .map(|(_, flow)| flow.resets_received)
        .sum();
    let is_rejected = resets == 0 && tells_resets(aggregate, peer);
    let what = format!(
        "{} of {} {} refused",
        phrase::count(peer.count, "connect", "connects"),
        phrase::and_more(&who.to_string(), processes),
        if peer.count == 1 { "was" } else { "were" },
    );
    let lasted = phrase::duration(peer.last.since(peer.first));
    let sentence = match (peer.is_over, is_rejected) {
        (true, _) => {
            format!("Nobody listened at {at} for {lasted}: {what}. It has answered since.")
        }
        (false, false) => format!("Nobody listens at {at}: {what} over {lasted}; {backoff}."),
        (false, true) => format!(
            "Connects to {at} are rejected: {what} over {lasted}, by ICMP, as no reset came; {backoff}."
        ),
    };
    let about = About {
        process: Some(who.clone()),
        processes,
        peer: Some(at.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let severity = if peer.is_over {
        Severity::Warning
    } else {
        Severity::Critical
    };
    let mut finding = Finding::new(severity, peer.first, peer.last, sentence, about);
    let longest = gaps.iter().max().copied().unwrap_or(0) * 1_000_000;
    if !peer.is_over && aggregate.now.since(peer.last) <= longest.saturating_mul(2) {
        // The next attempt is not overdue.
        finding.seen = Seen::Lasting;
    }
    let errno = Errno(ECONNREFUSED);
    finding.evidence.push(Evidence::new(
        errno.to_string(),
        peer.count,
        "event connect_failed",
    ));
    finding
        .evidence
        .push(Evidence::new("resets received", resets, "event reset"));
    if !gaps.is_empty() {
        let shown: Vec<String> = gaps
            .iter()
            .rev()
            .take(8)
            .rev()
            .map(u64::to_string)
            .collect();
        let name = format!("ms between attempts of {}[{}]", who.comm, who.pid);
        finding.evidence.push(Evidence::new(
            name,
            shown.join(", "),
            "event connect_failed",
        ));
    }
    let fails = "Tcp.AttemptFails";
    if let Some(count) = aggregate
        .facts
        .growth(&Subject::Namespace(netns), fails)
        .filter(|count| *count > 0)
    {
        finding.evidence.push(Evidence::new(
            fails,
            count,
            "/proc/net/snmp, over the trace",
        ));
    }
    finding.remedy = vec![
        first_step(at, peer, is_rejected),
        match backoff {
            BackOff::None(ms) => format!("Have {} wait longer after each failure: it tries again every {ms} ms, which loads both sides while the service is down.", who.comm),
            BackOff::Fixed(_) => "The client's wait does not grow: a back-off that doubles, with some chance in it, spares the service when it comes back.".to_owned(),
            _ => "The client's back-off is in order.".to_owned(),
        },
        "Do not raise the backlog or net.ipv4.tcp_syn_retries: a refusal is an answer, no SYN was lost.".to_owned(),
    ];
    Some(finding)
}

fn first_step(at: SocketAddr, peer: &Peer, is_rejected: bool) -> String {
    if peer.is_over {
        format!(
            "Nothing is to be started: {at} answers again. See why it was away (a crash, a restart that takes long), and whether its clients could have gone elsewhere meanwhile."
        )
    } else if is_rejected {
        format!(
            "Look for a firewall rule that rejects (`reject` of nft or iptables, which answers with ICMP port-unreachable) on the host of {at}, on the way, and on this one (`nft list ruleset`). A host where nobody listens sends a reset. Only then see whether the service listens at {at}."
        )
    } else {
        format!(
            "Start the service at {at}, or correct the address in the client: the host is up and answers with a reset, so neither the network nor a firewall that drops is the cause."
        )
    }
}

/// Whether resets that the clients received would be known, and the kernel counted none either.
fn tells_resets(aggregate: &Aggregate, peer: &Peer) -> bool {
    let is_attached = aggregate.start.as_ref().is_none_or(|start| {
        let hook = Hook::ReceiveReset.name();
        start.hooks.iter().any(|attached| attached.hook == hook)
    });
    let clients = peer.clients.keys();
    is_attached
        && clients
            .filter_map(|pid| aggregate.process(*pid))
            .all(|process| process.totals.resets_received == 0)
}

#[cfg(test)]
mod tests {
    use tracer_common::{conn::OwnerSource, record::End};

    use super::*;
    use crate::{
        diagnose::synthetic::{NETNS, Synthetic, ends, process},
        event::{Detail, Role, UsInState},
        fact::name,
    };

    #[test]
    fn forty_workers_with_one_dead_backend_are_one_finding() {
        let mut trace = Synthetic::default();
        for pid in 1..=40 {
            let worker = process("app", pid);
            for at in 0..10 {
                // The library tries twice at once.
                trace.refused(at * 500, &worker, "127.0.0.1:6379");
                trace.refused(at * 500 + 1, &worker, "[::1]:6379");
            }
        }
        let finding = trace.only();
        assert_eq!(finding.name, "connect-refused");
        assert_eq!(
            (finding.about.processes, finding.value("ECONNREFUSED")),
            (40, "800")
        );
        assert_eq!(finding.about.peer.as_deref(), Some("127.0.0.1:6379"));
        assert!(
            finding.sentence.contains("every 500 ms"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn a_client_without_back_off_is_told_so() {
        let client = process("fluent", 5);
        let mut trace = Synthetic::default();
        for at in 0..20 {
            trace.refused(at * 200, &client, "10.0.0.2:24224");
        }
        assert!(trace.only().advises(&["fluent wait longer", "200 ms"]));
    }

    #[test]
    fn a_scan_and_a_restart_are_silent() {
        let scanner = process("nmap", 5);
        let mut scan = Synthetic::default();
        // More ports than are told apart.
        for port in 1..5_000 {
            scan.refused(port * 3, &scanner, &format!("10.0.0.2:{port}"));
        }
        assert!(scan.names().is_empty());
        let client = process("app", 6);
        let mut restart = Synthetic::default();
        for at in 0..50 {
            restart.refused(at * 20, &client, "10.0.0.2:80");
        }
        for at in 60..500 {
            restart.served(at * 20, &client, "10.0.0.2:80");
        }
        assert!(restart.names().is_empty());
    }

    #[test]
    fn a_dead_backend_is_found_behind_any_number_of_clients() {
        let proxy = process("haproxy", 6);
        let mut trace = Synthetic::default();
        for client in 0..10_000_u64 {
            let remote = format!("10.1.{}.{}:40000", client / 250, client % 250);
            let detail = Detail::Connection {
                duration_us: None,
                connect_us: None,
                bytes_sent: 0,
                bytes_received: 0,
                segs_out: Some(6),
                segs_retrans: 0,
                srtt_us: None,
                end: End::ClosedLocal,
                errno: None,
                role: Some(Role::Passive),
                us_in_state: UsInState::default(),
            };
            let conn = (1_000 + client, ends("10.0.0.1:80", &remote));
            trace.event(client, &proxy, Some(conn), OwnerSource::Accept, detail);
        }
        for at in 0..10 {
            trace.refused(10_000 + at * 1_000, &proxy, "10.0.0.2:6379");
        }
        let finding = trace.only();
        assert_eq!(finding.about.peer.as_deref(), Some("10.0.0.2:6379"));
    }

    #[test]
    fn restarts_one_after_the_other_do_not_add_up() {
        let client = process("app", 6);
        let mut trace = Synthetic::default();
        for round in 0..5 {
            for at in 0..5 {
                trace.refused(round * 10_000 + at * 100, &client, "10.0.0.2:80");
            }
            trace.served(round * 10_000 + 5_000, &client, "10.0.0.2:80");
        }
        assert!(trace.names().is_empty());
    }

    #[test]
    fn a_pooled_connection_that_is_closed_meanwhile_is_no_answer() {
        let client = process("app", 6);
        let mut trace = Synthetic::default();
        for at in 0..10 {
            trace.refused(at * 500, &client, "10.0.0.2:80");
        }
        // Opened a minute before anything was refused.
        trace.pooled(5_000, &client, "10.0.0.2:80", 65_000);
        assert_eq!(trace.only().value("ECONNREFUSED"), "10");
        for at in 11..20 {
            trace.refused(at * 500, &client, "10.0.0.2:80");
        }
        assert_eq!(trace.only().value("ECONNREFUSED"), "19");
    }

    #[test]
    fn a_pause_is_over_when_it_answers_and_a_long_one_is_told_as_past() {
        for (seconds, found) in [(5, None), (40, Some(Severity::Warning))] {
            let client = process("nginx", 6);
            let mut trace = Synthetic::default();
            for at in 0..=seconds * 2 {
                trace.refused(at * 500, &client, "10.0.0.2:80");
            }
            assert_eq!(trace.only().severity, Severity::Critical);
            // The connection that it has from then on does not end: only its socket tells.
            let subject = Subject::Connection {
                netns: NETNS,
                ends: ends("10.0.0.1:41000", "10.0.0.2:80"),
            };
            trace.fact(seconds * 1_000 + 700, subject, name::ANSWERED, 1);
            let findings = trace.findings();
            assert_eq!(findings.first().map(|finding| finding.severity), found);
            if let Some(finding) = findings.first() {
                assert!(finding.sentence.contains("Nobody listened"), "{finding:#?}");
                assert!(finding.advises(&["answers again"]));
            }
            // It is down once more.
            for at in 0..20 {
                trace.refused((seconds + 10) * 1_000 + at * 500, &client, "10.0.0.2:80");
            }
            assert_eq!(trace.only().severity, Severity::Critical);
        }
    }

    #[test]
    fn a_connection_that_was_there_before_is_no_answer() {
        let client = process("app", 6);
        let mut trace = Synthetic::default();
        let subject = Subject::Connection {
            netns: NETNS,
            ends: ends("10.0.0.1:41000", "10.0.0.2:80"),
        };
        for at in 0..10 {
            trace.refused(at * 500, &client, "10.0.0.2:80");
        }
        // It is told for another reason, when it has been idle for a while.
        trace.text(6_000, subject, name::STATE, "ESTABLISHED");
        assert_eq!(trace.names(), ["connect-refused"]);
    }

    #[test]
    fn other_loopback_addresses_are_hosts_of_their_own() {
        let client = process("app", 6);
        let mut trace = Synthetic::default();
        for at in 0..10 {
            trace.refused(at * 500, &client, "127.0.0.2:80");
            trace.served(at * 500 + 100, &client, "127.0.0.1:80");
        }
        assert_eq!(trace.only().about.peer.as_deref(), Some("127.0.0.2:80"));
    }

    #[test]
    fn without_a_reset_something_has_rejected() {
        let client = process("app", 6);
        let mut trace = Synthetic::default();
        for at in 0..10 {
            trace.failed(at * 500, &client, "10.0.0.2:80", ECONNREFUSED, true);
        }
        let finding = trace.only();
        assert!(finding.sentence.contains("by ICMP"), "{}", finding.sentence);
        assert!(finding.remedy[0].contains("rejects"), "{finding:#?}");
        assert!(!finding.advises(&["answers with a reset"]));
    }

    #[test]
    fn what_has_stopped_is_told_as_the_past() {
        let client = process("app", 6);
        let mut trace = Synthetic::default();
        for at in 0..10 {
            trace.refused(at * 500, &client, "10.0.0.2:80");
        }
        trace.until(20_000);
        assert_eq!(trace.only().seen, Seen::Lately);
        trace.until(60_000);
        assert_eq!(trace.only().seen, Seen::LongAgo(55_500_000_000));
        let mut slow = Synthetic::default();
        for at in [0, 20_000, 60_000] {
            slow.refused(at, &client, "10.0.0.2:80");
        }
        slow.until(110_000);
        assert_eq!(
            slow.only().seen,
            Seen::Lasting,
            "it waits for 40 s each time"
        );
    }
}

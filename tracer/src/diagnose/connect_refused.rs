//! `connect-refused`: nobody listens where a client connects again and again.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tracer_common::tcp::errno::ECONNREFUSED;

use super::{About, Evidence, Finding, Rule, Severity, phrase, who};
use crate::{
    aggregate::{Aggregate, Flow, Process},
    event::{Errno, Role},
    fact::Subject,
    identity::Pid,
    time::Time,
};

/// Refusals of one peer below which nothing is said: a port scan asks each port once or twice.
const FEW: u64 = 3;
/// Refusals that last less, ns, are a restart.
const SHORT: u64 = 2_000_000_000;
/// Failures this close, ms, are one attempt: libraries try each address, or twice at once.
const BURST_MS: u64 = 20;
/// A client that tries again within this time, ms, does not back off.
const NO_BACKOFF_MS: u64 = 250;

pub(super) struct ConnectRefused;

/// All that is refused at one address and port.
struct Peer<'a> {
    count: u64,
    first: Time,
    last: Time,
    clients: BTreeMap<Pid, Vec<&'a Flow>>,
}

impl Rule for ConnectRefused {
    fn name(&self) -> &'static str {
        "connect-refused"
    }

    fn page(&self) -> &'static str {
        "docs/findings/connect-refused.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let mut peers: BTreeMap<(u32, IpAddr, u16), Peer> = BTreeMap::new();
        for (pid, process) in &aggregate.processes {
            for (key, flow) in process.known_flows() {
                if key.role == Some(Role::Passive) || flow.refused.count == 0 {
                    continue;
                }
                let at = (key.netns, loopback_is_one(key.peer), key.port);
                let peer = peers.entry(at).or_insert_with(|| Peer {
                    count: 0,
                    first: flow.refused.first,
                    last: flow.refused.last,
                    clients: BTreeMap::new(),
                });
                peer.count += flow.refused.count;
                peer.first = peer.first.min(flow.refused.first);
                peer.last = peer.last.max(flow.refused.last);
                peer.clients.entry(*pid).or_default().push(flow);
            }
        }
        peers
            .into_iter()
            .filter(|(at, peer)| {
                peer.count >= FEW
                    && peer.last.since(peer.first) >= SHORT
                    && !has_answered(aggregate, *at, peer)
            })
            .filter_map(|((netns, ip, port), peer)| {
                finding(aggregate, netns, SocketAddr::new(ip, port), &peer)
            })
            .collect()
    }
}

/// A client that asks for `localhost` tries `::1` and then `127.0.0.1`: one backend.
fn loopback_is_one(ip: IpAddr) -> IpAddr {
    if ip.is_loopback() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        ip
    }
}

/// Whether another client's connection to that peer was established between: the peer was there.
fn has_answered(aggregate: &Aggregate, (netns, ip, port): (u32, IpAddr, u16), peer: &Peer) -> bool {
    aggregate
        .processes
        .values()
        .flat_map(Process::known_flows)
        .filter(|(key, _)| {
            (key.netns, loopback_is_one(key.peer), key.port) == (netns, ip, port)
                && key.role == Some(Role::Active)
        })
        .filter_map(|(_, flow)| flow.last_established)
        .any(|at| peer.first < at && at < peer.last)
}

fn finding(aggregate: &Aggregate, netns: u32, at: SocketAddr, peer: &Peer) -> Option<Finding> {
    let (worst, flows) = peer
        .clients
        .iter()
        .max_by_key(|(_, flows)| flows.iter().map(|flow| flow.refused.count).sum::<u64>())?;
    let who = who::who(aggregate, *worst)?;
    let gaps = flows
        .iter()
        .map(|flow| attempts(&flow.failures.gaps_ms()))
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let backoff = BackOff::of(&gaps);
    let processes = peer.clients.len();
    let sentence = format!(
        "Nobody listens at {at}: {} of {} {} refused over {}; {backoff}.",
        phrase::count(peer.count, "connect", "connects"),
        phrase::and_more(&who.to_string(), processes),
        if peer.count == 1 { "was" } else { "were" },
        phrase::duration(peer.last.since(peer.first)),
    );
    let about = About {
        process: Some(who.clone()),
        processes,
        peer: Some(at.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Critical, peer.first, peer.last, sentence, about);
    let errno = Errno(ECONNREFUSED);
    finding.evidence.push(Evidence::new(
        errno.to_string(),
        peer.count,
        "event connect_failed",
    ));
    let resets: u64 = peer
        .clients
        .values()
        .flatten()
        .map(|flow| flow.resets_received)
        .sum();
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
        format!("Start the service at {at}, or correct the address in the client: the host is up and answers with a reset, so neither the network nor a firewall that drops is the cause."),
        match backoff {
            BackOff::None(ms) => format!("Have {} wait longer after each failure: it tries again every {ms} ms, which loads both sides while the service is down.", who.comm),
            BackOff::Fixed(_) => "The client's wait does not grow: a back-off that doubles, with some chance in it, spares the service when it comes back.".to_owned(),
            _ => "The client's back-off is in order.".to_owned(),
        },
        "Do not raise the backlog or net.ipv4.tcp_syn_retries: a refusal is an answer, no SYN was lost.".to_owned(),
    ];
    Some(finding)
}

/// The gaps between attempts, ms, from those between failures.
fn attempts(gaps_ms: &[u64]) -> Vec<u64> {
    let mut attempts = Vec::new();
    let mut since = 0;
    for gap in gaps_ms {
        since += gap;
        if since > BURST_MS {
            attempts.push(since);
            since = 0;
        }
    }
    attempts
}

/// How a client waits between attempts, from the gaps between its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BackOff {
    /// Twice as long each time; the last wait, ms.
    Doubling(u64),
    /// Always about so long, ms.
    Fixed(u64),
    /// Hardly at all, ms.
    None(u64),
    /// In no order, or too few attempts to say.
    Unclear,
}

impl BackOff {
    fn of(gaps_ms: &[u64]) -> Self {
        let mut sorted = gaps_ms.to_vec();
        sorted.sort_unstable();
        let Some(median) = sorted
            .get(sorted.len() / 2)
            .copied()
            .filter(|_| sorted.len() >= 2)
        else {
            return Self::Unclear;
        };
        let doubles = gaps_ms
            .windows(2)
            .filter(|pair| pair[0] > 0 && (15..=30).contains(&(pair[1] * 10 / pair[0])))
            .count();
        // Half of the steps, as a back-off is capped at some time, or starts anew.
        if doubles >= 2 && doubles * 2 >= gaps_ms.len() - 1 {
            return Self::Doubling(gaps_ms.last().copied().unwrap_or(median));
        }
        if median <= NO_BACKOFF_MS {
            return Self::None(median);
        }
        let near = gaps_ms
            .iter()
            .filter(|gap| gap.abs_diff(median) * 4 <= median)
            .count();
        if near * 4 >= gaps_ms.len() * 3 {
            Self::Fixed(median)
        } else {
            Self::Unclear
        }
    }
}

impl std::fmt::Display for BackOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |ms: u64| phrase::duration(ms * 1_000_000);
        match *self {
            Self::Doubling(ms) => {
                write!(f, "it waits twice as long each time, last {}", time(ms))
            }
            Self::Fixed(ms) => write!(f, "it tries again every {}", time(ms)),
            Self::None(ms) => write!(
                f,
                "it does not back off at all, and tries again every {}",
                time(ms)
            ),
            Self::Unclear => f.write_str("its attempts follow no plain back-off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{conn::OwnerSource, record::End};

    use super::*;
    use crate::{
        diagnose::synthetic::{Synthetic, ends, process},
        event::{Detail, UsInState},
    };

    #[test]
    fn the_gaps_tell_the_back_off() {
        assert_eq!(
            BackOff::of(&[402, 801, 1601, 3201]),
            BackOff::Doubling(3201)
        );
        assert_eq!(
            BackOff::of(&[500, 1000, 2000, 4000, 4000, 4001]),
            BackOff::Doubling(4001)
        );
        assert_eq!(BackOff::of(&[1000, 1001, 1002, 999]), BackOff::Fixed(1001));
        assert_eq!(BackOff::of(&[200, 201, 202, 200]), BackOff::None(201));
        assert_eq!(BackOff::of(&[900, 3000, 400, 7000]), BackOff::Unclear);
        assert_eq!(BackOff::of(&[900]), BackOff::Unclear);
    }

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
}

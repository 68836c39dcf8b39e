//! `peer-vanished`: data is sent again and again, and nothing comes back at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    About, Evidence, Finding, Rule, Seen, Severity, listener, phrase,
    stalled::{self, Stalled},
    who,
};
use crate::aggregate::Aggregate;

pub(super) struct PeerVanished;

impl Rule for PeerVanished {
    fn name(&self) -> &'static str {
        "peer-vanished"
    }

    fn page(&self) -> &'static str {
        "docs/findings/peer-vanished.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let mut peers: BTreeMap<(u32, IpAddr), Vec<Stalled>> = BTreeMap::new();
        for one in stalled::all(aggregate) {
            if one.is_silent()
                && !listener::is_full_at_the_other_end(aggregate, one.netns, &one.ends)
                && let Some(remote) = one.ends.remote
            {
                peers.entry((one.netns, remote.ip())).or_default().push(one);
            }
        }
        peers
            .into_iter()
            .filter_map(|((netns, ip), all)| finding(aggregate, netns, ip, &all))
            .collect()
    }
}

fn finding(aggregate: &Aggregate, netns: u32, ip: IpAddr, all: &[Stalled]) -> Option<Finding> {
    // The one that is furthest is shown, and of those that live before those that ended.
    let worst = all
        .iter()
        .max_by_key(|one| (one.end.is_none(), one.timeouts))?;
    let first = all.iter().map(|one| one.first).min()?;
    let last = all.iter().map(|one| one.last).max()?;
    let processes: BTreeSet<_> = all.iter().filter_map(|one| one.pid).collect();
    let who = worst.pid.and_then(|pid| who::who(aggregate, pid));
    let name = who
        .as_ref()
        .map_or_else(|| "an orphaned connection".to_owned(), ToString::to_string);
    let name = phrase::and_more(&name, processes.len());
    let peer = worst
        .ends
        .remote
        .map_or_else(|| ip.to_string(), |remote| remote.to_string());
    let by = by_what(worst);
    let lasted = phrase::duration(last.since(first));
    let sentence = if worst.end.is_some() {
        format!(
            "{peer} vanished: {name} sent the same data {} times over {lasted}, nothing came back, and the kernel gave up with ETIMEDOUT, by {by}.",
            worst.timeouts.saturating_add(1)
        )
    } else {
        format!(
            "{peer} has vanished: it has acknowledged nothing of {name} since {lasted}, after {}. The kernel will give up in {}, at {}, by {by}; until then the process waits.",
            phrase::count(worst.timeouts.into(), "timeout", "timeouts"),
            phrase::duration(worst.give_up.since(aggregate.now)),
            seconds(&worst.give_up.to_string()),
        )
    };
    let about = About {
        process: who,
        processes: processes.len(),
        peer: Some(peer),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Critical, first, last, sentence, about);
    if worst.end.is_none() {
        // The next timeout may be two minutes away.
        finding.seen = Seen::Lasting;
    }
    let source = if worst.is_found {
        "sock_diag"
    } else {
        "event retransmit"
    };
    let mut add = |name: &str, value: String, source: &str| {
        finding.evidence.push(Evidence::new(name, value, source));
    };
    add("connections", all.len().to_string(), source);
    add(
        "timeouts of the same data",
        worst.timeouts.to_string(),
        source,
    );
    add(
        "unacked",
        format!("{} {}", worst.unacked.0, worst.unacked.1),
        source,
    );
    add("rto_us", worst.rto_us.to_string(), source);
    if let Some(us) = worst.srtt_us {
        add("srtt_us", us.to_string(), source);
    }
    let sysctl = "sysctl of the namespace";
    add(
        "net.ipv4.tcp_retries2",
        worst.limits.retries.to_string(),
        sysctl,
    );
    add(
        "net.ipv4.tcp_rto_max_ms",
        worst.limits.rto_max_ms.to_string(),
        sysctl,
    );
    add(
        "TCP_USER_TIMEOUT ms",
        worst.limits.user_timeout_ms.to_string(),
        "getsockopt",
    );
    if worst.end.is_some() {
        add("gave_up_at", worst.give_up.to_string(), "event connection");
    } else {
        add(
            "gives_up_at",
            worst.give_up.to_string(),
            "computed as net/ipv4/tcp_timer.c does",
        );
    }
    let timeout = if worst.limits.user_timeout_ms > 0 {
        format!(
            "TCP_USER_TIMEOUT is {} ms: set less where that is too long.",
            worst.limits.user_timeout_ms
        )
    } else {
        "Or set TCP_USER_TIMEOUT on the socket (now 0: none), such as 30000 ms: the kernel then ends the connection when data was not acknowledged for so long.".to_owned()
    };
    finding.remedy = vec![
        "Give the application's protocol a timeout for an answer (a read or command timeout, a heartbeat): only it knows how long is too long.".to_owned(),
        timeout,
        format!("Or lower `net.ipv4.tcp_retries2` (now {}) for all connections of the namespace: 8 is about 100 s.", worst.limits.retries),
        "Keepalive is no remedy: it does not run while data is unacknowledged (TCPKeepAlive stays 0), whatever net.ipv4.tcp_keepalive_time is.".to_owned(),
        format!("See whether {ip} is up, and whether something on the way drops its packets without an answer."),
    ];
    Some(finding)
}

fn by_what(stalled: &Stalled) -> String {
    if stalled.limits.user_timeout_ms > 0 {
        format!("TCP_USER_TIMEOUT = {} ms", stalled.limits.user_timeout_ms)
    } else {
        format!("net.ipv4.tcp_retries2 = {}", stalled.limits.retries)
    }
}

/// A time of day without its fraction: `2026-11-24T21:33:34Z`.
fn seconds(time: &str) -> String {
    time.split('.')
        .next()
        .map_or_else(String::new, |time| format!("{time}Z"))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tracer_common::{
        conn::OwnerSource,
        record::{Cause, End},
    };

    use crate::{
        diagnose::synthetic::{NETNS, Synthetic, ends, process},
        event::{Detail, Direction, Ends},
        fact::{Subject, name},
        identity::Identity,
    };

    fn conn() -> (u64, Ends) {
        (1, ends("10.0.0.1:40000", "10.0.0.2:6379"))
    }

    /// A probe, then timeouts of 204 ms that double, as they were seen.
    fn vanish(trace: &mut Synthetic, who: &Rc<Identity>, conn: (u64, Ends), timeouts: usize) {
        trace.retransmit(0, who, conn, Cause::Tlp, 77, 0, 204);
        let seen = [
            (207, 204),
            (628, 408),
            (1_459, 816),
            (3_124, 1_632),
            (6_483, 3_264),
        ];
        for (backoff, (at, rto)) in (0..).zip(seen).take(timeouts) {
            trace.retransmit(at, who, conn, Cause::Rto, 77, backoff, rto);
        }
    }

    #[test]
    fn a_listener_of_the_same_host_whose_queue_is_full_has_not_vanished() {
        let client = process("client", 812);
        let here = (1, ends("127.0.0.1:40000", "127.0.0.1:6379"));
        let mut trace = Synthetic::default();
        vanish(&mut trace, &client, here, 5);
        trace.until(7_000);
        assert_eq!(trace.names(), ["peer-vanished"]);
        let listener = Subject::Listener {
            netns: NETNS,
            local: "0.0.0.0:6379".parse().unwrap(),
        };
        trace.fact(7_000, listener, name::BACKLOG_FULL, 2);
        assert!(trace.names().is_empty());
    }

    #[test]
    fn it_says_when_the_kernel_gives_up() {
        let redis = process("redis-server", 812);
        let mut trace = Synthetic::default();
        trace.namespace(0, "net.ipv4.tcp_retries2", 5);
        vanish(&mut trace, &redis, conn(), 5);
        trace.until(7_000);
        let finding = trace.only();
        assert_eq!(finding.name, "peer-vanished");
        // Seen: ETIMEDOUT 13.0 s after the first timeout.
        assert_eq!(
            finding.value("gives_up_at"),
            Synthetic::time(6_483 + 6_528).to_string()
        );
        assert_eq!(finding.value("net.ipv4.tcp_retries2"), "5");
        assert!(
            finding.remedy[0].contains("application"),
            "{:#?}",
            finding.remedy
        );
        assert!(finding.remedy[1].contains("TCP_USER_TIMEOUT"));
        assert!(finding.remedy[2].contains("tcp_retries2") && finding.remedy[2].contains("now 5"));
        assert!(finding.advises(&["Keepalive is no remedy"]));
    }

    #[test]
    fn forty_workers_of_a_peer_are_one_finding() {
        let mut trace = Synthetic::default();
        for pid in 1..=40_u32 {
            let local = format!("10.0.0.1:{}", 40_000 + pid);
            vanish(
                &mut trace,
                &process("app", pid),
                (pid.into(), ends(&local, "10.0.0.2:6379")),
                4,
            );
        }
        let finding = trace.only();
        assert_eq!(
            (finding.about.processes, finding.value("connections")),
            (40, "40")
        );
    }

    #[test]
    fn what_has_ended_is_told_as_the_past() {
        let redis = process("redis-server", 812);
        let mut trace = Synthetic::default();
        vanish(&mut trace, &redis, conn(), 5);
        trace
            .ended(13_000, &redis, conn(), End::TimedOut, Some(110), None)
            .until(60_000);
        let finding = trace.only();
        assert!(
            finding.sentence.contains("gave up with ETIMEDOUT"),
            "{}",
            finding.sentence
        );
        assert_eq!(
            finding.value("gave_up_at"),
            Synthetic::time(13_000).to_string()
        );
    }

    #[test]
    fn its_look_alikes_are_not_it() {
        let redis = process("redis-server", 812);
        let mut answered = Synthetic::default();
        vanish(&mut answered, &redis, conn(), 5);
        answered.reset(9_000, &redis, conn(), Direction::Received);
        answered.ended(9_000, &redis, conn(), End::ResetRemote, Some(104), None);
        assert!(!answered.names().contains(&"peer-vanished"));

        let mut recovered = Synthetic::default();
        vanish(&mut recovered, &redis, conn(), 5);
        recovered.until(60_000);
        assert!(
            recovered.names().is_empty(),
            "the next timeout is long overdue"
        );

        let mut lossy = Synthetic::default();
        vanish(&mut lossy, &redis, conn(), 2);
        assert!(lossy.names().is_empty(), "two timeouts");

        let mut unplugged = Synthetic::default();
        vanish(&mut unplugged, &redis, conn(), 5);
        let subject = Subject::Connection {
            netns: NETNS,
            ends: conn().1,
        };
        unplugged.fact(6_500, subject, name::NEIGHBOUR, 0);
        assert!(
            unplugged.names().is_empty(),
            "the neighbour does not answer"
        );

        let mut filtered = Synthetic::default();
        vanish(&mut filtered, &redis, conn(), 4);
        let detail = Detail::Retransmit {
            cause: Cause::Rto,
            segs: 1,
            seq: 77,
            backoff: 4,
            rto_us: Some(3_264_000),
            srtt_us: None,
            unacked_bytes: 34,
            notsent_bytes: 0,
            err: -libc::EPERM,
        };
        filtered.event(6_483, &redis, Some(conn()), OwnerSource::Connect, detail);
        assert!(
            !filtered.names().contains(&"peer-vanished"),
            "it never left"
        );
    }

    #[test]
    fn a_user_timeout_decides_before_the_retries() {
        let talker = process("python3", 5);
        let subject = Subject::Connection {
            netns: NETNS,
            ends: conn().1,
        };
        let mut trace = Synthetic::default();
        vanish(&mut trace, &talker, conn(), 4);
        trace
            .fact(3_200, subject, name::USER_TIMEOUT_MS, 8_000)
            .fact(3_200, subject, name::RETRANSMITS, 4);
        let finding = trace.only();
        assert_eq!(
            finding.value("gives_up_at"),
            Synthetic::time(207 + 8_000).to_string()
        );
        assert!(
            finding.sentence.contains("by TCP_USER_TIMEOUT = 8000 ms"),
            "{}",
            finding.sentence
        );
    }
}

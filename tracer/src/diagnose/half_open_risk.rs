//! `half-open-risk`: connections that would outlive their peer and never notice.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    About, Evidence, Finding, Rule, Seen, Severity, phrase,
    who::{self, Who},
};
use crate::{
    aggregate::Aggregate,
    fact::{Subject, name},
};

/// The sysctl. With keepalive a connection that is idle for so long would be asked: one that is idle for
/// longer, and is not asked, is what this is about.
const KEEPALIVE_TIME: &str = "net.ipv4.tcp_keepalive_time";

pub(super) struct HalfOpenRisk;

impl Rule for HalfOpenRisk {
    fn name(&self) -> &'static str {
        "half-open-risk"
    }

    fn page(&self) -> &'static str {
        "docs/findings/half-open-risk.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        // Forty workers of one program that wait for one peer are one.
        let mut groups: BTreeMap<(u32, String, IpAddr), Vec<(Subject, Who)>> = BTreeMap::new();
        for subject in aggregate.facts.subjects() {
            if let Subject::Connection { netns, ends } = *subject
                && let Some(remote) = ends.remote
                && remote.ip() != ends.local.ip()
                && is_unguarded(aggregate, netns, subject)
                && let Some(pid) = who::holder(aggregate, subject)
                && let Some(who) = who::who(aggregate, pid)
            {
                let group = groups.entry((netns, who.comm.clone(), remote.ip()));
                group.or_default().push((*subject, who));
            }
        }
        groups
            .into_iter()
            .filter_map(|((netns, ..), all)| finding(aggregate, netns, &all))
            .collect()
    }
}

fn idle_ms(aggregate: &Aggregate, subject: &Subject) -> Option<i64> {
    let number = |name| aggregate.facts.number(subject, name);
    Some(number(name::LAST_DATA_SENT_MS)?.min(number(name::LAST_DATA_RECV_MS)?))
}

fn is_unguarded(aggregate: &Aggregate, netns: u32, subject: &Subject) -> bool {
    let facts = &aggregate.facts;
    let idle = idle_ms(aggregate, subject).unwrap_or(0);
    let enough = facts.number(&Subject::Namespace(netns), KEEPALIVE_TIME);
    facts.text(subject, name::STATE) == Some("ESTABLISHED")
        && facts.text(subject, name::TIMER) == Some("none")
        && facts.number(subject, name::UNACKED) == Some(0)
        && facts.number(subject, name::SEND_QUEUE) == Some(0)
        && enough.is_some_and(|seconds| idle >= seconds.saturating_mul(1_000))
}

fn finding(aggregate: &Aggregate, netns: u32, all: &[(Subject, Who)]) -> Option<Finding> {
    let facts = &aggregate.facts;
    let (longest, who) = all
        .iter()
        .max_by_key(|(subject, _)| idle_ms(aggregate, subject))?;
    let processes = who::count(all.iter().map(|(_, who)| who));
    let Subject::Connection { ends, .. } = *longest else {
        return None;
    };
    let read = facts.get(longest, name::TIMER)?;
    let idle = idle_ms(aggregate, longest)?.unsigned_abs();
    let peer = ends.remote?;
    let sentence = format!(
        "{} {} {} idle for up to {} without keepalive, such as {} to {peer}: should the peer vanish, nothing will ever tell, unless the application has a timeout of its own.",
        phrase::and_more(&who.to_string(), processes),
        if processes == 1 { "has" } else { "have" },
        phrase::count(
            all.len() as u64,
            "connection that is",
            "connections that are"
        ),
        phrase::duration(idle.saturating_mul(1_000_000)),
        ends.local,
    );
    let about = About {
        process: Some(who.clone()),
        processes,
        peer: Some(peer.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Notice, read.first.0, read.last.0, sentence, about);
    finding.seen = Seen::Lasting;
    let mut add = |name: &str, value: String, source: &str| {
        finding.evidence.push(Evidence::new(name, value, source));
    };
    add("connections", all.len().to_string(), "sock_diag");
    add(name::TIMER, "none".to_owned(), "sock_diag");
    for name in [name::LAST_DATA_SENT_MS, name::LAST_DATA_RECV_MS] {
        if let Some(value) = facts.number(longest, name) {
            add(name, value.to_string(), "sock_diag");
        }
    }
    let seconds = facts.number(&Subject::Namespace(netns), KEEPALIVE_TIME)?;
    add(
        KEEPALIVE_TIME,
        seconds.to_string(),
        "sysctl of the namespace",
    );
    finding.remedy = vec![
        "Set SO_KEEPALIVE on the socket (most programs have an option for it), with TCP_KEEPIDLE of a minute or so, or give the protocol a heartbeat.".to_owned(),
        format!("`{KEEPALIVE_TIME}` (now {seconds}) is only the default for sockets that have SO_KEEPALIVE: lowering it does nothing for these."),
        "TCP_USER_TIMEOUT does not help either: it counts data that is not acknowledged, and an idle connection has none.".to_owned(),
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{NETNS, Synthetic, ends, process};

    fn idle(ms: i64, timer: &str, remote: &str) -> Synthetic {
        let mut trace = Synthetic::default();
        waits(&mut trace, 5, ms, timer, remote);
        trace
    }

    fn waits(trace: &mut Synthetic, pid: u32, ms: i64, timer: &str, remote: &str) {
        let app = process("app", pid);
        let subject = Subject::Connection {
            netns: NETNS,
            ends: ends(&format!("10.0.0.1:{}", 40_000 + pid), remote),
        };
        trace
            .limits(&app, 1024, 4096, None)
            .namespace(0, KEEPALIVE_TIME, 7_200);
        trace
            .text(0, subject, name::STATE, "ESTABLISHED")
            .text(0, subject, name::TIMER, timer);
        for (name, value) in [
            (name::UNACKED, 0),
            (name::SEND_QUEUE, 0),
            (name::LAST_DATA_SENT_MS, ms),
            (name::LAST_DATA_RECV_MS, ms + 5),
            (name::CONNECTION_PID, pid.into()),
            (name::CONNECTION_PID_START, app.start.0 as i64),
        ] {
            trace.fact(0, subject, name, value);
        }
    }

    #[test]
    fn forty_workers_that_wait_for_one_peer_are_one_finding() {
        let mut trace = Synthetic::default();
        for pid in 1..=40 {
            waits(&mut trace, pid, 7_200_000, "none", "10.0.0.2:5432");
        }
        let finding = trace.only();
        assert_eq!(
            (finding.about.processes, finding.value("connections")),
            (40, "40")
        );
        assert!(
            finding.sentence.contains("and 39 more processes have"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn long_idle_without_keepalive_is_a_risk() {
        let finding = idle(7_200_000, "none", "10.0.0.2:5432").only();
        assert_eq!(
            (finding.name, finding.severity),
            ("half-open-risk", Severity::Notice)
        );
        assert!(finding.advises(&["SO_KEEPALIVE", "TCP_KEEPIDLE"]));
        assert!(finding.advises(&["tcp_keepalive_time` (now 7200)", "does nothing for these"]));
    }

    #[test]
    fn keepalive_a_short_pause_or_the_same_host_is_none() {
        assert!(
            idle(7_200_000, "keepalive", "10.0.0.2:5432")
                .names()
                .is_empty()
        );
        assert!(idle(7_199_000, "none", "10.0.0.2:5432").names().is_empty());
        assert!(idle(7_200_000, "none", "10.0.0.1:5432").names().is_empty());
    }
}

//! `syn-queue-overflow`: more half-open requests than a listener may have.

use super::{About, Evidence, Finding, Rule, Severity, listener, phrase, who};
use crate::{
    aggregate::Aggregate,
    fact::{Subject, name},
};

/// SYNs that were dropped or answered with a cookie below which nothing is said: a burst of clients that
/// came at once.
const FEW: u64 = 10;

const COOKIES: &str = "TcpExt.SyncookiesSent";
const DROPPED: &str = "TcpExt.TCPReqQFullDrop";
const LISTEN_DROPS: &str = "TcpExt.ListenDrops";
const LISTEN_OVERFLOWS: &str = "TcpExt.ListenOverflows";
const MAX_SYN_BACKLOG: &str = "net.ipv4.tcp_max_syn_backlog";
const SYNCOOKIES: &str = "net.ipv4.tcp_syncookies";

pub(super) struct SynQueueOverflow;

impl Rule for SynQueueOverflow {
    fn name(&self) -> &'static str {
        "syn-queue-overflow"
    }

    fn page(&self) -> &'static str {
        "docs/findings/syn-queue-overflow.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        listener::namespaces(aggregate)
            .into_iter()
            .filter_map(|netns| finding(aggregate, netns))
            .collect()
    }
}

fn finding(aggregate: &Aggregate, netns: u32) -> Option<Finding> {
    let subject = Subject::Namespace(netns);
    let facts = &aggregate.facts;
    let grown = |name| facts.growth(&subject, name).unwrap_or(0);
    let (cookies, dropped) = (grown(COOKIES), grown(DROPPED));
    let sysctl = |name: &str| facts.number(&subject, name);
    let max = sysctl(MAX_SYN_BACKLOG);
    // The listener with most half-open requests when some were turned away.
    let listeners = listener::of_namespace(aggregate, netns);
    let worst = listeners
        .iter()
        .filter_map(|listener| {
            Some((
                listener.number(name::SYN_RECV).filter(|it| *it > 0)?,
                listener,
            ))
        })
        .max_by_key(|(count, _)| *count);
    let half_open = worst.map_or(0, |(count, _)| count);
    // Without cookies the last quarter of tcp_max_syn_backlog is kept for peers that are known, and what is
    // dropped for that has no counter of its own: `net/ipv4/tcp_input.c: tcp_conn_request`.
    let is_near = max
        .and_then(|max| u64::try_from(max).ok())
        .is_some_and(|max| half_open >= (max - max / 4).saturating_sub(1));
    let unnamed = if sysctl(SYNCOOKIES) == Some(0) && is_near {
        grown(LISTEN_DROPS)
            .saturating_sub(grown(LISTEN_OVERFLOWS))
            .saturating_sub(dropped)
    } else {
        0
    };
    let turned_away = dropped.saturating_add(unnamed);
    if cookies.saturating_add(turned_away) < FEW {
        return None;
    }
    // Where connections wait to be accepted, requests behind them wait, too: that has a name of its own.
    let is_behind = grown(LISTEN_OVERFLOWS) > 0
        && match worst {
            Some((_, listener)) => listener.full().is_some(),
            None => listeners.iter().any(|listener| listener.full().is_some()),
        };
    if is_behind {
        return None;
    }
    let counter = [COOKIES, DROPPED, LISTEN_DROPS]
        .into_iter()
        .filter(|name| grown(name) > 0)
        .find_map(|name| facts.get(&subject, name))?;
    let who = worst
        .and_then(|(_, listener)| listener.holder())
        .and_then(|pid| who::who(aggregate, pid));
    let at = worst.map_or_else(
        || "a listener".to_owned(),
        |(_, listener)| listener.local.to_string(),
    );
    let whose = who
        .as_ref()
        .map_or_else(String::new, |who| format!(" of {who}"));
    let fate = if turned_away > 0 {
        format!(
            "{} dropped, and their clients wait a second or more",
            phrase::count(turned_away, "SYN was", "SYNs were")
        )
    } else {
        format!(
            "{} answered with a SYN cookie, so nobody is turned away",
            phrase::count(cookies, "SYN was", "SYNs were")
        )
    };
    let sentence = format!("{at}{whose} gets more half-open connections than it may have: {fate}.");
    let about = About {
        processes: usize::from(who.is_some()),
        process: who,
        listener: worst.map(|(_, listener)| listener.local),
        netns: Some(netns),
        ..About::default()
    };
    let severity = if turned_away > 0 {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let mut finding = Finding::new(severity, counter.first.0, counter.last.0, sentence, about);
    let mut add = |name: &str, value: Option<u64>, source: &str| {
        if let Some(value) = value {
            finding.evidence.push(Evidence::new(name, value, source));
        }
    };
    let over = "/proc/net/netstat, over the trace";
    add(COOKIES, Some(cookies), over);
    add(DROPPED, Some(dropped), over);
    add(LISTEN_DROPS, Some(grown(LISTEN_DROPS)), over);
    add(LISTEN_OVERFLOWS, Some(grown(LISTEN_OVERFLOWS)), over);
    if let Some((count, listener)) = worst {
        add(name::SYN_RECV, Some(count), "sock_diag");
        add(
            name::BACKLOG_MAX,
            listener.number(name::BACKLOG_MAX),
            "sock_diag (Send-Q)",
        );
    }
    let number = |name| sysctl(name).and_then(|it| u64::try_from(it).ok());
    add(
        MAX_SYN_BACKLOG,
        number(MAX_SYN_BACKLOG),
        "sysctl of the namespace",
    );
    add(SYNCOOKIES, number(SYNCOOKIES), "sysctl of the namespace");
    add(
        name::SOMAXCONN,
        number(name::SOMAXCONN),
        "sysctl of the namespace",
    );
    let now = |name| sysctl(name).map_or_else(String::new, |now| format!(" (now {now})"));
    if sysctl(SYNCOOKIES) == Some(0) {
        finding.remedy.push(format!(
            "Set `{SYNCOOKIES}` to 1 (now 0): a full queue then turns nobody away."
        ));
    }
    finding.remedy.push(format!(
        "If the clients are real: raise the listener's backlog, `net.core.somaxconn`{} and `{MAX_SYN_BACKLOG}`{} together: the queue of requests is as long as the backlog, and without cookies no longer than three quarters of the latter.",
        now(name::SOMAXCONN), now(MAX_SYN_BACKLOG)
    ));
    finding.remedy.push("If they are not (a SYN flood: many addresses, no third part of the handshake): leave the queue as it is, and filter before this host. Do not set tcp_syncookies to 2: that is for tests.".to_owned());
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{NETNS, Synthetic};

    fn grown(name: &'static str, by: i64, cookies: i64) -> Synthetic {
        let mut trace = Synthetic::default();
        trace
            .namespace(0, SYNCOOKIES, cookies)
            .namespace(0, MAX_SYN_BACKLOG, 64);
        trace
            .namespace(0, name, 1_000)
            .namespace(900, name, 1_000 + by);
        trace
    }

    #[test]
    fn cookies_save_the_clients() {
        let finding = grown(COOKIES, 206, 1).only();
        assert_eq!(finding.name, "syn-queue-overflow");
        assert!(
            finding
                .sentence
                .contains("206 SYNs were answered with a SYN cookie"),
            "{}",
            finding.sentence
        );
        assert!(finding.advises(&["tcp_max_syn_backlog` (now 64)"]));
        assert!(!finding.advises(&["Set `net.ipv4.tcp_syncookies` to 1"]));
    }

    #[test]
    fn without_cookies_they_are_dropped() {
        let finding = grown(DROPPED, 206, 0).only();
        assert!(
            finding.sentence.contains("206 SYNs were dropped"),
            "{}",
            finding.sentence
        );
        assert!(finding.remedy[0].contains("`net.ipv4.tcp_syncookies` to 1 (now 0)"));
    }

    #[test]
    fn a_quarter_is_kept_for_known_peers_and_has_no_counter() {
        let mut trace = grown(LISTEN_DROPS, 502, 0);
        assert!(
            trace.names().is_empty(),
            "listeners drop for other reasons, too"
        );
        let listener = Subject::Listener {
            netns: NETNS,
            local: "0.0.0.0:80".parse().unwrap(),
        };
        trace.fact(900, listener, name::SYN_RECV, 48);
        let finding = trace.only();
        assert!(
            finding.sentence.contains("502 SYNs were dropped"),
            "{}",
            finding.sentence
        );
        assert_eq!(finding.about.listener, Some("0.0.0.0:80".parse().unwrap()));
    }

    #[test]
    fn requests_wait_behind_a_full_accept_queue() {
        let mut trace = grown(COOKIES, 15, 1);
        trace
            .namespace(0, LISTEN_OVERFLOWS, 0)
            .namespace(900, LISTEN_OVERFLOWS, 118);
        let listener = Subject::Listener {
            netns: NETNS,
            local: "0.0.0.0:80".parse().unwrap(),
        };
        trace
            .fact(900, listener, name::BACKLOG_MAX, 1)
            .fact(900, listener, name::BACKLOG_FULL, 2);
        assert_eq!(trace.names(), ["accept-queue-overflow"]);
    }

    #[test]
    fn a_few_cookies_are_a_burst() {
        assert!(grown(COOKIES, 9, 1).names().is_empty());
    }
}

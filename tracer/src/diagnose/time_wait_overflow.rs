//! `time-wait-overflow`: the time-wait table is full, and sockets skip it. No connection fails for it.

use std::collections::BTreeMap;

use super::{About, Evidence, Finding, Rule, Seen, Severity, phrase, who};
use crate::{aggregate::Aggregate, fact::Subject, identity::Pid, time::Time};

/// `net.ipv4.tcp_max_tw_buckets`
const MAX: &str = "net.ipv4.tcp_max_tw_buckets";
/// The counter.
const OVERFLOW: &str = "TcpExt.TCPTimeWaitOverflow";
/// Sockets in the table.
const IN_TABLE: &str = "sockstat.TCP.tw";
/// The kernel's default on a machine with memory enough, `net/ipv4/tcp_ipv4.c: tcp_set_hashinfo`.
const DEFAULT_MAX: i64 = 262_144;

pub(super) struct TimeWaitOverflow;

#[derive(Default)]
struct InNamespace {
    count: u64,
    worst: Option<(u64, Pid)>,
    processes: usize,
    first: Option<Time>,
    last: Option<Time>,
    tw_count: Option<i64>,
    tw_max: Option<i64>,
}

impl Rule for TimeWaitOverflow {
    fn name(&self) -> &'static str {
        "time-wait-overflow"
    }

    fn page(&self) -> &'static str {
        "docs/findings/time-wait-overflow.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let mut namespaces: BTreeMap<u32, InNamespace> = BTreeMap::new();
        for (pid, process) in &aggregate.processes {
            for (netns, overflow) in &process.overflows {
                let sum = namespaces.entry(*netns).or_default();
                sum.count += overflow.count;
                sum.first = Some(
                    sum.first
                        .map_or(overflow.first, |first| first.min(overflow.first)),
                );
                sum.last = sum.last.max(Some(overflow.last));
                sum.tw_count = overflow.tw_count.map(i64::from).or(sum.tw_count);
                sum.tw_max = overflow.tw_max.map(i64::from).or(sum.tw_max);
                if *pid != Pid::default() {
                    sum.processes += 1;
                    sum.worst = sum.worst.max(Some((overflow.count, *pid)));
                }
            }
        }
        for subject in aggregate.facts.subjects() {
            if let Subject::Namespace(netns) = subject
                && is_full(aggregate, subject)
            {
                namespaces.entry(*netns).or_default();
            }
        }
        namespaces
            .into_iter()
            .filter_map(|(netns, sum)| finding(aggregate, netns, &sum))
            .collect()
    }
}

/// The table stands full and has overflowed before.
fn is_full(aggregate: &Aggregate, subject: &Subject) -> bool {
    let number = |name| aggregate.facts.number(subject, name);
    match (number(IN_TABLE), number(MAX), number(OVERFLOW)) {
        (Some(now), Some(max), Some(overflow)) => now >= max && overflow > 0,
        _ => false,
    }
}

fn finding(aggregate: &Aggregate, netns: u32, sum: &InNamespace) -> Option<Finding> {
    let subject = Subject::Namespace(netns);
    let fact = |name| aggregate.facts.number(&subject, name);
    let max = sum.tw_max.or_else(|| fact(MAX));
    let in_table = sum.tw_count.or_else(|| fact(IN_TABLE));
    let counter = aggregate.facts.get(&subject, OVERFLOW);
    let (first, last) = match (sum.first, sum.last) {
        (Some(first), Some(last)) => (first, last),
        _ => (counter?.first.0, counter?.last.0),
    };
    let who = sum.worst.and_then(|(_, pid)| who::who(aggregate, pid));
    let whose = who.as_ref().map_or_else(String::new, |who| {
        format!(" of {}", phrase::and_more(&who.to_string(), sum.processes))
    });
    let limit = max.map_or_else(String::new, |max| format!(" ({MAX} = {max})"));
    let what = if sum.count > 0 {
        let sockets = phrase::count(sum.count, "socket", "sockets");
        format!(
            "{sockets}{whose} found the time-wait table full{limit} and {} closed at once",
            if sum.count == 1 { "was" } else { "were" }
        )
    } else {
        format!("The time-wait table is full{limit}, and sockets are closed without it")
    };
    let sentence =
        format!("{what}. Nothing fails for that: errors that clients see have another cause.");
    let about = About {
        process: who,
        processes: sum.processes,
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Notice, first, last, sentence, about);
    if sum.count == 0 {
        finding.seen = Seen::Lasting;
    }
    let mut add = |name: &str, value: Option<i64>, source: &str| {
        if let Some(value) = value {
            finding.evidence.push(Evidence::new(name, value, source));
        }
    };
    if sum.count > 0 {
        add(
            "time_wait_overflow",
            sum.count.try_into().ok(),
            "event time_wait_overflow",
        );
    }
    add(
        OVERFLOW,
        fact(OVERFLOW),
        "/proc/net/netstat, since the namespace was made",
    );
    add(IN_TABLE, in_table, "/proc/net/sockstat");
    add(MAX, max, "sysctl of the namespace");
    let now = max.map_or_else(String::new, |max| format!(" (now {max})"));
    let enough = max.map_or(DEFAULT_MAX, |max| max.saturating_mul(2).max(DEFAULT_MAX));
    finding.remedy = vec![
        "Reuse connections (a pool, keep-alive): it is the side that closes first that pays for each with a minute in the table.".to_owned(),
        format!("Or raise `{MAX}` to {enough}{now}, in this network namespace; a socket in TIME_WAIT takes some 250 bytes of kernel memory."),
        "Do not look here for failed requests or missing descriptors: a socket in TIME_WAIT holds no descriptor. Do not look for net.ipv4.tcp_tw_recycle: it is gone from Linux since 4.12.".to_owned(),
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::{IN_TABLE, MAX, OVERFLOW};
    use crate::diagnose::{
        Severity,
        synthetic::{Synthetic, process},
    };

    #[test]
    fn it_is_a_notice_and_blames_nothing_on_the_table() {
        let mut trace = Synthetic::default();
        trace
            .namespace(0, MAX, 100)
            .namespace(0, OVERFLOW, 5)
            .namespace(900, OVERFLOW, 906);
        trace.overflow(10, &process("python3", 7), 901);
        let finding = trace.only();
        assert_eq!(
            (finding.name, finding.severity),
            ("time-wait-overflow", Severity::Notice)
        );
        assert_eq!(finding.value("time_wait_overflow"), "901");
        assert_eq!(finding.value(MAX), "100");
        assert!(
            finding.sentence.contains("901 sockets of python3[7]"),
            "{}",
            finding.sentence
        );
        assert!(finding.advises(&["net.ipv4.tcp_max_tw_buckets", "262144", "now 100"]));
        assert!(finding.advises(&["holds no descriptor", "tcp_tw_recycle"]));
    }

    #[test]
    fn a_dead_backend_is_a_finding_of_its_own() {
        let haproxy = process("haproxy", 9);
        let mut trace = Synthetic::default();
        trace.overflow(10, &haproxy, 116);
        for at in 0..60 {
            trace.refused(at * 50, &haproxy, "127.0.0.1:6379");
        }
        assert_eq!(trace.names(), ["connect-refused", "time-wait-overflow"]);
    }

    #[test]
    fn a_table_found_full_counts_if_it_has_overflowed() {
        let mut trace = Synthetic::default();
        trace
            .namespace(0, MAX, 100)
            .namespace(0, IN_TABLE, 100)
            .namespace(0, OVERFLOW, 0);
        assert!(trace.names().is_empty());
        trace.namespace(10, OVERFLOW, 3);
        assert_eq!(trace.names(), ["time-wait-overflow"]);
    }
}

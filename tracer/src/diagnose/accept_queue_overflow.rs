//! `accept-queue-overflow`: a process does not accept, and its listener's queue is full.

use super::{
    About, Evidence, Finding, Rule, Severity, exhausted,
    listener::{self, Listener},
    phrase, who,
};
use crate::{
    aggregate::Aggregate,
    fact::{Subject, name},
    identity::Pid,
};

/// Counter of connections that found an accept queue full.
const OVERFLOWS: &str = "TcpExt.ListenOverflows";
/// As above, and all others that a listener dropped.
const DROPS: &str = "TcpExt.ListenDrops";
/// Counter of handshakes that the server ended with a reset, `net/ipv4/tcp_minisocks.c: tcp_check_req`.
const RESETS: &str = "TcpExt.EmbryonicRsts";
/// Whether a handshake that finds the queue full is ended so; else its last part is dropped and sent again.
const ABORT: &str = "net.ipv4.tcp_abort_on_overflow";

pub(super) struct AcceptQueueOverflow;

impl Rule for AcceptQueueOverflow {
    fn name(&self) -> &'static str {
        "accept-queue-overflow"
    }

    fn page(&self) -> &'static str {
        "docs/findings/accept-queue-overflow.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let without_descriptors: Vec<Pid> = exhausted::failing(aggregate);
        let mut findings = Vec::new();
        for netns in listener::namespaces(aggregate) {
            for listener in listener::of_namespace(aggregate, netns) {
                // Who can't accept for want of a descriptor has that finding.
                let is_excused = listener.holder().is_some_and(|holder| {
                    without_descriptors
                        .iter()
                        .any(|pid| is_of(aggregate, *pid, holder))
                });
                if !is_excused {
                    findings.extend(finding(aggregate, netns, &listener));
                }
            }
        }
        findings
    }
}

/// Whether a process is the one that holds a listener, or one of its workers: a server that forks shares it.
fn is_of(aggregate: &Aggregate, pid: Pid, holder: Pid) -> bool {
    let name = |pid| who::who(aggregate, pid).map(|who| who.comm);
    pid == holder
        || who::ancestors(aggregate, pid).contains(&holder)
        || name(pid).is_some_and(|own| name(holder) == Some(own))
}

fn finding(aggregate: &Aggregate, netns: u32, listener: &Listener) -> Option<Finding> {
    let full = listener.full()?;
    let subject = Subject::Namespace(netns);
    let facts = &aggregate.facts;
    let overflows = facts.growth(&subject, OVERFLOWS).unwrap_or(0);
    let ever = facts.number(&subject, OVERFLOWS).unwrap_or(0);
    // A queue may be full for a moment and hurt nobody.
    if ever == 0 {
        return None;
    }
    let max = listener.number(name::BACKLOG_MAX)?;
    let who = listener.holder().and_then(|pid| who::who(aggregate, pid));
    let name = who
        .as_ref()
        .map_or_else(|| "its process".to_owned(), ToString::to_string);
    let local = listener.local;
    let turned = if overflows > 0 {
        format!(
            "{} turned away in this namespace meanwhile",
            phrase::count(overflows, "packet was", "packets were")
        )
    } else {
        format!(
            "{} turned away in this namespace before",
            phrase::count(ever.unsigned_abs(), "packet was", "packets were")
        )
    };
    // A queue that stays as it is, and full, is told once; the counter goes on.
    let turned_away = facts
        .get(&subject, OVERFLOWS)
        .filter(|known| known.growth() > 0)
        .map_or(full.last.0, |known| known.last.0);
    let abort = facts.number(&subject, ABORT);
    let is_abort = abort == Some(1);
    let resets = facts.growth(&subject, RESETS).unwrap_or(0);
    let mut sentence = format!(
        "The accept queue of {local} is full ({} wait, {max} may): {name} does not accept, or too slowly; {turned}.",
        full.last.1
    );
    if is_abort {
        sentence += &format!(
            " {ABORT} is 1: clients whose handshake finds it full get ECONNRESET instead of waiting; {}.",
            phrase::count(resets, "was reset meanwhile", "were reset meanwhile")
        );
    }
    let about = About {
        process: who.clone(),
        processes: usize::from(who.is_some()),
        listener: Some(local),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(
        Severity::Critical,
        full.first.0,
        full.last.0.max(turned_away),
        sentence,
        about,
    );
    let sysctl = |name: &str| facts.number(&subject, name);
    let mut add = |name: &str, value: Option<String>, source: &str| {
        if let Some(value) = value {
            finding.evidence.push(Evidence::new(name, value, source));
        }
    };
    let text = |value: Option<i64>| value.map(|value| value.to_string());
    add(
        name::BACKLOG,
        Some(full.last.1.to_string()),
        "sock_diag (Recv-Q)",
    );
    add(
        name::BACKLOG_MAX,
        Some(max.to_string()),
        "sock_diag (Send-Q)",
    );
    add(
        OVERFLOWS,
        Some(overflows.to_string()),
        "/proc/net/netstat, over the trace",
    );
    add(
        DROPS,
        facts.growth(&subject, DROPS).map(|it| it.to_string()),
        "/proc/net/netstat, over the trace",
    );
    let somaxconn = sysctl(name::SOMAXCONN);
    add(name::SOMAXCONN, text(somaxconn), "sysctl of the namespace");
    add(ABORT, text(abort), "sysctl of the namespace");
    if is_abort {
        let source = "/proc/net/netstat, over the trace";
        add(RESETS, Some(resets.to_string()), source);
    }
    let is_clamped =
        somaxconn.is_some_and(|most| u64::try_from(most).is_ok_and(|most| max >= most));
    let now = somaxconn.map_or_else(String::new, |most| format!(" (now {most})"));
    finding.remedy = vec![
        format!(
            "See what {name} does instead of accepting (a long command, a lock, too few workers): a longer queue only makes clients wait longer."
        ),
        if is_clamped {
            format!(
                "For bursts: net.core.somaxconn{now} clamps its backlog: raise it, in this network namespace, and restart the process, as a backlog is clamped when listen() is called; see that it asks for more, too."
            )
        } else {
            format!(
                "For bursts: it asks listen() for a backlog of {max}, less than net.core.somaxconn{now}: raise it in its own configuration (nginx `listen ... backlog=`, redis `tcp-backlog`), and restart it: it must call listen() anew. somaxconn is not in the way."
            )
        },
        if is_abort {
            format!(
                "Set {ABORT} (now 1) to 0 in this network namespace, unless clients are meant to go elsewhere at once: then the last part of the handshake is sent again, and they succeed when the queue has room."
            )
        } else {
            "Do not set net.ipv4.tcp_abort_on_overflow (now 0): clients whose SYN is sent again succeed when the queue has room. Do not look at net.ipv4.tcp_max_syn_backlog: that is another queue.".to_owned()
        },
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{NETNS, Synthetic, process};

    fn full(trace: &mut Synthetic, most: i64, overflows: i64) -> Subject {
        let redis = process("redis-server", 7);
        let subject = Subject::Listener {
            netns: NETNS,
            local: "0.0.0.0:6379".parse().unwrap(),
        };
        trace.limits(&redis, 1024, 4096, None);
        trace
            .namespace(0, OVERFLOWS, 0)
            .namespace(900, OVERFLOWS, overflows);
        trace.namespace(0, name::SOMAXCONN, 4096);
        trace.fact(900, subject, name::BACKLOG, most + 1).fact(
            900,
            subject,
            name::BACKLOG_MAX,
            most,
        );
        trace.fact(900, subject, name::BACKLOG_FULL, most + 1);
        trace.fact(900, subject, name::LISTENER_PID, 7);
        trace.fact(900, subject, name::LISTENER_PID_START, redis.start.0 as i64);
        subject
    }

    #[test]
    fn the_listener_its_process_and_its_backlog_are_named() {
        let mut trace = Synthetic::default();
        full(&mut trace, 1, 106);
        let finding = trace.only();
        assert_eq!(finding.name, "accept-queue-overflow");
        assert_eq!(
            finding.about.listener,
            Some("0.0.0.0:6379".parse().unwrap())
        );
        assert!(
            finding.sentence.contains("redis-server[7] does not accept"),
            "{}",
            finding.sentence
        );
        assert_eq!(
            (finding.value("backlog"), finding.value("backlog_max")),
            ("2", "1")
        );
        assert_eq!(finding.value(OVERFLOWS), "106");
        assert!(finding.advises(&["backlog of 1", "call listen() anew"]));
    }

    #[test]
    fn somaxconn_may_be_what_clamps() {
        let mut trace = Synthetic::default();
        full(&mut trace, 4096, 9);
        assert!(trace.only().advises(&["somaxconn (now 4096) clamps"]));
    }

    #[test]
    fn clients_may_be_reset_instead_of_waiting() {
        let mut trace = Synthetic::default();
        full(&mut trace, 8, 7);
        trace.namespace(0, ABORT, 0);
        let waiting = trace.only();
        assert!(!waiting.sentence.contains("ECONNRESET"), "{waiting:#?}");
        assert!(waiting.advises(&["Do not set", ABORT, "now 0"]));

        trace
            .namespace(0, ABORT, 1)
            .namespace(0, RESETS, 2)
            .namespace(900, RESETS, 9);
        let reset = trace.only();
        assert!(
            reset
                .sentence
                .contains("ECONNRESET instead of waiting; 7 were reset"),
            "{}",
            reset.sentence
        );
        assert_eq!((reset.value(ABORT), reset.value(RESETS)), ("1", "7"));
        assert!(reset.advises(&["Set net.ipv4.tcp_abort_on_overflow (now 1) to 0"]));
    }

    #[test]
    fn a_queue_that_turned_nobody_away_is_no_finding() {
        let mut trace = Synthetic::default();
        full(&mut trace, 1, 0);
        assert!(trace.names().is_empty());
    }

    #[test]
    fn a_worker_that_has_no_descriptor_excuses_its_master() {
        let (master, worker) = (process("redis-server", 7), process("worker", 8));
        let mut trace = Synthetic::default();
        full(&mut trace, 1, 106);
        trace.descriptors(10, &worker, "accept4", libc::EMFILE, 5, 64, 64);
        assert_eq!(trace.names(), ["fd-limit", "accept-queue-overflow"]);
        trace.limits(&worker, 64, 64, Some(&master));
        assert_eq!(trace.names(), ["fd-limit"]);

        let mut by_name = Synthetic::default();
        full(&mut by_name, 1, 106);
        let worker = process("redis-server", 9);
        by_name.descriptors(10, &worker, "accept4", libc::EMFILE, 5, 64, 64);
        assert_eq!(by_name.names(), ["fd-limit"]);
    }

    #[test]
    fn who_has_no_descriptor_can_not_accept() {
        let mut trace = Synthetic::default();
        full(&mut trace, 1, 106);
        trace.descriptors(
            10,
            &process("redis-server", 7),
            "accept4",
            libc::EMFILE,
            5,
            64,
            64,
        );
        assert_eq!(trace.names(), ["fd-limit"]);
    }
}

//! `zero-window`: the receiver does not read, and holds the sender back.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    About, Evidence, Finding, Rule, Seen, Severity, phrase,
    who::{self, Who},
};
use crate::{
    aggregate::Aggregate,
    event::Ends,
    fact::{Subject, name},
};

/// Doublings of the probe timer: a window is closed for a moment on any busy connection, twice doubled it
/// was for half a second and more.
const BACKOFF: i64 = 2;
/// Percent of the time with data to send that the window held it back: below that something else does.
const HELD_BACK: i64 = 50;

/// A connection that is held back, and whose it is.
type Held = (Subject, Option<Who>);

pub(super) struct ZeroWindow;

impl Rule for ZeroWindow {
    fn name(&self) -> &'static str {
        "zero-window"
    }

    fn page(&self) -> &'static str {
        "docs/findings/zero-window.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        // Forty workers of one program that one peer holds back are one.
        let mut groups: BTreeMap<(u32, Option<String>, IpAddr), Vec<Held>> = BTreeMap::new();
        for subject in aggregate.facts.subjects() {
            if let Subject::Connection { netns, ends } = *subject
                && let Some(remote) = ends.remote
                && is_held_back(aggregate, subject)
            {
                let holder = who::holder(aggregate, subject);
                let who = holder.and_then(|pid| who::who(aggregate, pid));
                let comm = who.as_ref().map(|who| who.comm.clone());
                let group = groups.entry((netns, comm, remote.ip()));
                group.or_default().push((*subject, who));
            }
        }
        groups
            .into_iter()
            .filter_map(|((netns, ..), all)| finding(aggregate, netns, &all))
            .collect()
    }
}

fn is_held_back(aggregate: &Aggregate, subject: &Subject) -> bool {
    let facts = &aggregate.facts;
    let number = |name| facts.number(subject, name).unwrap_or(0);
    facts.text(subject, name::TIMER) == Some("probe")
        && facts.text(subject, name::STATE) != Some("CLOSE")
        && number(name::BACKOFF) >= BACKOFF
        && number(name::UNACKED) == 0
        && number(name::SEND_QUEUE) > 0
        && percent_held_back(aggregate, subject).is_none_or(|percent| percent >= HELD_BACK)
}

/// `None` where the kernel does not tell (before 4.10).
fn percent_held_back(aggregate: &Aggregate, subject: &Subject) -> Option<i64> {
    let number = |name| aggregate.facts.number(subject, name);
    let busy = number(name::BUSY_US).filter(|busy| *busy > 0)?;
    Some(number(name::RWND_LIMITED_US)?.saturating_mul(100) / busy)
}

fn finding(aggregate: &Aggregate, netns: u32, all: &[(Subject, Option<Who>)]) -> Option<Finding> {
    let facts = &aggregate.facts;
    let (worst, who) = all
        .iter()
        .max_by_key(|(subject, _)| facts.number(subject, name::BACKOFF))?;
    let processes = who::count(all.iter().filter_map(|(_, who)| who.as_ref()));
    let Subject::Connection { ends, .. } = *worst else {
        return None;
    };
    let known = facts.get(worst, name::TIMER)?;
    let latest = facts
        .get(worst, name::LAST_DATA_SENT_MS)
        .map_or(known.last.0, |it| it.last.0);
    let peer = ends.remote?;
    let name = who
        .as_ref()
        .map_or_else(|| "nobody known".to_owned(), ToString::to_string);
    let name = phrase::and_more(&name, processes);
    let waiting = all
        .iter()
        .filter_map(|(subject, _)| facts.number(subject, name::SEND_QUEUE)?.try_into().ok())
        .fold(0, u64::saturating_add);
    let reader = receiver(aggregate, ends);
    let by = reader
        .as_ref()
        .and_then(|(who, _)| who.as_ref())
        .map_or_else(String::new, |who| format!(" ({who})"));
    let sentence = format!(
        "{peer}{by} does not read: its window is closed, and {} of {name} wait on {}. The network is not the cause.",
        phrase::count(waiting, "byte", "bytes"),
        phrase::count(all.len() as u64, "connection", "connections"),
    );
    let about = About {
        processes,
        process: who.clone(),
        peer: Some(peer.to_string()),
        netns: Some(netns),
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Warning, known.first.0, latest, sentence, about);
    finding.seen = Seen::Lasting;
    let connections = Evidence::new("connections", all.len(), "sock_diag");
    finding.evidence.push(connections);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            finding
                .evidence
                .push(Evidence::new(name, value, "sock_diag"));
        }
    };
    let text = |name| facts.number(worst, name).map(|it| it.to_string());
    add(name::TIMER, Some("probe".to_owned()));
    add(name::BACKOFF, text(name::BACKOFF));
    add(name::UNACKED, text(name::UNACKED));
    add(name::SEND_QUEUE, text(name::SEND_QUEUE));
    let percent = percent_held_back(aggregate, worst).map(|percent| format!("{percent} %"));
    add("rwnd_limited_us of busy_us", percent);
    if let Some((_, queue)) = &reader {
        add("recv_queue of the receiver", Some(queue.to_string()));
    }
    let reading = reader
        .as_ref()
        .and_then(|(who, _)| who.as_ref())
        .map_or_else(|| format!("the process at {peer}"), ToString::to_string);
    finding.remedy = vec![
        format!("See why {reading} does not read: it is stopped, blocked on something else, or slower than the sender (`ss -tnp` there shows the bytes in Recv-Q)."),
        "Or have the sender give up or slow down: a timeout on its writes; TCP_USER_TIMEOUT ends a connection whose window stays closed, too.".to_owned(),
        "Do not raise net.ipv4.tcp_wmem or tcp_rmem (a larger buffer fills as well), and do not look for lost packets: nothing is retransmitted.".to_owned(),
    ];
    Some(finding)
}

/// The other end's socket, where it is on this machine: its process and the bytes that it has not read.
fn receiver(aggregate: &Aggregate, ends: Ends) -> Option<(Option<Who>, i64)> {
    let other = Ends {
        local: ends.remote?,
        remote: Some(ends.local),
    };
    let subject = aggregate
        .facts
        .subjects()
        .find(|subject| matches!(subject, Subject::Connection { ends, .. } if *ends == other))?;
    let queue = aggregate.facts.number(subject, name::RECV_QUEUE)?;
    let who = who::holder(aggregate, subject).and_then(|pid| who::who(aggregate, pid));
    Some((who, queue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{NETNS, Synthetic, ends, process};

    fn socket(
        trace: &mut Synthetic,
        ends: Ends,
        facts: &[(&'static str, i64)],
        timer: &str,
        pid: u32,
    ) {
        let subject = Subject::Connection { netns: NETNS, ends };
        trace
            .text(10, subject, name::STATE, "ESTABLISHED")
            .text(10, subject, name::TIMER, timer);
        for (name, value) in facts {
            trace.fact(10, subject, name, *value);
        }
        let who = process("app", pid);
        trace.limits(&who, 1024, 4096, None);
        trace.fact(10, subject, name::CONNECTION_PID, i64::from(pid));
        trace.fact(10, subject, name::CONNECTION_PID_START, who.start.0 as i64);
    }

    const HELD: [(&str, i64); 5] = [
        (name::BACKOFF, 4),
        (name::UNACKED, 0),
        (name::SEND_QUEUE, 2_500_000),
        (name::BUSY_US, 5_000_000),
        (name::RWND_LIMITED_US, 4_800_000),
    ];

    #[test]
    fn the_reader_is_to_blame() {
        let mut trace = Synthetic::default();
        let here = ends("10.0.0.1:40000", "10.0.0.2:7000");
        socket(&mut trace, here, &HELD, "probe", 5);
        socket(
            &mut trace,
            ends("10.0.0.2:7000", "10.0.0.1:40000"),
            &[(name::RECV_QUEUE, 1_460_000)],
            "none",
            6,
        );
        let finding = trace.only();
        assert_eq!(finding.name, "zero-window");
        assert!(
            finding
                .sentence
                .contains("10.0.0.2:7000 (app[6]) does not read"),
            "{}",
            finding.sentence
        );
        assert_eq!(finding.value("recv_queue of the receiver"), "1460000");
        assert_eq!(finding.value("rwnd_limited_us of busy_us"), "96 %");
        assert!(finding.advises(&["Do not raise net.ipv4.tcp_wmem"]));
    }

    #[test]
    fn forty_workers_that_one_peer_holds_back_are_one_finding() {
        let mut trace = Synthetic::default();
        for pid in 1..=40 {
            let local = format!("10.0.0.1:{}", 40_000 + pid);
            let here = ends(&local, "10.0.0.2:7000");
            socket(&mut trace, here, &HELD, "probe", pid);
        }
        let finding = trace.only();
        assert_eq!(
            (finding.about.processes, finding.value("connections")),
            (40, "40")
        );
        assert!(
            finding.sentence.contains("and 39 more processes wait"),
            "{}",
            finding.sentence
        );
        assert!(
            finding.sentence.contains("100,000,000 bytes"),
            "{}",
            finding.sentence
        );
    }

    #[test]
    fn a_route_that_is_gone_closes_no_window() {
        let mut trace = Synthetic::default();
        let mut held = HELD;
        held[4].1 = 0;
        socket(
            &mut trace,
            ends("10.0.0.1:40000", "10.0.0.2:7000"),
            &held,
            "probe",
            5,
        );
        assert!(trace.names().is_empty());
    }

    #[test]
    fn a_window_that_opens_again_is_past() {
        let mut trace = Synthetic::default();
        let here = ends("10.0.0.1:40000", "10.0.0.2:7000");
        socket(&mut trace, here, &HELD, "probe", 5);
        let subject = Subject::Connection {
            netns: NETNS,
            ends: here,
        };
        trace.text(20, subject, name::TIMER, "none");
        assert!(trace.names().is_empty());
    }
}

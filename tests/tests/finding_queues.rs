//! `accept-queue-overflow` and `syn-queue-overflow`: a listener has no room.

use std::time::Duration;

use tcptrace_tests::{
    finding::{Diagnosis, Finding, the_only},
    incident::{
        accept_queue::{Aborting, AcceptQueue},
        syn_queue::SynQueue,
    },
};

/// Longer than a client waits for its third SYN.
const WATCH: Duration = Duration::from_secs(12);

/// redis does not accept for five seconds; all its clients succeed after that.
#[test]
fn accept_queue() {
    let incident = AcceptQueue::new();
    let before = incident.netns.counter("TcpExtListenOverflows");
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    let held = incident.hold(5);
    let clients = incident.clients(20);
    tcptrace_tests::wait::until_true("the queue is full", || {
        incident.waiting() > AcceptQueue::BACKLOG
    });
    let answers = clients.ended();
    assert_eq!(answers.get("True"), Some(&20), "{answers:?}");
    drop(held);
    let overflows = incident.netns.counter("TcpExtListenOverflows") - before;
    assert!(overflows > 40, "{overflows}");
    let finding = the_only("accept-queue-overflow", &diagnosis.findings());
    assert_eq!(finding.pid(), incident.redis.pid());
    assert_eq!(finding.number("ListenOverflows"), overflows);
    assert!(finding.sentence().contains(":6379"), "{finding:#?}");
    assert_eq!(finding.number("backlog_max"), AcceptQueue::BACKLOG);
    assert!(finding.number("backlog") > AcceptQueue::BACKLOG);
    finding.recommends(&[
        "instead of accepting",
        "asks listen() for a backlog of 1,",
        "somaxconn is not in the way",
    ]);
}

/// redis asks for a long queue, and gets a short one.
#[test]
fn accept_queue_that_somaxconn_clamps() {
    let incident = AcceptQueue::clamped();
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    let held = incident.hold(5);
    let answers = incident.clients(8).ended();
    assert_eq!(answers.get("True"), Some(&8), "{answers:?}");
    drop(held);
    let finding = the_only("accept-queue-overflow", &diagnosis.findings());
    assert_eq!(finding.pid(), incident.redis.pid());
    assert_eq!(finding.number("backlog_max"), AcceptQueue::BACKLOG);
    assert_eq!(finding.number("net.core.somaxconn"), AcceptQueue::BACKLOG);
    finding.recommends(&["net.core.somaxconn (now 1) clamps its backlog"]);
    assert!(!finding.remedy().contains("not in the way"), "{finding:#?}");
}

/// Clients are reset instead of waiting, and the finding says by which sysctl.
#[test]
fn accept_queue_with_tcp_abort_on_overflow() {
    const ABORT: &str = "net.ipv4.tcp_abort_on_overflow";
    let incident = Aborting::new();
    let far = &incident.veth.far;
    let before = far.counter("TcpExtListenOverflows");
    let diagnosis = Diagnosis::start(far, WATCH);
    let held = incident.hold(6);
    let answers = incident.clients().ended();
    drop(held);
    let resets: u64 = answers
        .iter()
        .filter(|(answer, _)| answer.contains("Connection reset by peer"))
        .map(|(_, count)| count)
        .sum();
    // One finds room; two do where their segments are taken in at once on two processors.
    let served = answers.get("b'PONG'").copied().unwrap_or(0);
    assert!((1..=2).contains(&served), "{answers:?}");
    assert_eq!(resets, Aborting::BACKLOG - served, "{answers:?}");
    assert_eq!(far.counter("TcpExtEmbryonicRsts"), resets);
    let overflows = far.counter("TcpExtListenOverflows") - before;
    let finding = the_only("accept-queue-overflow", &diagnosis.findings());
    assert_eq!(finding.pid(), incident.queue.redis.pid());
    assert_eq!(finding.number("ListenOverflows"), overflows);
    assert_eq!(finding.number("EmbryonicRsts"), resets);
    assert_eq!(finding.evidence(ABORT), ("1", "sysctl of the namespace"));
    assert!(
        finding.sentence().contains(&format!(
            "ECONNRESET instead of waiting; {resets} were reset"
        )),
        "{finding:#?}"
    );
    finding.recommends(&[&format!("Set {ABORT} (now 1) to 0")]);
}

fn syn_queue(sysctls: &[(&str, &str)], counter: &str, knob: &str) -> Finding {
    let mut incident = SynQueue::start(sysctls);
    let far = incident.veth.far.another();
    let before = far.counter(counter);
    let diagnosis = Diagnosis::start(&far, WATCH);
    incident.flood(334);
    tcptrace_tests::wait::until_true("some are turned away", || {
        far.counter(counter) > before + 100
    });
    // From here on no SYN is sent again; what is half open stays so for a minute.
    incident.stop();
    let found = diagnosis.findings();
    let grown = far.counter(counter) - before;
    let finding = the_only("syn-queue-overflow", &found);
    assert_eq!(finding.pid(), incident.redis.pid());
    let short = counter.trim_start_matches("TcpExt");
    assert_eq!(finding.number(short), grown);
    assert!(finding.number("syn_recv") > 0, "{finding:#?}");
    finding.recommends(&[knob]);
    finding
}

#[test]
fn syn_queue_with_cookies() {
    let finding = syn_queue(&[], "TcpExtSyncookiesSent", "backlog");
    assert!(
        finding.sentence().contains("nobody is turned away"),
        "{finding:#?}"
    );
}

#[test]
fn syn_queue_without_cookies() {
    let finding = syn_queue(
        &[("net.ipv4.tcp_syncookies", "0")],
        "TcpExtTCPReqQFullDrop",
        "net.ipv4.tcp_syncookies",
    );
    assert!(finding.sentence().contains("dropped"), "{finding:#?}");
}

/// Neither counter moves: the limit is the namespace's own.
#[test]
fn syn_queue_by_tcp_max_syn_backlog() {
    let sysctls = [
        ("net.ipv4.tcp_syncookies", "0"),
        ("net.ipv4.tcp_max_syn_backlog", "64"),
    ];
    let finding = syn_queue(
        &sysctls,
        "TcpExtListenDrops",
        "net.ipv4.tcp_max_syn_backlog",
    );
    assert_eq!(finding.number("tcp_max_syn_backlog"), 64);
}

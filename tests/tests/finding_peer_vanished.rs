//! `peer-vanished`, when the kernel will give up, and what looks like it but is not.

use std::time::{Duration, SystemTime};

use tcptrace_tests::{
    Netns, Veth,
    events::nanoseconds,
    finding::{Diagnosis, Finding, findings, the_only},
    incident::peer_vanished::{self, Replication},
    program::Redis,
    wait,
};

/// Long enough for four timeouts of the same data.
const WATCH: Duration = Duration::from_secs(6);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_nanos() as i64
}

/// Diagnoses from before `vanish` on, and then waits for what was predicted; the prediction must be right to 10 % of the whole.
fn predicted(near: &Netns, vanish: impl FnOnce(), is_there: impl Fn() -> bool) -> Finding {
    let diagnosis = Diagnosis::start(near, WATCH);
    let vanished = now();
    vanish();
    let finding = the_only("peer-vanished", &diagnosis.findings());
    assert_eq!(finding.severity(), "critical");
    ends_as_predicted(&finding, vanished, is_there);
    finding
}

fn ends_as_predicted(finding: &Finding, vanished: i64, is_there: impl Fn() -> bool) {
    assert!(is_there(), "it has not given up yet");
    let predicted = nanoseconds(finding.evidence("gives_up_at").0);
    wait::until_true("the kernel gives up", || !is_there());
    let (predicted, actual) = (predicted - vanished, now() - vanished);
    assert!(
        (predicted - actual).abs() * 10 <= actual,
        "predicted after {} ms, gave up after {} ms",
        predicted / 1_000_000,
        actual / 1_000_000
    );
}

fn replication(sysctls: &[(&str, &str)]) -> Finding {
    let incident = Replication::start(sysctls);
    let near = &incident.veth.near;
    // Connects that follow find nobody either: only the connection of the beginning counts.
    let first = connection(&incident);
    let is_there = || connection(&incident) == first;
    let finding = predicted(near, || incident.vanish(), is_there);
    assert_eq!(finding.pid(), incident.replica.pid());
    assert_eq!(finding.peer(), format!("{}:{}", Veth::FAR, Redis::PORT));
    assert_eq!(near.counter("TcpExtTCPAbortOnTimeout"), 1);
    let remedy = finding.remedy();
    let steps = ["protocol", "TCP_USER_TIMEOUT", "net.ipv4.tcp_retries2"];
    let at = steps.map(|word| {
        remedy
            .find(word)
            .unwrap_or_else(|| panic!("{word}: {remedy}"))
    });
    assert!(at.is_sorted(), "{remedy}");
    assert!(remedy.contains("Keepalive is no remedy"), "{remedy}");
    finding
}

/// The connection's own port, while it is established.
fn connection(incident: &Replication) -> Option<String> {
    let shown = incident.connections();
    let local = shown.split_whitespace().nth(2)?;
    Some(local.to_owned())
}

#[test]
fn by_tcp_retries2() {
    let finding = replication(&[("net.ipv4.tcp_retries2", "5")]);
    assert_eq!(finding.number("net.ipv4.tcp_retries2"), 5);
}

/// With a short maximum all fifteen retries fit.
#[test]
fn by_tcp_rto_max_ms() {
    let finding = replication(&[("net.ipv4.tcp_rto_max_ms", "1000")]);
    assert_eq!(finding.number("net.ipv4.tcp_rto_max_ms"), 1000);
}

/// By default it takes a quarter of an hour or more, which the finding says.
#[test]
fn by_default() {
    let incident = Replication::start(&[]);
    let vanished = now();
    incident.vanish();
    let finding = the_only("peer-vanished", &findings(&incident.veth.near, WATCH));
    let predicted = nanoseconds(finding.evidence("gives_up_at").0) - vanished;
    let minutes = predicted / 60_000_000_000;
    assert!((13..=30).contains(&minutes), "{minutes} minutes");
    assert!(finding.sentence().contains("min"), "{finding:#?}");
}

#[test]
fn by_user_timeout() {
    const TIMEOUT_MS: u32 = 12_000;
    let veth = Veth::new();
    let _redis = Redis::start(&veth.far, &[]);
    let client = peer_vanished::talker(&veth, TIMEOUT_MS);
    wait::until_true("it talks", || !client.answers().is_empty());
    let is_there = || !client.answers().contains_key("ETIMEDOUT");
    let finding = predicted(&veth.near, || peer_vanished::vanish(&veth.far), is_there);
    assert_eq!(finding.pid(), client.pid());
    assert_eq!(finding.number("TCP_USER_TIMEOUT"), u64::from(TIMEOUT_MS));
}

/// Keepalive does not run while data is in flight: it is no remedy.
#[test]
fn not_by_keepalive() {
    let veth = Veth::new();
    let _redis = Redis::start(&veth.far, &[]);
    let client = peer_vanished::with_keepalive(&veth, true);
    wait::until_true("it is connected", || !client.answers().is_empty());
    let diagnosis = Diagnosis::start(&veth.near, Duration::from_secs(10));
    peer_vanished::vanish(&veth.far);
    let finding = the_only("peer-vanished", &diagnosis.findings());
    assert_eq!(finding.pid(), client.pid());
    // It would have ended it after four seconds.
    assert!(!client.answers().contains_key("ETIMEDOUT"));
    assert_eq!(veth.near.counter("TcpExtTCPKeepAlive"), 0);
    assert!(
        finding.sentence().contains("net.ipv4.tcp_retries2"),
        "{finding:#?}"
    );
    finding.recommends(&["Keepalive is no remedy", "TCP_USER_TIMEOUT"]);
    assert!(!finding.remedy().contains("SO_KEEPALIVE"), "{finding:#?}");
}

/// The same setting ends a connection that is idle, and nothing has to be found.
#[test]
fn idle_with_keepalive() {
    let veth = Veth::new();
    let _redis = Redis::start(&veth.far, &["--tcp-keepalive", "0"]);
    let client = peer_vanished::with_keepalive(&veth, false);
    wait::until_true("it is connected", || !client.answers().is_empty());
    let diagnosis = Diagnosis::start(&veth.near, Duration::from_secs(8));
    peer_vanished::vanish(&veth.far);
    let vanished = now();
    wait::until_true("keepalive ends it", || {
        client.answers().contains_key("ETIMEDOUT")
    });
    let took = (now() - vanished) / 1_000_000;
    assert!((1_500..=6_000).contains(&took), "{took} ms");
    assert!(veth.near.counter("TcpExtTCPKeepAlive") >= 2);
    let found = diagnosis.findings();
    assert!(found.is_empty(), "{found:#?}");
}

/// Found by the state of the socket alone: the trace starts when it has gone on for a while. It is known all the same when it ends.
#[test]
fn found_late() {
    let incident = Replication::start(&[("net.ipv4.tcp_retries2", "5")]);
    let first = connection(&incident);
    let vanished = now();
    incident.vanish();
    wait::until_true("four timeouts", || {
        incident.connections().contains("backoff:4")
    });
    // The next timeout is seconds away.
    let found = findings(&incident.veth.near, Duration::from_secs(1));
    let finding = the_only("peer-vanished", &found);
    assert_eq!(finding.pid(), incident.replica.pid());
    assert_eq!(finding.evidence("timeouts of the same data").1, "sock_diag");
    ends_as_predicted(&finding, vanished, || connection(&incident) == first);
}

/// The host was rebooted, and is back: the first retransmit after that is answered with a reset.
#[test]
fn not_a_host_that_was_rebooted() {
    let mut incident = Replication::start(&[]);
    let near = incident.veth.near.another();
    let diagnosis = Diagnosis::start(&near, Duration::from_secs(12));
    incident.vanish();
    wait::until_true("it sends again", || {
        incident.connections().contains("backoff:2")
    });
    incident.come_back_rebooted();
    let found = diagnosis.findings();
    assert_eq!(near.counter("TcpEstabResets"), 1, "a reset has come");
    let finding = the_only("peer-restarted", &found);
    assert_eq!(finding.pid(), incident.replica.pid());
}

/// As above, and the trace starts when the host has been away for a while: the timeouts before it count.
#[test]
fn not_a_host_that_was_rebooted_before_the_trace() {
    let mut incident = Replication::start(&[]);
    let near = incident.veth.near.another();
    incident.vanish();
    wait::until_true("four timeouts", || {
        incident.connections().contains("backoff:4")
    });
    // The next timeout is seconds away.
    let diagnosis = Diagnosis::start(&near, Duration::from_secs(12));
    incident.come_back_rebooted();
    let found = diagnosis.findings();
    assert_eq!(near.counter("TcpEstabResets"), 1, "a reset has come");
    let finding = the_only("peer-restarted", &found);
    assert_eq!(finding.pid(), incident.replica.pid());
    assert!(finding.number("timeouts of the same data") > 4);
}

/// The link at the far end is down: the neighbour does not answer, and the local host says so (EHOSTUNREACH).
#[test]
fn not_a_cable() {
    let incident = Replication::start(&[]);
    incident.pull_cable();
    wait::until_true("it sends again", || {
        incident.connections().contains("backoff:3")
    });
    none_vanished(&incident);
}

/// This host has no route any more: nothing is sent.
#[test]
fn not_a_lost_route() {
    let incident = Replication::start(&[]);
    let before = incident.veth.near.counter("IpOutNoRoutes");
    incident.lose_route();
    wait::until_true("it wants to send", || {
        incident.veth.near.counter("IpOutNoRoutes") > before + 3
    });
    none_vanished(&incident);
    assert_eq!(incident.veth.near.counter("TcpRetransSegs"), 0);
}

fn none_vanished(incident: &Replication) {
    let found = findings(&incident.veth.near, WATCH);
    assert!(found.is_empty(), "{found:#?}");
    assert!(connection(incident).is_some(), "it goes on");
}

//! `connect-refused`: nobody listens where a client connects, and how it tries again.

use std::time::Duration;

use tcptrace_tests::{
    Netns,
    finding::{Diagnosis, Finding, findings, the_only},
    incident::{connect_refused, peer_vanished::Replication},
};

/// Long enough for five attempts a second apart.
const WATCH: Duration = Duration::from_secs(6);

/// The finding names the client and its peer, and its number is the kernel's.
fn refused(netns: &Netns, diagnosis: Diagnosis, client: Option<u32>) -> Finding {
    let before = netns.counter("TcpAttemptFails");
    let found = diagnosis.findings();
    let failed = netns.counter("TcpAttemptFails") - before;
    let finding = the_only("connect-refused", &found);
    assert_eq!(finding.severity(), "critical");
    assert_eq!(finding.peer(), connect_refused::COLLECTOR);
    if let Some(pid) = client {
        assert_eq!(finding.pid(), pid);
    }
    // The trace ends before its output does, and the attempts go on.
    let counted = finding.number("ECONNREFUSED");
    assert!(
        counted <= failed && counted + 2 >= failed * 3 / 4,
        "{counted}, the kernel's count: {failed}"
    );
    assert!(
        finding.number("resets received") + 2 >= counted,
        "{finding:#?}"
    );
    finding.recommends(&[connect_refused::COLLECTOR]);
    finding
}

/// rsyslog tries again after a second, always.
#[test]
fn rsyslog() {
    let netns = Netns::new();
    let rsyslog = connect_refused::rsyslog(&netns);
    let diagnosis = Diagnosis::start(&netns, WATCH);
    let finding = refused(&netns, diagnosis, Some(rsyslog.pid()));
    assert_eq!(finding.comm(), "rsyslogd");
    assert!(finding.sentence().contains("every 1.0 s"), "{finding:#?}");
}

/// fluent-logger does not wait at all: each line is an attempt.
#[test]
fn fluent_logger() {
    let netns = Netns::new();
    let client = connect_refused::fluent_logger(&netns);
    connect_refused::wait_until_refused(&client);
    let diagnosis = Diagnosis::start(&netns, WATCH);
    let finding = refused(&netns, diagnosis, Some(client.pid()));
    assert!(
        finding.sentence().contains("does not back off"),
        "{finding:#?}"
    );
}

/// A connect that does not block tells nothing itself, and the gaps tell that the client backs off as it should.
#[test]
fn doubling() {
    let netns = Netns::new();
    // Four attempts in 2.8 s; the fifth is 3.2 s later.
    let diagnosis = Diagnosis::start(&netns, Duration::from_secs(5));
    let client = connect_refused::doubling(&netns);
    let finding = refused(&netns, diagnosis, Some(client.pid()));
    let answers = client.answers();
    assert_eq!(
        answers["ConnectionRefusedError"],
        finding.number("ECONNREFUSED"),
        "the client's own count"
    );
    let gaps: Vec<f64> = finding
        .evidence("between attempts")
        .0
        .split(", ")
        .map(|gap| gap.parse().unwrap())
        .collect();
    for (at, gap) in gaps.iter().enumerate() {
        let expected = 400.0 * 2_f64.powi(at as i32);
        assert!(*gap >= expected - 5.0 && *gap < expected * 1.25, "{gaps:?}");
    }
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    assert!(finding.sentence().contains("twice as long"), "{finding:#?}");
}

/// Forty workers and one dead backend are one finding.
#[test]
fn forty_workers() {
    const EACH: u64 = 8;
    let netns = Netns::new();
    let diagnosis = Diagnosis::start(&netns, Duration::from_secs(8));
    let _workers = connect_refused::forty_workers(&netns, EACH);
    let finding = refused(&netns, diagnosis, None);
    assert_eq!(finding.number("ECONNREFUSED"), 40 * EACH);
    assert_eq!(netns.counter("TcpAttemptFails"), 40 * EACH);
    assert_eq!(finding.processes(), 40);
    assert!(
        finding.sentence().contains("39 more processes"),
        "{finding:#?}"
    );
}

/// The process at the other end died, and its host answers for it: the replica is refused once a second.
#[test]
fn a_master_that_died() {
    let mut incident = Replication::start(&[]);
    incident.kill_master();
    let finding = the_only("connect-refused", &findings(&incident.veth.near, WATCH));
    assert_eq!(finding.pid(), incident.replica.pid());
    assert!(finding.peer().starts_with("10.99.0.2:"), "{finding:#?}");
}

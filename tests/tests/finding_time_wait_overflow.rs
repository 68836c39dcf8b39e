//! `time-wait-overflow`, which hurts nobody, and a client's error that is not its doing.

use std::time::Duration;

use tcptrace_tests::{
    finding::{Diagnosis, the_only},
    incident::time_wait_overflow::{DeadBackend, SmallTable},
};

const OVERFLOW: &str = "TcpExtTCPTimeWaitOverflow";

#[test]
fn short_connections() {
    const NUMBER: u64 = 1000;
    let incident = SmallTable::new();
    let diagnosis = Diagnosis::start(&incident.netns, Duration::from_secs(8));
    let client = incident.clients(NUMBER);
    let pid = client.pid();
    assert_eq!(client.ended()["True"], NUMBER, "every client succeeds");
    let found = diagnosis.findings();
    let overflows = incident.netns.counter(OVERFLOW);
    assert!((880..=920).contains(&overflows), "{overflows}");
    let finding = the_only("time-wait-overflow", &found);
    assert_eq!((finding.pid(), finding.severity()), (pid, "notice"));
    assert_eq!(finding.number("time_wait_overflow"), overflows);
    assert_eq!(
        finding.number("net.ipv4.tcp_max_tw_buckets"),
        SmallTable::TABLE
    );
    finding.recommends(&["net.ipv4.tcp_max_tw_buckets", "now 100", "euse connections"]);
}

/// Clients of haproxy are closed upon for its dead backend, while the table overflows beside.
#[test]
fn a_dead_backend_is_not_its_doing() {
    const NUMBER: u64 = 60;
    let incident = DeadBackend::new();
    let standing = incident.netns.counter(OVERFLOW);
    assert!((116..=118).contains(&standing), "{standing}");
    let before = incident.netns.counter("TcpAttemptFails");
    let diagnosis = Diagnosis::start(&incident.netns, Duration::from_secs(14));
    let answers = incident.clients(NUMBER).ended();
    let closed: u64 = answers
        .iter()
        .filter(|(answer, _)| answer.contains("Connection closed by server."))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(closed, NUMBER, "{answers:?}");
    let found = diagnosis.findings();
    let cause = &found[0];
    assert_eq!(
        (cause.name(), cause.severity(), cause.pid()),
        ("connect-refused", "critical", incident.haproxy.pid())
    );
    assert_eq!(
        cause.number("ECONNREFUSED"),
        incident.netns.counter("TcpAttemptFails") - before
    );
    // The overflow is told for what it is: nobody's trouble.
    let beside = the_only("time-wait-overflow", &found[1..]);
    assert_eq!(beside.severity(), "notice");
    assert!(beside.sentence().contains("another cause"), "{beside:#?}");
}

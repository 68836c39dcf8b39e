//! `connect-refused`: nobody listens where a client connects, and how it tries again.

use std::time::Duration;

use tcptrace_tests::{
    Netns, Veth,
    finding::{Diagnosis, Finding, findings, the_only},
    incident::{connect_refused, peer_vanished::Replication},
    wait,
};

/// Long enough for what the clients do within it.
const WATCH: Duration = Duration::from_secs(10);

fn refusals(netns: &Netns) -> u64 {
    netns.counter("TcpAttemptFails")
}

/// The finding names the peer; its number is the kernel's of the namespace, where nothing else happened.
fn refused(netns: &Netns, diagnosis: Diagnosis) -> Finding {
    let finding = the_only("connect-refused", &diagnosis.findings());
    assert_eq!(finding.severity(), "critical");
    assert_eq!(finding.peer(), connect_refused::COLLECTOR);
    assert_eq!(finding.number("ECONNREFUSED"), refusals(netns));
    assert_eq!(finding.number("resets received"), refusals(netns));
    finding.recommends(&[connect_refused::COLLECTOR]);
    finding
}

/// rsyslog tries again after a second, always.
#[test]
fn rsyslog() {
    let netns = Netns::new();
    let diagnosis = Diagnosis::start(&netns, WATCH);
    let rsyslog = connect_refused::rsyslog(&netns);
    let pid = rsyslog.pid();
    wait::until_true("five attempts", || refusals(&netns) >= 5);
    drop(rsyslog);
    let finding = refused(&netns, diagnosis);
    assert_eq!((finding.pid(), finding.comm()), (pid, "rsyslogd"));
    assert!(finding.sentence().contains("every 1.0 s"), "{finding:#?}");
}

/// fluent-logger does not wait at all: each line is an attempt.
#[test]
fn fluent_logger() {
    const LINES: u64 = 20;
    let netns = Netns::new();
    let diagnosis = Diagnosis::start(&netns, WATCH);
    let client = connect_refused::fluent_logger(&netns, LINES);
    let finding = refused(&netns, diagnosis);
    assert_eq!(finding.pid(), client.pid());
    assert_eq!(client.answers()["ConnectionRefusedError"], LINES);
    assert_eq!(refusals(&netns), LINES);
    assert!(
        finding.sentence().contains("does not back off"),
        "{finding:#?}"
    );
}

/// A firewall rejects, which is told from a host where nobody listens: no reset has come.
#[test]
fn rejected() {
    // Each takes a second and more: the kernel holds the socket while the first answer comes, and waits for another.
    const ATTEMPTS: u64 = 5;
    let veth = Veth::new();
    let diagnosis = Diagnosis::start(&veth.near, WATCH);
    let client = connect_refused::rejected(&veth, ATTEMPTS);
    let finding = the_only("connect-refused", &diagnosis.findings());
    assert_eq!(client.answers()["ECONNREFUSED"], ATTEMPTS);
    assert_eq!(veth.far.counter("TcpOutRsts"), 0, "nothing was reset");
    assert_eq!(finding.pid(), client.pid());
    assert_eq!(finding.number("ECONNREFUSED"), ATTEMPTS);
    assert_eq!(finding.number("resets received"), 0);
    assert!(finding.sentence().contains("by ICMP"), "{finding:#?}");
    let remedy = finding.remedy();
    let first = remedy.lines().next().unwrap();
    assert!(first.contains("nft list ruleset"), "{remedy}");
    assert!(!remedy.contains("answers with a reset"), "{remedy}");
}

/// Without any filter it is found as well, whatever else goes on on the machine.
#[test]
fn on_the_whole_machine() {
    const LINES: u64 = 15;
    let netns = Netns::new();
    let diagnosis = Diagnosis::of(&[], WATCH);
    let client = connect_refused::fluent_logger(&netns, LINES);
    let found = diagnosis.findings();
    let finding = found
        .iter()
        .find(|finding| finding.netns() == netns.inode())
        .unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(finding.name(), "connect-refused");
    assert_eq!(finding.pid(), client.pid());
    assert_eq!(finding.peer(), connect_refused::COLLECTOR);
    assert_eq!(finding.number("ECONNREFUSED"), LINES);
}

/// A connect that does not block tells nothing itself, and the gaps tell that the client backs off as it should.
#[test]
fn doubling() {
    const ATTEMPTS: u64 = 5;
    let netns = Netns::new();
    let diagnosis = Diagnosis::start(&netns, WATCH);
    let client = connect_refused::doubling(&netns, ATTEMPTS);
    let finding = refused(&netns, diagnosis);
    assert_eq!(finding.pid(), client.pid());
    assert_eq!(client.answers()["ConnectionRefusedError"], ATTEMPTS);
    let gaps: Vec<f64> = finding
        .evidence("between attempts")
        .0
        .split(", ")
        .map(|gap| gap.parse().unwrap())
        .collect();
    // A busy machine makes them longer, never shorter.
    let at_least = [400.0, 800.0, 1600.0, 3200.0];
    assert_eq!(gaps.len(), at_least.len(), "{gaps:?}");
    for (gap, at_least) in gaps.iter().zip(at_least) {
        assert!(*gap >= at_least - 5.0, "{gaps:?}");
    }
    assert!(finding.sentence().contains("twice as long"), "{finding:#?}");
}

/// Forty workers and one dead backend are one finding.
#[test]
fn forty_workers() {
    const EACH: u64 = 8;
    let netns = Netns::new();
    let diagnosis = Diagnosis::start(&netns, WATCH);
    let _workers = connect_refused::forty_workers(&netns, EACH);
    let finding = refused(&netns, diagnosis);
    assert_eq!(refusals(&netns), 40 * EACH);
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

//! `zero-window`, `half-open-risk`, `ports-exhausted` and `inotify-instances`.

use std::time::Duration;

use tcptrace_tests::{
    Recording,
    finding::{Diagnosis, findings, recorded, the_only},
    incident::{
        half_open_risk::HalfOpenRisk,
        inotify_instances::{InotifyInstances, Node},
        ports_exhausted::PortsExhausted,
        zero_window::ZeroWindow,
    },
    open_descriptors, wait,
};

const WATCH: Duration = Duration::from_secs(5);

/// The receiver has stopped reading: the sender waits, and the path is in order.
#[test]
fn zero_window() {
    let incident = ZeroWindow::new();
    let unread = incident.unread();
    assert!(unread > 10_000);
    let before = incident.veth.near.counter("TcpRetransSegs");
    let finding = the_only("zero-window", &findings(&incident.veth.near, WATCH));
    assert_eq!(finding.severity(), "warning");
    assert_eq!(finding.evidence("timer"), ("probe", "sock_diag"));
    assert_eq!(finding.number("unacked"), 0);
    assert!(finding.number("backoff") >= 2, "{finding:#?}");
    // The kernel's own: what its process has written and could not send.
    assert_eq!(finding.number("send_queue"), incident.unsent());
    let held_back = finding.evidence("rwnd_limited_us").0;
    let percent: u64 = held_back.strip_suffix(" %").unwrap().parse().unwrap();
    assert!(percent >= 90, "{held_back}");
    finding.recommends(&[
        "does not read",
        "TCP_USER_TIMEOUT",
        "Do not raise net.ipv4.tcp_wmem",
    ]);
    let after = incident.veth.near.counter("TcpRetransSegs");
    assert_eq!(before, after, "window probes are no retransmits");
    assert_eq!(incident.unread(), unread);
    assert_eq!(finding.pid(), incident.sender.pid());
    assert!(finding.peer().starts_with("10.99.0.2:"), "{finding:#?}");
    assert!(incident.connection().contains("timer:(persist"));
}

/// It waits for data for ever, without keepalive and without a timeout.
#[test]
fn half_open_risk() {
    let incident = HalfOpenRisk::new();
    let finding = the_only("half-open-risk", &findings(&incident.veth.near, WATCH));
    assert_eq!(
        (finding.pid(), finding.severity()),
        (incident.subscriber.pid(), "notice")
    );
    assert_eq!(finding.evidence("timer"), ("none", "sock_diag"));
    assert_eq!(finding.number("connections"), 1);
    for since in ["last_data_sent_ms", "last_data_recv_ms"] {
        let idle = finding.number(since);
        assert!(idle >= HalfOpenRisk::KEEPALIVE_TIME * 1_000, "{finding:#?}");
    }
    assert_eq!(
        finding.number("net.ipv4.tcp_keepalive_time"),
        HalfOpenRisk::KEEPALIVE_TIME
    );
    finding.recommends(&[
        "SO_KEEPALIVE",
        "TCP_KEEPIDLE",
        "net.ipv4.tcp_keepalive_time` (now 6)",
        "TCP_USER_TIMEOUT does not help",
    ]);
}

/// Found idle, and closed while it is watched: it waits no more.
#[test]
fn not_one_that_is_closed() {
    let HalfOpenRisk {
        veth,
        redis,
        subscriber,
    } = HalfOpenRisk::new();
    let mut recording = Recording::start(&[&veth.near]);
    drop(subscriber);
    recording.end();
    let found = recorded(&recording.file());
    assert!(found.is_empty(), "{found:#?}");
    drop(redis);
}

/// Connects fail without a SYN: they are no attempts.
#[test]
fn ports_exhausted() {
    const ATTEMPTS: u64 = 550;
    let incident = PortsExhausted::new();
    let before = incident.netns.counter("TcpActiveOpens");
    let diagnosis = Diagnosis::start(&incident.netns, Duration::from_secs(10));
    let client = incident.client(ATTEMPTS);
    wait::until_true("all attempts", || {
        client.answers().values().sum::<u64>() == ATTEMPTS
    });
    let answers = client.answers();
    let failed = ATTEMPTS - PortsExhausted::PORTS;
    assert_eq!(
        (answers["ok"], answers["EADDRNOTAVAIL"]),
        (PortsExhausted::PORTS, failed)
    );
    assert_eq!(
        incident.netns.counter("TcpActiveOpens") - before,
        PortsExhausted::PORTS
    );
    let finding = the_only("ports-exhausted", &diagnosis.findings());
    assert_eq!(finding.pid(), client.pid());
    assert_eq!(finding.number("EADDRNOTAVAIL"), failed);
    finding.recommends(&["net.ipv4.ip_local_port_range"]);
}

/// Descriptors are left in plenty, and it is not their limit.
#[test]
fn inotify_instances() {
    let incident = InotifyInstances::new();
    let fullest = incident.tails().into_iter().map(open_descriptors).max();
    assert!(fullest < Some(10), "{fullest:?}");
    let finding = the_only("inotify-instances", &findings(&incident.netns, WATCH));
    assert_eq!(finding.comm(), "tail");
    assert!(incident.tails().contains(&finding.pid()), "{finding:#?}");
    assert!(finding.number("EMFILE from inotify_init") > 0);
    let max = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances");
    let max: u64 = max.unwrap().trim().parse().unwrap();
    assert_eq!(finding.number("fs.inotify.max_user_instances"), max);
    assert!(finding.number("open_fds") < 10, "{finding:#?}");
    assert!(finding.number("limit_nofile_soft") > 10, "{finding:#?}");
    // Those of this user that hold one, at least, were counted.
    let held = finding.number("inotify_instances_of_user");
    assert!(held >= InotifyInstances::LIMIT as u64, "{finding:#?}");
    finding.recommends(&[
        "user.max_inotify_instances",
        "fs.inotify.max_user_instances",
        "Do not raise RLIMIT_NOFILE",
        "ENOSPC",
    ]);
}

/// node says "EMFILE: too many open files" for it.
#[test]
fn inotify_instances_of_node() {
    let incident = Node::without_instances();
    assert!(open_descriptors(incident.pid()) < 50);
    let before = incident.answers()["EMFILE"];
    let finding = the_only("inotify-instances", &findings(&incident.netns, WATCH));
    assert_eq!(finding.pid(), incident.pid());
    let failures = incident.answers()["EMFILE"] - before;
    let counted = finding.number("EMFILE from inotify_init");
    // It went on before and after the trace, too.
    assert!(
        counted > failures / 2 && counted <= failures,
        "{counted} of {failures}"
    );
    finding.recommends(&["max_inotify_instances", "Do not raise RLIMIT_NOFILE"]);
}

/// A user who has no watch left has instances and descriptors in plenty, and another error.
#[test]
fn not_inotify_watches() {
    let incident = Node::with_few_watches();
    let before = incident.answers()["ENOSPC"];
    let found = findings(&incident.netns, WATCH);
    assert!(found.is_empty(), "{found:#?}");
    let answers = incident.answers();
    assert!(answers["ENOSPC"] > before + 10, "{answers:?}");
    assert!(!answers.contains_key("EMFILE"), "{answers:?}");
}

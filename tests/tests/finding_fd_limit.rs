//! `fd-limit` and `fd-limit-inherited`: no descriptor left, and who set the limit.

use std::{thread, time::Duration};

use tcptrace_tests::{
    descriptor_limits,
    finding::{Diagnosis, Finding, findings, the_only},
    incident::{
        accept_loop::AcceptLoop, client_limit::ClientLimit, fd_limit::Supervised,
        file_table::FileTable,
    },
    open_descriptors,
};

const WATCH: Duration = Duration::from_secs(4);

/// supervisord's program is found, against its own count and `/proc`.
fn inherited(incident: &Supervised, limits: (u64, u64)) -> Finding {
    let (program, supervisord) = (incident.supervisord.program(), incident.supervisord.pid());
    for pid in [program, supervisord] {
        assert_eq!(descriptor_limits(pid), limits);
    }
    assert!(descriptor_limits(std::process::id()).0 > limits.0);
    assert!(incident.netns.time_wait_sockets() >= Supervised::TIME_WAIT);
    let before = incident.failures();
    let found = findings(&incident.netns, WATCH);
    let failures = incident.failures() - before;
    let finding = the_only("fd-limit-inherited", &found);
    assert_eq!((finding.pid(), finding.severity()), (program, "critical"));
    assert!(
        finding
            .sentence()
            .contains(&format!("supervisord[{supervisord}]")),
        "{finding:#?}"
    );
    for call in ["socket", "openat"] {
        // Each failure of the program is two of each call; it went on before and after the trace, too.
        let counted = finding.number(&format!("EMFILE from {call}"));
        assert!(
            counted > failures / 2 && counted <= 2 * failures,
            "{counted} of {failures}"
        );
    }
    assert_eq!(finding.number("limit_nofile_soft"), limits.0);
    assert_eq!(finding.number("limit_nofile_hard"), limits.1);
    assert_eq!(finding.number("open_fds"), open_descriptors(program) as u64);
    // TIME_WAIT is named only as what it is not.
    finding.recommends(&["minfds", "TIME_WAIT are not the cause"]);
    assert!(
        !finding.remedy().contains("tcp_tw_recycle=1"),
        "{finding:#?}"
    );
    finding
}

#[test]
fn supervisord_with_a_low_limit() {
    let finding = inherited(&Supervised::start(64, 64, 64), (64, 64));
    // What supervisord itself may not pass.
    finding.recommends(&["LimitNOFILE"]);
}

/// It raises its own soft limit from 64 to `minfds` first, and its program inherits that.
#[test]
fn supervisord_that_raises_its_limit() {
    let finding = inherited(&Supervised::start(64, 4096, 200), (200, 4096));
    finding.recommends(&["now 200"]);
}

/// A server is found whose accepts fail at `rate` a second.
fn accept_loop(mut incident: AcceptLoop, rate: std::ops::RangeInclusive<u64>) -> Finding {
    let pid = incident.pid();
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    incident.overrun();
    let found = diagnosis.findings();
    assert!(incident.waiting() > 0, "clients wait for ever");
    let finding = the_only("fd-limit", &found);
    assert_eq!((finding.pid(), finding.severity()), (pid, "critical"));
    let failures = finding.number("EMFILE from accept");
    let seconds = WATCH.as_secs();
    assert!(
        (rate.start() * seconds..=rate.end() * seconds).contains(&failures),
        "{failures} in {WATCH:?}"
    );
    let limits = descriptor_limits(pid);
    assert_eq!(finding.number("limit_nofile_soft"), limits.0);
    assert_eq!(finding.number("open_fds"), limits.0);
    finding
}

#[test]
fn http_server() {
    let finding = accept_loop(AcceptLoop::http_server(), 10_000..=5_000_000);
    assert!(finding.sentence().contains("processor"), "{finding:#?}");
    finding.recommends(&["RLIMIT_NOFILE"]);
}

#[test]
fn asyncio() {
    let finding = accept_loop(AcceptLoop::asyncio(), 50..=2_000);
    assert!(!finding.sentence().contains("processor"), "{finding:#?}");
}

#[test]
fn nginx_by_its_configuration() {
    let finding = accept_loop(AcceptLoop::nginx_by_configuration(), 1..=4);
    finding.recommends(&["worker_rlimit_nofile"]);
}

/// The master was started with the limit, and its worker has it from there: the knob is nginx's own all the same.
#[test]
fn nginx_by_ulimit() {
    let finding = accept_loop(AcceptLoop::nginx_by_ulimit(), 1..=4);
    finding.recommends(&["worker_rlimit_nofile"]);
}

/// Its listener's queue is full as well, which is no finding of its own: the worker would accept if it could.
#[test]
fn nginx_with_a_short_backlog() {
    let mut incident = AcceptLoop::nginx_with_a_short_backlog();
    let pid = incident.pid();
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    incident.overrun();
    let knocking = incident.knock(5);
    let found = diagnosis.findings();
    let overflows = incident.netns.counter("TcpExtListenOverflows");
    assert!(overflows >= 5, "{overflows} found it full");
    drop(knocking);
    let finding = the_only("fd-limit", &found);
    assert_eq!(finding.pid(), pid);
    finding.recommends(&["worker_rlimit_nofile"]);
}

#[test]
fn rsyslog() {
    accept_loop(AcceptLoop::rsyslog(), 10..=200);
}

/// One call fails, and no other ever will: the worker accepts no more.
#[test]
fn gunicorn() {
    let mut incident = AcceptLoop::gunicorn();
    let pid = incident.pid();
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    incident.overrun();
    let finding = the_only("fd-limit", &diagnosis.findings());
    assert_eq!((finding.pid(), finding.comm()), (pid, "gunicorn"));
    assert_eq!(finding.number("EMFILE from accept4"), 1);
    assert_eq!(
        finding.number("limit_nofile_soft"),
        AcceptLoop::GUNICORN_LIMIT
    );
}

/// One call fails for each client that is turned away; none of them waits.
#[test]
fn node() {
    const CLIENTS: u64 = 5;
    let mut incident = AcceptLoop::node();
    let pid = incident.pid();
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    for _ in 0..CLIENTS {
        incident.one_is_rejected();
    }
    let finding = the_only("fd-limit", &diagnosis.findings());
    assert_eq!((finding.pid(), incident.waiting()), (pid, 0));
    assert_eq!(finding.number("EMFILE from accept4"), CLIENTS);
}

/// The machine's table is full, and no process' own limit.
#[test]
fn machine() {
    let mut incident = FileTable::new();
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    let failures = incident.exhaust();
    let finding = the_only("fd-limit", &diagnosis.findings());
    assert_eq!(finding.pid(), incident.process.pid());
    assert_eq!(finding.number("ENFILE"), failures);
    finding.recommends(&["fs.file-max"]);
}

/// Clients that are refused by the server's own limit.
fn refused_by_the_server(incident: &ClientLimit) {
    let diagnosis = Diagnosis::start(&incident.netns, WATCH);
    let mut clients = vec![];
    while clients.len() < 2 * ClientLimit::CLIENTS {
        clients.extend(incident.connect(ClientLimit::CLIENTS));
        thread::yield_now();
    }
    let refused = clients.iter().filter(|(_, told)| !told.is_empty()).count();
    assert!(refused > ClientLimit::CLIENTS / 2, "{clients:?}");
    let found = diagnosis.findings();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn not_redis_that_refuses() {
    refused_by_the_server(&ClientLimit::redis());
}

#[test]
fn not_memcached_that_refuses() {
    refused_by_the_server(&ClientLimit::memcached());
}

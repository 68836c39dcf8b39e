//! `fd-limit` and `fd-limit-inherited`: no descriptor left, and who set the limit.

use std::time::Duration;

use tcptrace_tests::{
    Trace, descriptor_limits, incident::fd_limit::Supervised, open_descriptors,
};

/// Lets the incident go on for a while.
fn trace_for(incident: &Supervised, duration: Duration) -> tcptrace_tests::Ended {
    let trace = Trace::start(&incident.netns, &[]);
    std::thread::sleep(duration);
    trace.stop()
}

#[test]
fn supervisord_with_a_low_limit() {
    let incident = Supervised::start(64, 64, 64);
    let before = incident.failures();
    let ended = trace_for(&incident, Duration::from_secs(3));
    let after = incident.failures();
    let program = incident.supervisord.program();
    dbg!(after - before, descriptor_limits(program), descriptor_limits(incident.supervisord.pid()), open_descriptors(program));
    dbg!(ended.sum("fd_exhausted", "count"), &ended.summary, ended.process(program));
    dbg!(incident.netns.time_wait_sockets());
    let log = std::fs::read_to_string(incident.supervisord.log());
    dbg!(log);
}

#[test]
fn supervisord_that_raises_its_limit() {
    let incident = Supervised::start(64, 4096, 200);
    let program = incident.supervisord.program();
    dbg!(descriptor_limits(program), descriptor_limits(incident.supervisord.pid()), open_descriptors(program));
}

fn look(mut incident: tcptrace_tests::incident::accept_loop::AcceptLoop) {
    let trace = Trace::start(&incident.netns, &[]);
    incident.overrun();
    std::thread::sleep(Duration::from_secs(3));
    let ended = trace.stop();
    println!("{}", std::fs::read_to_string(incident.folder().join("log")).unwrap_or_default());
    println!("{}", ended.summary);
    let mut by = std::collections::BTreeMap::<_, i64>::new();
    for e in ended.of("fd_exhausted") {
        *by.entry(format!("{} {} {} {}/{}", e.pid(), e.text("comm"), e.text("syscall"), e.num("open_fds"), e.num("limit_soft"))).or_default() += e.num("count");
    }
    println!("{by:#?} clients {} {}", incident.clients.len(), incident.netns.ss(&["-Htln"]));
    println!("overflows {}", incident.netns.counter("TcpExtListenOverflows"));
}

use tcptrace_tests::incident::accept_loop::AcceptLoop;
#[test]
fn l_http() { look(AcceptLoop::http_server()); }
#[test]
fn l_asyncio() { look(AcceptLoop::asyncio()); }
#[test]
fn l_nginx1() { look(AcceptLoop::nginx_by_configuration()); }
#[test]
fn l_nginx2() { look(AcceptLoop::nginx_by_ulimit()); }
#[test]
fn l_gunicorn() { look(AcceptLoop::gunicorn()); }
#[test]
fn l_rsyslog() { look(AcceptLoop::rsyslog()); }

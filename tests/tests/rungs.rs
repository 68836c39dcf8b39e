//! Every moment that can be seen on several rungs, in one trace: what stands for the suite on a rung where there is no time for it.

use std::net::TcpStream;

use tcptrace_tests::{Ended, Netns, Trace, Traffic, events::Event, sockets, wait};

const TABLE: u64 = 10;
const CONNECTIONS: u64 = 40;
const PORTS: u64 = 4;
const FAILED: u64 = 10;

/// The rung that a hook got.
fn rung(ended: &Ended, hook: &str) -> String {
    let hooks = ended.start.field("hooks").as_array().unwrap();
    let own = hooks.iter().find(|own| own["hook"] == hook).unwrap();
    own["rung"].as_str().unwrap().to_owned()
}

fn of_process<'a>(ended: &'a Ended, kind: &str, process: &Traffic) -> Vec<&'a Event> {
    let mut events = ended.of(kind);
    events.retain(|event| event.pid() == process.pid());
    events
}

fn sum(events: &[&Event]) -> u64 {
    events.iter().map(|event| event.num("count") as u64).sum()
}

fn clients(netns: &Netns, port: u64) -> Vec<TcpStream> {
    let one = || sockets::connect(&format!("127.0.0.1:{port}")).unwrap();
    netns.run(|| (0..40).map(|_| one()).collect())
}

#[test]
fn every_moment() {
    let netns = Netns::new();
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", &TABLE.to_string());
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox").display().to_string();
    let start = || Traffic::start(&netns);
    let (mut master, mut worker, mut client) = (start(), start(), start());
    let port = master.ok("listen 127.0.0.1:0 64")[1];
    worker.ok(&format!("inbox {inbox}"));
    master.ok(&format!("hand_listener 0 {inbox}"));
    worker.ok("take_listener");
    let mut full = start();
    let full_port = full.ok("listen 127.0.0.1:0 128")[1];
    let makes_sockets = full.ok("uring")[0] == 1;
    full.ok("limit 12");
    let trace = Trace::start(&netns, &[]);

    // accept, and time_wait_overflow: of two who share a listener one accepts, and the client closes first.
    for at in 0..CONNECTIONS {
        client.ok(&format!("connect 127.0.0.1:{port}"));
        worker.ok("accept 0");
        client.ok(&format!("close {at}"));
        assert_eq!(worker.error(&format!("receive {at} 1")), "EOF");
        worker.ok(&format!("close {at}"));
    }
    let overflows = netns.counter("TcpExtTCPTimeWaitOverflow");
    // fd_exhausted: in a system call, and by io_uring.
    let waiting = clients(&netns, full_port);
    let by_call = full.ok("storm accept 40 0")[1] + full.ok("storm socket 30")[1];
    let mut by_uring = full.ok("storm accept_uring 40 0")[1];
    assert!(by_call > 50 && by_uring > 20, "{by_call} {by_uring}");
    if makes_sockets {
        by_uring += full.ok("storm socket_uring 30")[1];
    }
    drop(waiting);
    // connect_failed.
    netns.sysctl("net.ipv4.ip_local_port_range", "61000 61003");
    let mut held = start();
    held.ok(&format!("connect_many 127.0.0.1:{port} {PORTS}"));
    for _ in 0..FAILED {
        assert_eq!(
            held.error(&format!("connect 127.0.0.1:{port}")),
            "EADDRNOTAVAIL"
        );
    }
    // Those that were dropped overflow when their FIN is acknowledged.
    wait::until_true("every FIN is acknowledged", || {
        netns.ss(&["-Htn", "state", "fin-wait-1"]).is_empty()
    });
    let all_overflows = netns.counter("TcpExtTCPTimeWaitOverflow");
    let ended = trace.stop();

    // In emulation some kernels skip a run now and then, and count it.
    let skipped = |hook: &str| ended.hook(hook)["skipped"].as_u64().unwrap();
    let is_about = |what: &str, told: u64, counted: u64, skipped: u64| {
        assert!(
            told <= counted && told + skipped >= counted,
            "{what}: {told} told, {skipped} skipped, {counted} counted"
        );
    };
    let accepted = of_process(&ended, "connection", &worker);
    let unseen = skipped("inet_sock_set_state") + skipped("accept");
    is_about("accepted", accepted.len() as u64, CONNECTIONS, unseen);
    let by_accept = accepted
        .iter()
        .filter(|event| event.text("owner_source") == "accept")
        .count();
    is_about("by accept", by_accept as u64, CONNECTIONS, unseen);
    assert!(accepted.iter().all(|event| event.text("role") == "passive"));
    assert!(overflows >= CONNECTIONS - TABLE - 1, "{overflows}");
    assert_eq!(
        ended.sum("time_wait_overflow", "count"),
        all_overflows,
        "{:#?}",
        ended.of("time_wait_overflow")
    );
    let own = sum(&of_process(&ended, "time_wait_overflow", &client));
    let unseen = skipped("inet_sock_set_state") + skipped("time_wait_overflow");
    is_about("overflows", own, overflows, unseen + overflows / 100);
    let is_uring_seen = rung(&ended, "fd_exhausted") != "tracepoint";
    let expected = by_call + if is_uring_seen { by_uring } else { 0 };
    let told = sum(&of_process(&ended, "fd_exhausted", &full));
    is_about("EMFILE", told, expected, skipped("fd_exhausted"));
    assert_eq!(ended.process(full.pid())["fd_exhausted"], told);
    let failures = of_process(&ended, "connect_failed", &held);
    let unseen = skipped("inet_sock_set_state") + skipped("connect_failed");
    is_about("failures", failures.len() as u64, FAILED, unseen);
    for event in failures {
        assert_eq!(
            (event.text("errno"), event.field("syn_sent")),
            ("EADDRNOTAVAIL", &false.into()),
            "{event:?}"
        );
    }
}

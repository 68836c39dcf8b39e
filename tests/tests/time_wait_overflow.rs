//! Sockets that found the time-wait table full, against the kernel's `TCPTimeWaitOverflow`.

use tcptrace_tests::{Ended, Netns, Trace, Traffic, events::Event};

const TABLE: u64 = 10;

/// Closes `number` connections of `client`, one after the other, the client first.
fn churn(client: &mut Traffic, server: &mut Traffic, port: u64, number: u64, from: u64) {
    for at in from..from + number {
        client.ok(&format!("connect 127.0.0.1:{port}"));
        server.ok("accept 0");
        client.ok(&format!("close {at}"));
        assert_eq!(server.error(&format!("receive {at} 1")), "EOF");
        server.ok(&format!("close {at}"));
    }
}

/// No reset ends a TIME_WAIT before its time: on a busy machine a FIN is sent again when the other end is gone
/// (`net/ipv4/tcp_minisocks.c: tcp_timewait_state_process`).
fn keep_time_wait(netns: &Netns) {
    netns.sysctl("net.ipv4.tcp_rfc1337", "1");
}

fn overflows(ended: &Ended) -> Vec<&Event> {
    ended.of("time_wait_overflow")
}

/// Overflows with an owner, and without.
fn totals(ended: &Ended) -> (u64, u64) {
    let count = |known: bool| {
        overflows(ended)
            .iter()
            .filter(|event| (event.pid() != 0) == known)
            .map(|event| event.num("count") as u64)
            .sum()
    };
    (count(true), count(false))
}

#[test]
fn equals_the_kernels_count() {
    const CONNECTIONS: u64 = 200;
    let netns = Netns::new();
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", &TABLE.to_string());
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    let trace = Trace::start(&netns, &[]);
    churn(&mut client, &mut server, port, CONNECTIONS, 0);
    assert!(netns.time_wait_sockets() <= TABLE);
    let ended = trace.stop();
    let kernel = netns.counter("TcpExtTCPTimeWaitOverflow");
    assert!(kernel >= CONNECTIONS - TABLE - 1, "{kernel}");
    let (attributed, unattributed) = totals(&ended);
    assert_eq!(attributed + unattributed, kernel);
    assert!(
        attributed * 100 >= kernel * 99,
        "{attributed} of {kernel} attributed"
    );
    for event in overflows(&ended) {
        if event.pid() == 0 {
            assert!(
                event.field("conn_id").is_null() && event.field("laddr").is_null(),
                "{event:?}"
            );
            continue;
        }
        assert_eq!(
            (event.pid(), event.text("comm")),
            (client.pid(), "traffic"),
            "who closed first: {event:?}"
        );
        if !event.field("tw_max").is_null() {
            assert_eq!(event.num("tw_max") as u64, TABLE, "{event:?}");
            assert!(event.num("tw_count") as u64 >= TABLE, "{event:?}");
        }
        assert!(event.field("inferred").is_boolean());
        assert_eq!(event.num("netns") as u64, netns.inode());
    }
    assert_eq!(
        ended.process(client.pid())["time_wait_overflow"],
        attributed
    );
}

/// A table with room: no event, and each connection enters TIME_WAIT.
#[test]
fn none_when_there_is_room() {
    let netns = Netns::new();
    keep_time_wait(&netns);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    let trace = Trace::start(&netns, &["--events", "all"]);
    churn(&mut client, &mut server, port, 30, 0);
    let ended = trace.stop();
    assert_eq!(netns.counter("TcpExtTCPTimeWaitOverflow"), 0);
    assert!(overflows(&ended).is_empty());
    let entered = ended
        .of("state")
        .iter()
        .filter(|event| event.text("new") == "TIME_WAIT")
        .count();
    assert_eq!(entered as u64, netns.time_wait_sockets());
    assert_eq!(entered, 30);
}

/// What found no place is told as CLOSE, what found one as TIME_WAIT: the kernel's own trace says CLOSE for both.
#[test]
fn states_tell_them_apart() {
    let netns = Netns::new();
    keep_time_wait(&netns);
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", &TABLE.to_string());
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    let trace = Trace::start(&netns, &["--events", "all"]);
    churn(&mut client, &mut server, port, 50, 0);
    let held = netns.time_wait_sockets();
    let ended = trace.stop();
    let from_fin_wait = |new: &str| {
        let events = ended.of("state");
        events
            .iter()
            .filter(|event| event.text("old") == "FIN_WAIT2" && event.text("new") == new)
            .count() as u64
    };
    assert_eq!(from_fin_wait("TIME_WAIT"), held);
    assert_eq!(
        from_fin_wait("CLOSE"),
        netns.counter("TcpExtTCPTimeWaitOverflow")
    );
    let ends: Vec<_> = ended
        .of("connection")
        .iter()
        .filter(|event| event.text("end") == "time_wait_overflow")
        .copied()
        .collect();
    assert_eq!(ends.len() as u64, from_fin_wait("CLOSE"));
}

/// Resets while the table is full are no overflows.
#[test]
fn resets_while_full_are_none() {
    let netns = Netns::new();
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", &TABLE.to_string());
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    churn(&mut client, &mut server, port, TABLE + 5, 0);
    let before = netns.counter("TcpExtTCPTimeWaitOverflow");
    let trace = Trace::start(&netns, &[]);
    for at in TABLE + 5..TABLE + 55 {
        client.ok(&format!("connect 127.0.0.1:{port}"));
        server.ok("accept 0");
        client.ok(&format!("shutdown {at}"));
        server.ok(&format!("reset {at}"));
        client.ok(&format!("close {at}"));
    }
    let ended = trace.stop();
    let (attributed, unattributed) = totals(&ended);
    assert_eq!(
        attributed + unattributed,
        netns.counter("TcpExtTCPTimeWaitOverflow") - before
    );
    assert_eq!(attributed + unattributed, 0);
    assert_eq!(ended.process(client.pid())["resets_received"], 50);
}

/// Thousands of overflows by many processes at once, the server closing first: the sum is exact, and nearly all have an
/// owner.
#[test]
fn a_flood_of_them() {
    const CLIENTS: u64 = 4;
    const EACH: u64 = 1500;
    let netns = Netns::new();
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", "100");
    let mut server = Traffic::start(&netns);
    let port = server.ok("listen 127.0.0.1:0 1024")[1];
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Traffic::start(&netns)).collect();
    let trace = Trace::start(&netns, &[]);
    server.say(&format!("serve 0 {}", CLIENTS * EACH));
    for client in &mut clients {
        client.say(&format!("churn 127.0.0.1:{port} {EACH}"));
    }
    for process in clients.iter_mut().chain([&mut server]) {
        process.ok_heard();
    }
    netns.quiet();
    let ended = trace.stop();
    let kernel = netns.counter("TcpExtTCPTimeWaitOverflow");
    assert!(kernel > CLIENTS * EACH / 2, "{kernel}");
    let (attributed, unattributed) = totals(&ended);
    assert_eq!(attributed + unattributed, kernel);
    assert!(
        attributed * 100 >= kernel * 99,
        "{attributed} of {kernel} attributed"
    );
    for event in overflows(&ended).iter().filter(|event| event.pid() != 0) {
        assert_eq!(event.pid(), server.pid(), "who closed first: {event:?}");
    }
    assert_eq!(
        ended.process(server.pid())["time_wait_overflow"],
        attributed
    );
}

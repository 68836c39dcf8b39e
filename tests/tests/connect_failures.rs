//! Connects that fail: refused, timed out, and those that fail before a SYN leaves.

use std::net::TcpStream;

use tcptrace_tests::{Netns, Trace, Traffic, Veth, comm, events::Event, sockets};

/// A port on which nobody listens.
const DEAD: u16 = 4;

fn one_failure(events: &[Event]) -> &Event {
    let failures = tcptrace_tests::events::of(events, "connect_failed");
    assert_eq!(failures.len(), 1, "{events:#?}");
    failures[0]
}

fn refused(command: &str, address: &str) {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut client = Traffic::start(&netns);
    assert_eq!(
        client.error(&format!("{command} {address}:{DEAD}")),
        "ECONNREFUSED"
    );
    let attempts = netns.counter("TcpAttemptFails");
    assert_eq!(attempts, 1);
    let ended = trace.stop();
    let failure = one_failure(&ended.events);
    assert_eq!(failure.text("errno"), "ECONNREFUSED");
    assert_eq!(failure.field("syn_sent"), true);
    assert_eq!(
        (failure.pid(), failure.text("comm")),
        (client.pid(), &*comm(client.pid()))
    );
    assert_eq!(failure.text("owner_source"), "connect");
    assert_eq!(failure.text("raddr"), address.trim_matches(['[', ']']));
    assert_eq!(failure.num("rport"), i64::from(DEAD));
    assert!(failure.num("lport") > 0, "{failure:?}");
    assert!(
        (0..1_000_000).contains(&failure.num("connect_us")),
        "{failure:?}"
    );
    let row = ended.process(client.pid());
    assert_eq!(row["connect_failed"], 1, "{row}");
    // The reset that refused it: sent by no socket, received by the client's.
    let resets = ended.of("reset");
    let received: Vec<_> = resets
        .iter()
        .filter(|reset| reset.text("direction") == "received")
        .collect();
    assert_eq!(received.len(), 1, "{resets:#?}");
    assert_eq!(
        (received[0].pid(), received[0].num("conn_id")),
        (client.pid(), failure.num("conn_id"))
    );
    let sent = resets
        .iter()
        .filter(|reset| reset.text("direction") == "sent")
        .count();
    assert_eq!(sent as u64, netns.counter("TcpOutRsts"));
}

#[test]
fn refused_ipv4() {
    refused("connect", "127.0.0.1");
}

#[test]
fn refused_ipv6() {
    refused("connect", "[::1]");
}

#[test]
fn refused_nonblocking() {
    refused("connect_nonblocking", "127.0.0.1");
}

#[test]
fn a_connect_in_the_background_that_succeeds_is_no_failure() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    netns.run(|| {
        let listener = sockets::listen("127.0.0.1:0", 16).unwrap();
        sockets::connect_nonblocking(&listener.local_addr().unwrap().to_string()).unwrap();
    });
    let ended = trace.stop();
    assert!(ended.of("connect_failed").is_empty(), "{:#?}", ended.events);
    assert_eq!(ended.of("connection").len(), 2, "both ends");
}

#[test]
fn timed_out() {
    let veth = Veth::new();
    veth.near.sysctl("net.ipv4.tcp_syn_retries", "1");
    veth.near.sysctl("net.ipv4.tcp_syn_linear_timeouts", "0");
    veth.far.drop_incoming("tcp dport 4");
    let trace = Trace::start(&veth.near, &[]);
    let mut client = Traffic::start(&veth.near);
    assert_eq!(
        client.error(&format!("connect {}:{DEAD}", Veth::FAR)),
        "ETIMEDOUT"
    );
    let ended = trace.stop();
    let failure = one_failure(&ended.events);
    assert_eq!(
        (failure.text("errno"), failure.pid()),
        ("ETIMEDOUT", client.pid())
    );
    assert_eq!(failure.field("syn_sent"), true);
    // One retransmit after 1 s, given up 2 s later.
    assert!(
        (2_500_000..6_000_000).contains(&failure.num("connect_us")),
        "{failure:?}"
    );
}

#[test]
fn no_local_port_left() {
    const HELD: u64 = 4;
    const FAILED: u64 = 10;
    let netns = Netns::new();
    netns.sysctl("net.ipv4.ip_local_port_range", "50000 50003");
    let mut server = Traffic::start(&netns);
    server.ok("listen 127.0.0.1:9000 64");
    let trace = Trace::start(&netns, &["--events", "all"]);
    let mut client = Traffic::start(&netns);
    client.ok(&format!("connect_many 127.0.0.1:9000 {HELD}"));
    for _ in 0..FAILED {
        assert_eq!(client.error("connect 127.0.0.1:9000"), "EADDRNOTAVAIL");
    }
    assert_eq!(
        netns.counter("TcpActiveOpens"),
        HELD,
        "no SYN left for the others"
    );
    let ended = trace.stop();
    let failures = ended.of("connect_failed");
    assert_eq!(failures.len() as u64, FAILED);
    for failure in failures {
        assert_eq!(
            (failure.text("errno"), failure.field("syn_sent")),
            ("EADDRNOTAVAIL", &false.into())
        );
        assert_eq!(
            (failure.pid(), failure.text("comm")),
            (client.pid(), "traffic")
        );
        assert!(
            ["connect", "current"].contains(&failure.text("owner_source")),
            "{failure:?}"
        );
        assert_eq!(
            (failure.text("raddr"), failure.num("rport")),
            ("127.0.0.1", 9000),
            "{failure:?}"
        );
    }
    assert_eq!(ended.process(client.pid())["connect_failed"], FAILED);
    assert!(
        ended.of("connection").is_empty(),
        "a connect that sent no SYN is no connection"
    );
}

#[test]
fn no_route() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut client = Traffic::start(&netns);
    assert_eq!(client.error("connect 10.99.0.2:80"), "ENETUNREACH");
    assert_eq!(client.error("connect [fd00:99::2]:80"), "ENETUNREACH");
    let ended = trace.stop();
    let failures = ended.of("connect_failed");
    assert_eq!(failures.len(), 2, "{:#?}", ended.events);
    for failure in failures {
        assert_eq!(
            (failure.text("errno"), failure.field("syn_sent")),
            ("ENETUNREACH", &false.into())
        );
        assert_eq!(
            (failure.pid(), failure.text("owner_source")),
            (client.pid(), "current"),
            "{failure:?}"
        );
        assert_eq!(failure.num("netns") as u64, netns.inode());
    }
}

/// Each of many processes gets its own failures.
#[test]
fn many_processes_are_kept_apart() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut clients: Vec<_> = (0..8).map(|_| Traffic::start(&netns)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        for _ in 0..=at {
            client.say("connect 127.0.0.1:4");
        }
    }
    for (at, client) in clients.iter_mut().enumerate() {
        for _ in 0..=at {
            assert_eq!(client.hear(), "error ECONNREFUSED");
        }
    }
    let ended = trace.stop();
    for (at, client) in clients.iter().enumerate() {
        let failures = ended
            .of("connect_failed")
            .iter()
            .filter(|event| event.pid() == client.pid())
            .count();
        assert_eq!(failures, at + 1);
        assert_eq!(ended.process(client.pid())["connect_failed"], at + 1);
    }
}

/// A socket that is used again after a refusal, as clients do that try address after address.
#[test]
fn the_same_socket_again() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    netns.run(|| {
        let listener = sockets::listen("127.0.0.1:0", 16).unwrap();
        let socket = sockets::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let dead: std::net::SocketAddr = ([127, 0, 0, 1], DEAD).into();
        assert!(socket.connect(&dead.into()).is_err());
        socket
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        drop(TcpStream::from(socket));
    });
    let ended = trace.stop();
    assert_eq!(one_failure(&ended.events).num("rport"), i64::from(DEAD));
}

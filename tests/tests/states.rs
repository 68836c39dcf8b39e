//! Every transition of both ends of a connection, in order, with its addresses and its owner.

use std::{
    io::Read as _,
    net::{Shutdown, TcpStream},
    time::SystemTime,
};

use tcptrace_tests::{
    Netns, Trace, Traffic, comm,
    events::{Event, connection, connections, path, paths},
    sockets,
};

fn read_to_end(mut stream: &TcpStream) {
    let mut rest = vec![];
    stream.read_to_end(&mut rest).unwrap();
}

fn ended_twice(events: &[Event]) -> bool {
    let last = |name: &str| {
        connections(events)
            .values()
            .filter(|states| path(states).ends_with(name))
            .count()
    };
    last("TIME_WAIT") == 1 && last("LAST_ACK CLOSE") == 1 && last("LISTEN CLOSE") == 1
}

/// One connection over `listen`, closed first by the client; its addresses are shown as `address` of `family`.
fn open_and_close(listen: &str, connect: &str, family: &str, address: &str) {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "state"]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let before = now();
    let port = server.ok(&format!("listen {listen} 16"))[1];
    let client_port = client.ok(&format!("connect {connect}:{port}"))[1];
    server.ok("accept 0");
    client.ok("send 0 10");
    server.ok("receive 0 10");
    client.ok("close 0");
    assert_eq!(server.error("receive 0 1"), "EOF");
    server.ok("close 0");
    server.ok("close_listener 0");
    trace.wait_for("all ends closed", ended_twice);
    let (server_pid, client_pid) = (server.pid(), client.pid());
    let name = comm(server_pid);
    let ended = trace.stop();
    let after = now();

    let states = connection(&ended.events, "CLOSE SYN_SENT");
    assert_eq!(
        path(&states),
        "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT"
    );
    let (near, far) = (
        format!("{address}:{client_port}"),
        format!("{address}:{port}"),
    );
    // The kernel has chosen no port yet when the state changes to SYN_SENT.
    assert_eq!(states[0].endpoints(), (format!("{address}:0"), far.clone()));
    for event in &states {
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            (client_pid, "connect"),
            "{event:?}"
        );
    }
    for event in &states[1..] {
        assert_eq!(event.endpoints(), (near.clone(), far.clone()));
    }

    let states = connection(&ended.events, "LISTEN SYN_RECV");
    assert_eq!(
        path(&states),
        "LISTEN SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE"
    );
    let sources: Vec<_> = states
        .iter()
        .map(|event| event.text("owner_source"))
        .collect();
    assert_eq!(
        sources,
        ["inherited", "inherited", "accept", "accept", "accept"]
    );
    for event in &states {
        assert_eq!(
            (event.pid(), event.endpoints()),
            (server_pid, (far.clone(), near.clone()))
        );
    }

    let states = connection(&ended.events, "CLOSE LISTEN");
    assert_eq!(path(&states), "CLOSE LISTEN CLOSE");
    for event in &states {
        assert_eq!(
            (event.pid(), event.text("owner_source"), event.num("lport")),
            (server_pid, "listen", port as i64)
        );
        assert_eq!(event.num("rport"), 0);
    }

    assert_eq!(ended.events.len(), 12, "{:#?}", paths(&ended.events));
    for event in &ended.events {
        assert_eq!(event.text("family"), family);
        assert_eq!(event.num("netns") as u64, netns.inode());
        assert_eq!(event.num("uid"), 0);
        assert_eq!(event.text("comm"), name);
        assert!(
            (before..=after).contains(&event.time_ns()),
            "the time of {event:?} is not between the test's"
        );
    }
    for states in connections(&ended.events).values() {
        assert!(
            states[0].field("in_old_us").is_null(),
            "the first state's beginning was not seen: {:?}",
            states[0]
        );
        for pair in states.windows(2) {
            let between = (pair[1].time_ns() - pair[0].time_ns()) / 1000;
            let told = pair[1].num("in_old_us");
            assert!(
                (told - between).abs() <= 1,
                "{told} us in the old state, but {between} us between the events"
            );
        }
    }
    assert_eq!(ended.end.field("events")["state"], 12);
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64
}

#[test]
fn ipv4_open_and_close() {
    open_and_close("127.0.0.1:0", "127.0.0.1", "ipv4", "127.0.0.1");
}

#[test]
fn ipv6_open_and_close() {
    open_and_close("[::1]:0", "[::1]", "ipv6", "::1");
}

#[test]
fn ipv4_mapped_is_ipv4() {
    open_and_close(
        "[::ffff:127.0.0.1]:0",
        "[::ffff:127.0.0.1]",
        "ipv4",
        "127.0.0.1",
    );
}

#[test]
fn the_accepting_side_closes_first() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "state"]);
    netns.run(|| {
        let listener = sockets::listen("127.0.0.1:0", 16).unwrap();
        let (client, server) = sockets::pair(&listener);
        drop(server);
        read_to_end(&client);
    });
    trace.wait_for("all ends closed", ended_twice);
    let ended = trace.stop();
    let server = connection(&ended.events, "LISTEN SYN_RECV");
    assert_eq!(
        path(&server),
        "LISTEN SYN_RECV ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT"
    );
    let client = connection(&ended.events, "CLOSE SYN_SENT");
    assert_eq!(
        path(&client),
        "CLOSE SYN_SENT ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE"
    );
}

#[test]
fn half_closed_first() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "state"]);
    netns.run(|| {
        let listener = sockets::listen("127.0.0.1:0", 16).unwrap();
        let (client, server) = sockets::pair(&listener);
        client.shutdown(Shutdown::Write).unwrap();
        read_to_end(&server);
        server.shutdown(Shutdown::Write).unwrap();
        read_to_end(&client);
    });
    trace.wait_for("all ends closed", ended_twice);
    let ended = trace.stop();
    let client = connection(&ended.events, "CLOSE SYN_SENT");
    assert_eq!(
        path(&client),
        "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT"
    );
    assert!(client.iter().all(|event| event.pid() == std::process::id()));
}

/// Both FINs cross on the wire: one side at least goes through CLOSING, and into TIME_WAIT from there.
#[test]
fn both_close_at_once() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "state"]);
    netns.run(|| {
        let listener = sockets::listen("127.0.0.1:0", 16).unwrap();
        let (client, server) = sockets::pair(&listener);
        netns.drop_incoming("meta l4proto tcp");
        drop((client, server));
        netns.nft_clear();
    });
    let into_time_wait = |events: &[Event]| {
        events
            .iter()
            .filter(|event| event.kind() == "state" && event.text("new") == "TIME_WAIT")
            .count()
            == 2
    };
    trace.wait_for("both in TIME_WAIT", into_time_wait);
    let ended = trace.stop();
    let closing = paths(&ended.events)
        .into_iter()
        .filter(|(path, _)| path.ends_with("FIN_WAIT1 CLOSING TIME_WAIT"));
    assert!(closing.count() > 0, "{:#?}", paths(&ended.events));
    assert!(netns.time_wait_sockets() >= 1);
}

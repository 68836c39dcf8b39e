//! The record of a connection at its end, against what the two ends of it did and counted.

use std::time::Instant;

use tcptrace_tests::{Ended, Netns, Trace, Traffic, Veth, events::Event};

struct Ends {
    client: Traffic,
    server: Traffic,
    port: u64,
}

fn ends(client: &Netns, server: &Netns, address: &str) -> Ends {
    let (client, mut server) = (Traffic::start(client), Traffic::start(server));
    let port = server.ok(&format!("listen {address}:0 64"))[1];
    Ends {
        client,
        server,
        port,
    }
}

impl Ends {
    fn connect(&mut self, address: &str) {
        self.client.ok(&format!("connect {address}:{}", self.port));
        self.server.ok("accept 0");
    }

    /// The records of the client's and of the server's end.
    fn records<'a>(&self, ended: &'a Ended) -> (&'a Event, &'a Event) {
        let records = ended.of("connection");
        let of = |pid| {
            let mut found = records.iter().filter(|event| event.pid() == pid);
            let record = found
                .next()
                .unwrap_or_else(|| panic!("no record of {pid}: {:#?}", ended.events));
            assert!(found.next().is_none(), "two records: {records:#?}");
            *record
        };
        (of(self.client.pid()), of(self.server.pid()))
    }
}

/// One connection within a namespace, which `act` uses and ends.
fn one(act: impl Fn(&mut Ends)) -> (Ended, Ends, Netns) {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut ends = ends(&netns, &netns, "127.0.0.1");
    ends.connect("127.0.0.1");
    act(&mut ends);
    let both = |events: &[Event]| {
        events
            .iter()
            .filter(|event| event.kind() == "connection")
            .count()
            >= 2
    };
    trace.wait_for("both ends' records", both);
    (trace.stop(), ends, netns)
}

fn exchange(ends: &mut Ends) {
    ends.client.ok("send 0 70000");
    ends.server.ok("receive 0 70000");
    ends.server.ok("send 0 300");
    ends.client.ok("receive 0 300");
}

#[test]
fn closed_by_either_side() {
    let began = Instant::now();
    let (ended, ends, netns) = one(|ends| {
        exchange(ends);
        ends.client.ok("close 0");
        assert_eq!(ends.server.error("receive 0 1"), "EOF");
        ends.server.ok("close 0");
    });
    let whole = began.elapsed().as_micros() as i64;
    let (client, server) = ends.records(&ended);
    assert_eq!(
        (client.text("end"), client.text("role")),
        ("closed_local", "active")
    );
    assert_eq!(
        (server.text("end"), server.text("role")),
        ("closed_remote", "passive")
    );
    assert_eq!(
        (client.num("bytes_sent"), client.num("bytes_received")),
        (70_000, 300)
    );
    assert_eq!(
        (server.num("bytes_sent"), server.num("bytes_received")),
        (300, 70_000)
    );
    assert_eq!(
        (client.text("owner_source"), server.text("owner_source")),
        ("connect", "accept")
    );
    for record in [client, server] {
        assert!(record.field("errno").is_null(), "{record:?}");
        assert_eq!(record.num("segs_retrans"), 0);
        assert_eq!(record.num("netns") as u64, netns.inode());
        let duration = record.num("duration_us");
        assert!(
            (1..=whole).contains(&duration),
            "{duration} of {whole}: {record:?}"
        );
        assert!(
            (0..duration).contains(&record.num("connect_us")),
            "{record:?}"
        );
        assert!((1..duration).contains(&record.num("srtt_us")), "{record:?}");
        let states = record.field("us_in_state").as_object().unwrap();
        let sum: i64 = states.values().map(|us| us.as_i64().unwrap()).sum();
        assert!(
            (sum - duration).abs() <= states.len() as i64,
            "the states' times are the whole: {record:?}"
        );
    }
    let states = |record: &Event| {
        let mut names: Vec<_> = record
            .field("us_in_state")
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        states(client),
        ["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "SYN_SENT"]
    );
    assert_eq!(
        states(server),
        ["CLOSE_WAIT", "ESTABLISHED", "LAST_ACK", "SYN_RECV"]
    );
    assert_eq!(ended.process(ends.client.pid())["connections"], 1);
    assert_eq!(ended.process(ends.server.pid())["connections"], 1);
}

#[test]
fn reset_by_either_side() {
    let (ended, ends, _netns) = one(|ends| {
        exchange(ends);
        ends.server.ok("reset 0");
    });
    let (client, server) = ends.records(&ended);
    assert_eq!(
        (client.text("end"), client.text("errno")),
        ("reset_remote", "ECONNRESET")
    );
    assert_eq!(server.text("end"), "reset_local");
    assert_eq!(
        (client.num("bytes_sent"), client.num("bytes_received")),
        (70_000, 300)
    );
    assert_eq!(
        (server.num("bytes_sent"), server.num("bytes_received")),
        (300, 70_000)
    );
}

#[test]
fn closed_with_data_unread() {
    let (ended, ends, _netns) = one(|ends| {
        ends.client.ok("send 0 100");
        ends.server.ok("close 0");
    });
    let (client, server) = ends.records(&ended);
    assert_eq!(
        (client.text("end"), server.text("end")),
        ("reset_remote", "reset_local")
    );
}

#[test]
fn refused() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut client = Traffic::start(&netns);
    assert_eq!(client.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    let ended = trace.stop();
    let records = ended.of("connection");
    assert_eq!(records.len(), 1);
    let record = records[0];
    assert_eq!(
        (record.text("end"), record.text("errno"), record.pid()),
        ("refused", "ECONNREFUSED", client.pid())
    );
    assert_eq!(
        (record.num("bytes_sent"), record.num("bytes_received")),
        (0, 0)
    );
    assert!(
        record.field("connect_us").is_null() && record.field("srtt_us").is_null(),
        "{record:?}"
    );
    assert_eq!(record.text("role"), "active");
    assert_eq!(
        (record.text("laddr"), record.num("rport")),
        ("127.0.0.1", 4)
    );
    assert!(record.num("lport") > 0);
}

/// The peer answers no more, and the process has set a limit to that.
#[test]
fn timed_out() {
    let veth = Veth::new();
    let mut ends = ends(&veth.near, &veth.far, Veth::FAR);
    let trace = Trace::start(&veth.near, &[]);
    ends.connect(Veth::FAR);
    ends.client.ok("user_timeout 0 600");
    veth.far.drop_incoming("meta l4proto tcp");
    ends.client.ok("send 0 100");
    assert_eq!(ends.client.error("receive 0 1"), "ETIMEDOUT");
    let ended = trace.stop();
    let records = ended.of("connection");
    assert_eq!(records.len(), 1);
    let record = records[0];
    assert_eq!(
        (record.text("end"), record.text("errno"), record.pid()),
        ("timed_out", "ETIMEDOUT", ends.client.pid())
    );
    assert_eq!(
        record.num("segs_retrans") as u64,
        veth.near.counter("TcpRetransSegs"),
        "{record:?}"
    );
    assert_eq!(record.num("bytes_sent"), 100);
}

/// Nobody answers for the address: an error of its own, which `errno` names.
#[test]
fn failed_for_another_reason() {
    let veth = Veth::new();
    veth.near
        .sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "100");
    let trace = Trace::start(&veth.near, &[]);
    let mut client = Traffic::start(&veth.near);
    assert_eq!(client.error("connect 10.99.0.77:80"), "EHOSTUNREACH");
    let ended = trace.stop();
    let record = ended.first("connection");
    assert_eq!(
        (record.text("end"), record.text("errno"), record.pid()),
        ("failed", "EHOSTUNREACH", client.pid())
    );
    let failure = ended.first("connect_failed");
    assert_eq!(
        (failure.text("errno"), failure.pid()),
        ("EHOSTUNREACH", client.pid())
    );
}

/// Each byte counts once, though many were sent again: every tenth packet is dropped.
#[test]
fn bytes_and_retransmits_over_a_lossy_path() {
    let veth = Veth::new();
    veth.far
        .drop_incoming("tcp flags & syn == 0 numgen inc mod 10 == 3");
    let mut ends = ends(&veth.near, &veth.far, Veth::FAR);
    let (near, far) = (Trace::start(&veth.near, &[]), Trace::start(&veth.far, &[]));
    ends.connect(Veth::FAR);
    ends.client.say("send 0 3000000");
    ends.server.ok("receive 0 3000000");
    ends.client.hear();
    ends.client.ok("close 0");
    ends.server.ok("close 0");
    for (trace, sent, received, netns) in [
        (near, 3_000_000, 0, &veth.near),
        (far, 0, 3_000_000, &veth.far),
    ] {
        trace.wait_for("the record", |events| {
            events.iter().any(|event| event.kind() == "connection")
        });
        let ended = trace.stop();
        let record = ended.first("connection");
        assert_eq!(
            (record.num("bytes_sent"), record.num("bytes_received")),
            (sent, received),
            "{record:?}"
        );
        assert_eq!(
            record.num("segs_retrans") as u64,
            netns.counter("TcpRetransSegs"),
            "{record:?}"
        );
    }
    assert!(veth.near.counter("TcpRetransSegs") > 0);
}

/// From before the trace: bytes of its whole life, but no duration.
#[test]
fn of_a_connection_from_before() {
    let netns = Netns::new();
    let mut ends = ends(&netns, &netns, "127.0.0.1");
    ends.connect("127.0.0.1");
    ends.client.ok("send 0 5000");
    ends.server.ok("receive 0 5000");
    let trace = Trace::start(&netns, &[]);
    exchange(&mut ends);
    ends.client.ok("close 0");
    assert_eq!(ends.server.error("receive 0 1"), "EOF");
    ends.server.ok("close 0");
    let ended = trace.stop();
    let (client, server) = ends.records(&ended);
    assert_eq!(
        (client.num("bytes_sent"), client.num("bytes_received")),
        (75_000, 300)
    );
    assert_eq!(
        (server.num("bytes_sent"), server.num("bytes_received")),
        (300, 75_000)
    );
    for record in [client, server] {
        assert!(
            record.field("duration_us").is_null() && record.field("connect_us").is_null(),
            "{record:?}"
        );
        assert_eq!(record.text("owner_source"), "iter");
    }
}

/// Listeners have no record.
#[test]
fn a_listener_has_none() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "all"]);
    let mut server = Traffic::start(&netns);
    server.ok("listen 127.0.0.1:0 16");
    server.ok("close_listener 0");
    let ended = trace.stop();
    assert_eq!(ended.of("state").len(), 2);
    assert!(ended.of("connection").is_empty());
}

//! Accepts that no hook sees: on the rung `tracepoint` those of io_uring. The process that accepted is not the one that
//! listens, so the listener's owner would be the wrong one.

use tcptrace_tests::{Netns, Trace, Traffic, Veth, events::Event};

/// A listener of one process, taken by another one, the worker, that accepts by io_uring.
struct Server {
    master: Traffic,
    worker: Traffic,
    port: u64,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(netns: &Netns, address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inbox = folder.path().join("inbox").display().to_string();
        let (mut master, mut worker) = (Traffic::start(netns), Traffic::start(netns));
        let port = master.ok(&format!("listen {address}:0 16"))[1];
        worker.ok(&format!("inbox {inbox}"));
        master.ok(&format!("hand_listener 0 {inbox}"));
        worker.ok("take_listener");
        worker.ok("uring");
        Self {
            master,
            worker,
            port,
            _folder: folder,
        }
    }

    /// The owner that may be shown for the server's end of a connection, from the time it was accepted.
    fn is_right(&self, event: &Event, found: &str) -> bool {
        match event.text("owner_source") {
            "unknown" => event.pid() == 0,
            source => source == found && event.pid() == self.worker.pid(),
        }
    }

    /// Whether an event is of a connection at the server's port: a listener may reset what is none any more.
    fn is_of_it(&self, event: &Event) -> bool {
        event.kind() != "lost"
            && event.num("lport") == self.port as i64
            && !event.field("conn_id").is_null()
    }
}

/// How a trace learns who accepted by io_uring: it sees it where a function is hooked, else a walk or the close tells.
fn found(trace: &Trace) -> &'static str {
    let start = &trace.so_far()[0];
    let hooks = start.field("hooks").as_array().unwrap();
    let accept = hooks.iter().find(|hook| hook["hook"] == "accept").unwrap();
    if accept["rung"] == "tracepoint" {
        "iter"
    } else {
        "accept"
    }
}

/// While the connection is open and retransmits: the worker or nobody, and soon the worker.
#[test]
fn is_never_the_listeners() {
    let veth = Veth::new();
    // Of before the trace, and of while it runs.
    for is_before in [true, false] {
        let (mut server, trace);
        if is_before {
            server = Server::start(&veth.near, Veth::NEAR);
            trace = Trace::start(&veth.near, &["--events", "all"]);
        } else {
            trace = Trace::start(&veth.near, &["--events", "all"]);
            server = Server::start(&veth.near, Veth::NEAR);
        }
        let found = found(&trace);
        let mut client = Traffic::start(&veth.far);
        client.ok(&format!("connect {}:{}", Veth::NEAR, server.port));
        server.worker.ok("accept_uring 0");
        let accepted = trace.so_far().len();
        let before = veth.near.counter("TcpRetransSegs");
        veth.far.drop_incoming("meta l4proto tcp");
        server.worker.ok("send 0 100");
        let worker = server.worker.pid();
        trace.wait_for("retransmits of the worker", |events| {
            events
                .iter()
                .filter(|event| event.kind() == "retransmit" && event.pid() == worker)
                .count()
                >= 2
        });
        veth.far.nft_clear();
        client.ok("receive 0 100");
        client.ok("close 0");
        server.worker.ok("close 0");
        veth.near.quiet();
        let retransmitted = veth.near.counter("TcpRetransSegs") - before;
        let ended = trace.stop();
        for event in ended.events.iter().filter(|event| server.is_of_it(event)) {
            let late =
                event.text("owner_source") != "inherited" && event.text("owner_source") != "listen";
            if late {
                assert!(server.is_right(event, found), "{event:?}");
            } else {
                assert_eq!(event.pid(), server.master.pid(), "{event:?}");
                let is_handshake = event.kind() == "state"
                    && ["CLOSE", "LISTEN", "SYN_RECV"].contains(&event.text("old"));
                assert!(is_handshake, "accepted, yet the listener's: {event:?}");
            }
        }
        assert!(accepted < ended.events.len());
        assert_eq!(ended.sum("retransmit", "segs"), retransmitted);
        // The totals are where the events are.
        let of = |pid: u32| -> u64 {
            let events = ended.of("retransmit").into_iter();
            let own = events.filter(|event| event.pid() == pid);
            own.map(|event| event.num("segs") as u64).sum()
        };
        assert_eq!(ended.process(worker)["retransmit_segs"], of(worker));
        assert_eq!(of(server.master.pid()), 0);
        let rows = ended.end.field("processes").as_array().unwrap();
        let unknown = rows.iter().find(|row| row["pid"].is_null());
        let unknown = unknown.map_or(0, |row| row["retransmit_segs"].as_u64().unwrap());
        assert_eq!(unknown, of(0));
        assert_eq!(ended.process(worker)["connections"], 1);
    }
}

/// One that is closed before any walk: who closes it held it.
#[test]
fn is_its_closers() {
    for (close, events) in [
        ("close 0", &["connection"][..]),
        ("close_uring 0", &["connection"]),
        ("shutdown 0", &["connection"]),
        ("reset 0", &["connection", "reset"]),
        ("exit", &["connection"]),
    ] {
        let netns = Netns::new();
        let trace = Trace::start(&netns, &[]);
        let found = found(&trace);
        let mut server = Server::start(&netns, "127.0.0.1");
        let mut client = Traffic::start(&netns);
        client.ok(&format!("connect 127.0.0.1:{}", server.port));
        server.worker.ok("accept_uring 0");
        if close == "exit" {
            server.worker.say(close);
        } else {
            server.worker.ok(close);
        }
        client.ok("close 0");
        trace.wait_for("the connection ends", |events| {
            events
                .iter()
                .any(|event| event.kind() == "connection" && server.is_of_it(event))
        });
        let ended = trace.stop();
        for kind in events {
            let mut own = ended.of(kind);
            own.retain(|event| server.is_of_it(event));
            assert_eq!(own.len(), 1, "{close}: {own:#?}");
            assert_eq!(
                (own[0].pid(), own[0].text("owner_source")),
                (server.worker.pid(), found),
                "{close}: {own:#?}"
            );
        }
        assert_eq!(ended.process(server.worker.pid())["connections"], 1);
    }
}

/// One that its peer resets: nobody that runs then need be its holder.
#[test]
fn is_not_the_peers() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "connection,reset"]);
    let found = found(&trace);
    let mut server = Server::start(&netns, "127.0.0.1");
    let mut client = Traffic::start(&netns);
    for _ in 0..20 {
        client.ok(&format!("connect 127.0.0.1:{}", server.port));
        server.worker.ok("accept_uring 0");
    }
    for at in 0..20 {
        client.ok(&format!("reset {at}"));
    }
    let ended = trace.stop();
    let own: Vec<_> = ended
        .events
        .iter()
        .filter(|event| server.is_of_it(event))
        .collect();
    assert_eq!(own.len(), 40, "{own:#?}");
    for event in own {
        assert!(server.is_right(event, found), "{event:?}");
    }
}

/// An owner that is not known passes no filter for a process; once a walk finds it, it does.
#[test]
fn passes_a_filter_once_found() {
    let veth = Veth::new();
    let mut server = Server::start(&veth.near, Veth::NEAR);
    let worker = server.worker.pid();
    let trace = Trace::start(&veth.near, &["--pid", &worker.to_string()]);
    let mut client = Traffic::start(&veth.far);
    client.ok(&format!("connect {}:{}", Veth::NEAR, server.port));
    server.worker.ok("accept_uring 0");
    veth.far.drop_incoming("meta l4proto tcp");
    server.worker.ok("send 0 100");
    trace.wait_for("retransmits of the worker", |events| {
        events.iter().any(|event| event.kind() == "retransmit")
    });
    let ended = trace.stop();
    assert!(
        ended.events.iter().all(|event| event.pid() == worker),
        "{:#?}",
        ended.events
    );
}

//! Sockets that change hands: passed on by fork and SCM_RIGHTS, and left behind by a process that ends.

use tcptrace_tests::{
    Killed, Trace, Traffic, Veth,
    events::{of, retransmits_of},
};

/// A connection, of before the trace or of while it runs, and how its owner is known then.
struct Connected {
    veth: Veth,
    client: Traffic,
    _server: Traffic,
    trace: Trace,
    source: &'static str,
}

impl Connected {
    fn both() -> [Self; 2] {
        [Self::new(true), Self::new(false)]
    }

    fn new(is_before: bool) -> Self {
        let veth = Veth::new();
        let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
        let port = server.ok("listen 10.99.0.2:0 16")[1];
        let mut connect = || client.ok(&format!("connect {}:{port}", Veth::FAR));
        let start = || Trace::start(&veth.near, &["--events", "all"]);
        let (trace, source);
        if is_before {
            connect();
            (trace, source) = (start(), "iter");
        } else {
            (trace, source) = (start(), "connect");
            connect();
        }
        server.ok("accept 0");
        Self {
            veth,
            client,
            _server: server,
            trace,
            source,
        }
    }
}

/// The child that holds the socket too is not its owner as long as the parent lives; then it is.
#[test]
fn fork_and_exit_of_the_parent() {
    for connected in Connected::both() {
        let Connected {
            veth,
            mut client,
            trace,
            source,
            ..
        } = connected;
        veth.far.drop_incoming("meta l4proto tcp");
        let child = client.ok("fork")[0] as u32;
        let _ended = Killed(child);
        client.ok("send 0 100");
        trace.wait_for("retransmits of the parent", |events| {
            retransmits_of(events, client.pid()) >= 2
        });
        assert_eq!(retransmits_of(&trace.so_far(), child), 0);
        let parent = client.pid();
        client.exit();
        trace.wait_for("retransmits of the child", |events| {
            retransmits_of(events, child) >= 1
        });
        let ended = trace.stop();
        let sources = [(parent, source), (child, "iter")];
        for event in ended.of("retransmit") {
            let found = (event.pid(), event.text("owner_source"));
            assert!(sources.contains(&found), "{event:?}");
        }
    }
}

/// Passed with SCM_RIGHTS: stays with the process that connected while that lives, then belongs to the one that has it.
#[test]
fn passed_to_another_process() {
    for connected in Connected::both() {
        let Connected {
            veth,
            mut client,
            trace,
            source,
            ..
        } = connected;
        let folder = tempfile::tempdir().unwrap();
        let inbox = folder.path().join("inbox").display().to_string();
        let mut receiver = Traffic::start(&veth.near);
        receiver.ok(&format!("inbox {inbox}"));
        client.ok(&format!("hand 0 {inbox}"));
        receiver.ok("take");
        veth.far.drop_incoming("meta l4proto tcp");
        receiver.ok("send 0 100");
        trace.wait_for("retransmits of the one that connected", |events| {
            retransmits_of(events, client.pid()) >= 2
        });
        let sender = client.pid();
        client.exit();
        trace.wait_for("retransmits of the one that has it", |events| {
            retransmits_of(events, receiver.pid()) >= 1
        });
        let ended = trace.stop();
        let sources = [(sender, source), (receiver.pid(), "iter")];
        for event in ended.of("retransmit") {
            let found = (event.pid(), event.text("owner_source"));
            assert!(sources.contains(&found), "{event:?}");
        }
    }
}

/// The process is gone and the kernel finishes the connection: it keeps its last owner, and its name.
#[test]
fn orphan() {
    for connected in Connected::both() {
        let Connected {
            veth,
            mut client,
            trace,
            source,
            ..
        } = connected;
        veth.far.drop_incoming("meta l4proto tcp");
        client.ok("send 0 100");
        let pid = client.pid();
        client.exit();
        let before = trace.so_far().len();
        trace.wait_for("retransmits after the exit", |events| {
            retransmits_of(&events[before..], pid) >= 3
        });
        veth.far.nft_clear();
        trace.wait_for("the connection ends its way", |events| {
            of(events, "state")
                .iter()
                .any(|event| event.text("new") == "FIN_WAIT2")
        });
        let ended = trace.stop();
        for event in ended.events {
            assert_eq!(
                (event.pid(), event.text("comm"), event.text("owner_source")),
                (pid, "traffic", source),
                "{event:?}"
            );
        }
    }
}

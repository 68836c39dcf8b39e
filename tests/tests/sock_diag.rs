//! Sockets from before the trace, where the kernel's iterator is refused: sock_diag and `/proc` find their owners.

use std::collections::BTreeMap;

use tcptrace_tests::{
    Netns, Trace, Traffic, Veth,
    events::{Event, of},
    wait,
};

const REFUSE: [&str; 2] = ["--refuse", "iter"];

/// Every event of `events` has this owner, found at the start.
fn assert_found<'a>(events: impl IntoIterator<Item = &'a Event>, pid: impl Fn(&Event) -> u32) {
    for event in events {
        assert_eq!(
            (event.pid(), event.text("owner_source"), event.text("comm")),
            (pid(event), "iter", "traffic"),
            "{event:?}"
        );
    }
}

/// Several processes with connections of both families from before; everything is dropped for a while, then they end.
#[test]
fn connections_from_before_keep_their_process() {
    const PROCESSES: usize = 4;
    const EACH: usize = 50;
    let veth = Veth::new();
    let mut server = Traffic::start(&veth.far);
    server.ok("limit 4096");
    let ports = [
        server.ok("listen 10.99.0.2:0 4096")[1],
        server.ok("listen [fd00:99::2]:0 4096")[1],
    ];
    let mut clients: Vec<_> = (0..PROCESSES).map(|_| Traffic::start(&veth.near)).collect();
    let mut owner = BTreeMap::new();
    for client in &mut clients {
        for (listener, port) in ports.iter().enumerate() {
            let address = [Veth::FAR, "[fd00:99::2]"][listener];
            for own in client.ok(&format!("connect_many {address}:{port} {EACH}")) {
                owner.insert((own as i64, *port as i64), client.pid());
            }
            server.ok(&format!("accept_many {listener} {EACH}"));
        }
    }
    assert_eq!(owner.len(), 2 * PROCESSES * EACH);
    let before = veth.near.counter("TcpRetransSegs");
    let trace = Trace::start(&veth.near, &REFUSE);
    veth.far.drop_incoming("meta l4proto tcp");
    for client in &mut clients {
        client.ok("send_all 100");
    }
    trace.wait_for("every connection retransmits", |events| {
        let mut ends: Vec<_> = of(events, "retransmit")
            .iter()
            .map(|event| (event.num("lport"), event.num("rport")))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        ends.len() == owner.len()
    });
    veth.far.nft_clear();
    wait::until_true("everything is acknowledged", || {
        veth.near
            .ss(&["-Htn"])
            .lines()
            .all(|line| line.split_whitespace().nth(2) == Some("0"))
    });
    for client in &mut clients {
        client.ok("close_all");
    }
    server.ok("close_all");
    veth.near.quiet();
    let ended = trace.stop();
    let expected = |event: &Event| owner[&(event.num("lport"), event.num("rport"))];
    assert_found(ended.of("retransmit"), expected);
    assert_found(ended.of("connection"), expected);
    assert_eq!(ended.of("connection").len(), owner.len());
    assert_eq!(
        ended.sum("retransmit", "segs"),
        veth.near.counter("TcpRetransSegs") - before
    );
    assert!(
        ended
            .of("retransmit")
            .iter()
            .all(|event| event.num("rto_us") > 0),
        "how long a jiffy is is known without the iterator"
    );
    for client in &clients {
        assert_eq!(ended.process(client.pid())["connections"], 2 * EACH as u64);
    }
    let hooks = ended.start.field("hooks").as_array().unwrap();
    let task_file = hooks.iter().find(|hook| hook["hook"] == "task_file");
    assert_eq!(task_file.unwrap()["rung"], "sock_diag");
}

/// A listener from before, with connections that waited in its queue and such as come later; then it closes.
#[test]
fn a_listener_from_before_passes_on_its_owner() {
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    client.ok(&format!("connect_many 127.0.0.1:{port} 3"));
    let trace = Trace::start(&netns, &[&REFUSE[..], &["--events", "all"]].concat());
    client.ok(&format!("connect_many 127.0.0.1:{port} 3"));
    server.ok("accept_many 0 4");
    server.ok("close_listener 0");
    client.ok("close_all");
    server.ok("close_all");
    netns.quiet();
    let ended = trace.stop();
    let of_server = |source| {
        ended
            .of("connection")
            .into_iter()
            .filter(|event| event.num("lport") == port as i64)
            .filter(|event| event.text("owner_source") == source)
            .inspect(|event| assert_eq!(event.pid(), server.pid(), "{event:?}"))
            .count()
    };
    assert_eq!((of_server("accept"), of_server("inherited")), (4, 2));
    let of_client = |source| {
        ended
            .of("connection")
            .into_iter()
            .filter(|event| event.num("rport") == port as i64)
            .filter(|event| event.text("owner_source") == source)
            .inspect(|event| assert_eq!(event.pid(), client.pid(), "{event:?}"))
            .count()
    };
    assert_eq!((of_client("iter"), of_client("connect")), (3, 3));
    // One row each: a process that user space found is the same to the kernel programs when it acts.
    for pid in [client.pid(), server.pid()] {
        assert_eq!(ended.process(pid)["connections"], 6);
    }
}

/// A connection from before is handed to another process: it stays with the one that had it while that lives, and then
/// belongs to the one that has it.
#[test]
fn passed_on_and_the_owner_ends() {
    let veth = Veth::new();
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 16")[1];
    client.ok(&format!("connect {}:{port}", Veth::FAR));
    server.ok("accept 0");
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("inbox").display().to_string();
    let mut receiver = Traffic::start(&veth.near);
    receiver.ok(&format!("inbox {inbox}"));
    let trace = Trace::start(&veth.near, &REFUSE);
    client.ok(&format!("hand 0 {inbox}"));
    receiver.ok("take");
    veth.far.drop_incoming("meta l4proto tcp");
    receiver.ok("send 0 100");
    let retransmits = |events: &[Event], pid| {
        of(events, "retransmit")
            .iter()
            .filter(|event| event.pid() == pid)
            .count()
    };
    let (first, second) = (client.pid(), receiver.pid());
    trace.wait_for("retransmits of the first", |events| {
        retransmits(events, first) >= 2
    });
    client.exit();
    trace.wait_for("retransmits of the second", |events| {
        retransmits(events, second) >= 1
    });
    let ended = trace.stop();
    let pids: Vec<_> = ended.of("retransmit").iter().map(|it| it.pid()).collect();
    assert!(
        pids.is_sorted_by_key(|pid| *pid == second) && !pids.contains(&0),
        "{pids:?}"
    );
    assert_found(ended.of("retransmit"), Event::pid);
}

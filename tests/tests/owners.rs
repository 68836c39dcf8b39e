//! The owner of a socket: who connected, accepted, listened, or held it when the trace began.

use std::collections::BTreeMap;

use tcptrace_tests::{
    Netns, Trace, Traffic, Veth,
    events::{Event, connections, of, retransmits_of},
    need_program, wait,
};

/// 16 processes with 200 connections each from before the trace; then everything is dropped for a while.
#[test]
fn connections_from_before_keep_their_process() {
    const PROCESSES: usize = 16;
    const EACH: usize = 200;
    let veth = Veth::new();
    let mut server = Traffic::start(&veth.far);
    server.ok("limit 8192");
    let port = server.ok("listen 10.99.0.2:0 4096")[1];
    let mut clients: Vec<_> = (0..PROCESSES).map(|_| Traffic::start(&veth.near)).collect();
    let mut owner = BTreeMap::new();
    for client in &mut clients {
        for port in client.ok(&format!("connect_many {}:{port} {EACH}", Veth::FAR)) {
            owner.insert(port as i64, client.pid());
        }
        server.ok(&format!("accept_many 0 {EACH}"));
    }
    assert_eq!(owner.len(), PROCESSES * EACH);
    let before = veth.near.counter("TcpRetransSegs");
    let trace = Trace::start(&veth.near, &[]);
    veth.far.drop_incoming("meta l4proto tcp");
    for client in &mut clients {
        client.ok("send_all 100");
    }
    let ports = |events: &[Event]| {
        of(events, "retransmit")
            .iter()
            .map(|event| event.num("lport"))
            .collect::<Vec<_>>()
    };
    trace.wait_for("every connection retransmits", |events| {
        let mut ports = ports(events);
        ports.sort_unstable();
        ports.dedup();
        ports.len() == PROCESSES * EACH
    });
    veth.far.nft_clear();
    wait::until_true("everything is acknowledged", || {
        veth.near
            .ss(&["-Htn"])
            .lines()
            .all(|line| line.split_whitespace().nth(2) == Some("0"))
    });
    let ended = trace.stop();
    let mut segs = BTreeMap::<u32, i64>::new();
    for event in ended.of("retransmit") {
        assert_eq!(
            Some(&event.pid()),
            owner.get(&event.num("lport")),
            "the wrong process: {event:?}"
        );
        assert_eq!(
            (event.text("owner_source"), event.text("comm")),
            ("iter", "traffic")
        );
        *segs.entry(event.pid()).or_default() += event.num("segs");
    }
    assert_eq!(
        segs.values().sum::<i64>() as u64,
        veth.near.counter("TcpRetransSegs") - before
    );
    for client in &clients {
        assert_eq!(
            ended.process(client.pid())["retransmit_segs"],
            segs[&client.pid()]
        );
    }
}

/// Listeners of two processes on one port: each connection belongs to the process that accepted it, and to none that did
/// not before that.
#[test]
fn shared_port() {
    let netns = Netns::new();
    let mut servers = [Traffic::start(&netns), Traffic::start(&netns)];
    let trace = Trace::start(&netns, &["--events", "all"]);
    let port = servers[0].ok("listen_shared 127.0.0.1:0")[1];
    servers[1].ok(&format!("listen_shared 127.0.0.1:{port}"));
    let mut client = Traffic::start(&netns);
    client.ok(&format!("connect_many 127.0.0.1:{port} 40"));
    let mut accepted = BTreeMap::new();
    for server in &mut servers {
        for peer in server.ok("accept_waiting 0") {
            accepted.insert(peer as i64, server.pid());
        }
    }
    assert_eq!(accepted.len(), 40);
    assert!(
        servers
            .iter()
            .all(|server| accepted.values().any(|pid| *pid == server.pid())),
        "both have some"
    );
    client.ok("close_all");
    for server in &mut servers {
        server.ok("close_all");
    }
    let ended = trace.stop();
    for states in connections(&ended.events)
        .values()
        .filter(|states| states[0].text("new") == "SYN_RECV")
    {
        let owner = accepted[&states[0].num("rport")];
        for event in states {
            match event.text("owner_source") {
                "unknown" => assert!(
                    event.pid() == 0 && event.text("old") != "CLOSE_WAIT",
                    "{event:?}"
                ),
                "inherited" | "accept" => assert_eq!(event.pid(), owner, "{event:?}"),
                other => panic!("{other}: {event:?}"),
            }
        }
        assert_eq!(
            states.last().unwrap().text("owner_source"),
            "accept",
            "{states:#?}"
        );
    }
    let records: Vec<_> = ended
        .of("connection")
        .into_iter()
        .filter(|event| event.num("lport") == port as i64)
        .collect();
    assert_eq!(records.len(), 40);
    assert!(
        records
            .iter()
            .all(|event| Some(&event.pid()) == accepted.get(&event.num("rport"))),
        "{records:#?}"
    );
}

/// Never accepted: it stays the listener's until the listener closes and resets it.
#[test]
fn never_accepted() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "all"]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    client.ok(&format!("connect_many 127.0.0.1:{port} 3"));
    server.ok("close_listener 0");
    let ended = trace.stop();
    let children: Vec<_> = connections(&ended.events)
        .into_values()
        .filter(|states| states[0].text("new") == "SYN_RECV")
        .collect();
    assert_eq!(children.len(), 3);
    for event in children.iter().flatten() {
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            (server.pid(), "inherited"),
            "{event:?}"
        );
    }
    let sent: Vec<_> = ended
        .of("reset")
        .into_iter()
        .filter(|event| event.text("direction") == "sent")
        .collect();
    assert_eq!(sent.len() as u64, netns.counter("TcpOutRsts"));
    assert!(
        sent.iter().all(|event| event.pid() == server.pid()),
        "{sent:#?}"
    );
    assert_eq!(ended.process(client.pid())["resets_received"], 3);
}

/// A listener from before, and connections that waited in its queue from before.
#[test]
fn accepted_after_the_start_but_connected_before() {
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    client.ok(&format!("connect_many 127.0.0.1:{port} 5"));
    let trace = Trace::start(&netns, &["--events", "all"]);
    server.ok("accept_many 0 5");
    client.ok("close_all");
    server.ok("close_all");
    let ended = trace.stop();
    let records = ended.of("connection");
    assert_eq!(records.len(), 10);
    for event in records {
        let expected = if event.num("lport") == port as i64 {
            (server.pid(), "accept")
        } else {
            (client.pid(), "iter")
        };
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            expected,
            "{event:?}"
        );
        assert!(
            event.field("duration_us").is_null(),
            "it was there before: {event:?}"
        );
    }
}

/// Two processes with connections from before; the filter names one of them.
#[test]
fn pid_filter_on_connections_from_before() {
    let veth = Veth::new();
    let mut server = Traffic::start(&veth.far);
    let port = server.ok("listen 10.99.0.2:0 16")[1];
    let (mut kept, mut other) = (Traffic::start(&veth.near), Traffic::start(&veth.near));
    for client in [&mut kept, &mut other] {
        client.ok(&format!("connect_many {}:{port} 5", Veth::FAR));
        server.ok("accept_many 0 5");
    }
    let trace = Trace::start(&veth.near, &["--pid", &kept.pid().to_string()]);
    veth.far.drop_incoming("meta l4proto tcp");
    other.ok("send_all 100");
    kept.ok("send_all 100");
    trace.wait_for("retransmits", |events| {
        retransmits_of(events, kept.pid()) >= 10
    });
    wait::until_true("the other one retransmits as well", || {
        veth.near.counter("TcpRetransSegs") as usize
            >= retransmits_of(&trace.so_far(), kept.pid()) + 5
    });
    let ended = trace.stop();
    assert!(
        ended.events.iter().all(|event| event.pid() == kept.pid()),
        "{:#?}",
        ended.events
    );
    let filtered = ended.hook("tcp_retransmit_skb")["filtered"]
        .as_u64()
        .unwrap();
    assert!(
        filtered >= 5,
        "the other one's are counted as filtered: {filtered}"
    );
}

/// A process of another pid namespace, as in a container: it has its number in the initial one.
#[test]
fn in_a_pid_namespace() {
    let netns = Netns::new();
    let mut command = netns.command(need_program("unshare", "util-linux"));
    command
        .args(["--pid", "--fork", "--kill-child"])
        .arg(Traffic::path());
    let mut process = Traffic::spawn(command);
    let unshare = process.pid();
    let children =
        std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    let mut server = Traffic::start(&netns);
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    process.ok(&format!("connect 127.0.0.1:{port}"));
    let trace = Trace::start(&netns, &[]);
    process.ok(&format!("connect 127.0.0.1:{port}"));
    process.ok("close_all");
    server.ok("accept_many 0 2");
    server.ok("close_all");
    netns.quiet();
    let ended = trace.stop();
    let mut sources: Vec<_> = ended
        .of("connection")
        .into_iter()
        .filter(|event| event.num("rport") == port as i64)
        .map(|event| (event.pid(), event.text("comm"), event.text("owner_source")))
        .collect();
    sources.sort_unstable();
    assert_eq!(
        sources,
        [(pid, "traffic", "connect"), (pid, "traffic", "iter")]
    );
}

//! Every hook that has one rung, in one trace: what stands for the suite on a kernel where there is no time for it. On loopback and
//! without a firewall, so that it needs no module of the kernel.

use std::{
    io,
    net::TcpListener,
    os::{fd::AsRawFd as _, unix::fs::symlink},
};

use tcptrace_tests::{Cgroup, Netns, Trace, Traffic, sockets, wait};

/// Hooks with a program, and one rung.
const HOOKS: &[&str] = &[
    "inet_sock_set_state",
    "tcp_retransmit_skb",
    "tcp_retransmit_synack",
    "tcp_send_reset",
    "tcp_receive_reset",
    "tcp_destroy_sock",
    "sched_process_exec",
    "cgroup_attach_task",
    "sched_process_exit",
    "task_file",
];

fn listener(netns: &Netns, backlog: i32) -> (TcpListener, u64) {
    let listener = netns.run(|| sockets::listen("127.0.0.1:0", backlog).unwrap());
    let port = listener.local_addr().unwrap().port();
    (listener, port.into())
}

/// The handshake's last segment is ignored until data comes, or a second has gone and a SYN-ACK is sent again
/// (`net/ipv4/inet_connection_sock.c: syn_ack_recalc`).
fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 1;
    // SAFETY: the option's value is read from an integer of its size.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[test]
fn every_hook() {
    let netns = Netns::new();
    let group = Cgroup::new("tcptrace-test-hooks.slice/second.service");
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    client.ok(&format!("connect 127.0.0.1:{port}"));
    server.ok("accept 0");
    let (deferring, deferred_port) = listener(&netns, 16);
    defer_accept(&deferring);
    let (_full, full_port) = listener(&netns, 0);
    client.ok(&format!("connect 127.0.0.1:{full_port}"));
    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("renamed");
    symlink(Traffic::path(), &renamed).unwrap();
    let trace = Trace::start(&netns, &[]);

    // tcp_send_reset, tcp_receive_reset, and task_file: whose the connection is was found at the start.
    client.ok("reset 0");
    assert_eq!(server.error("receive 0 1"), "ECONNRESET");
    // tcp_retransmit_skb: a full queue drops the SYN. tcp_retransmit_synack.
    let mut dropped = Traffic::start(&netns);
    dropped.say(&format!("connect 127.0.0.1:{full_port}"));
    client.ok(&format!("connect 127.0.0.1:{deferred_port}"));
    // sched_process_exec, sched_process_exit: of a process that is known already.
    let mut short = Traffic::start(&netns);
    assert_eq!(short.error("connect 127.0.0.1:3"), "ECONNREFUSED");
    short.ok(&format!("exec {}", renamed.display()));
    assert_eq!(short.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    let short_pid = short.pid();
    short.exit();
    // cgroup_attach_task.
    group.add(client.pid());
    assert_eq!(client.error("connect 127.0.0.1:5"), "ECONNREFUSED");
    trace.wait_for("both are sent again", |events| {
        ["syn", "synack"].iter().all(|cause| {
            let mut events = events.iter().filter(|event| event.kind() == "retransmit");
            events.any(|event| event.text("cause") == *cause)
        })
    });
    let dropped_pid = dropped.pid();
    drop(dropped);
    wait::until_true("nothing is sent any more", || {
        netns
            .ss(&["-Htan", "state", "syn-sent", "state", "syn-recv"])
            .is_empty()
    });
    let (segs, resets) = (netns.counter("TcpRetransSegs"), netns.counter("TcpOutRsts"));
    let ended = trace.stop();

    for hook in HOOKS {
        let row = ended.hook(hook);
        assert!(row["entered"].as_u64() > Some(0), "{row}");
    }
    assert_eq!(ended.sum("retransmit", "segs"), segs);
    for event in ended.of("retransmit") {
        let owner = match event.text("cause") {
            "syn" => (dropped_pid, "connect"),
            "synack" => (std::process::id(), "iter"),
            _ => panic!("{event:?}"),
        };
        assert_eq!((event.pid(), event.text("owner_source")), owner);
    }
    let of = |direction: &str| {
        let mut events = ended.of("reset");
        events.retain(|event| event.text("direction") == direction);
        events
    };
    // On 5.10 and 6.1 the kernel does not tell of one that no socket sends.
    let sent = of("sent").len() as u64;
    assert!((1..=resets).contains(&sent), "{sent} of {resets}");
    for (direction, process) in [("sent", &client), ("received", &server)] {
        let events = of(direction);
        let own = events.iter().find(|event| event.pid() == process.pid());
        let own = own.unwrap_or_else(|| panic!("{direction}: {events:#?}"));
        assert_eq!(own.text("owner_source"), "iter", "{own:?}");
    }
    let failures = ended.of("connect_failed");
    let of = |port: i64| {
        let mut own = failures.iter().filter(|event| event.num("rport") == port);
        own.next().unwrap()
    };
    for (port, name) in [(3, "traffic"), (4, "renamed")] {
        let event = of(port);
        assert_eq!((event.pid(), event.text("comm")), (short_pid, name));
    }
    assert_eq!(of(5).text("unit"), "second.service");
}

//! Each filter lets in what it names and keeps out the rest.

use std::{fs, path::PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tcptrace_tests::{Cgroup, Ended, Netns, Trace, Traffic, events::Event};

/// Two processes whose connects are refused, in a trace with `arguments` made from them.
fn two(arguments: impl Fn(&Traffic, &Traffic) -> Vec<String>) -> (Ended, u32, u32) {
    let netns = Netns::new();
    let (mut kept, mut other) = (Traffic::start(&netns), Traffic::start(&netns));
    let arguments = arguments(&kept, &other);
    let trace = Trace::start(
        &netns,
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    for process in [&mut kept, &mut other] {
        for _ in 0..5 {
            assert_eq!(process.error("connect 127.0.0.1:4"), "ECONNREFUSED");
        }
    }
    (trace.stop(), kept.pid(), other.pid())
}

fn failures_of(ended: &Ended, pid: u32) -> usize {
    ended
        .of("connect_failed")
        .iter()
        .filter(|event| event.pid() == pid)
        .count()
}

/// Everything that was seen is either shown or counted as filtered.
fn only(ended: &Ended, kept: impl Fn(&Event) -> bool) {
    assert!(!ended.events.is_empty(), "nothing came in");
    for event in &ended.events {
        assert!(kept(event), "kept out, but came in: {event:?}");
    }
    let filtered: u64 = ended
        .hooks()
        .iter()
        .map(|row| row["filtered"].as_u64().unwrap())
        .sum();
    assert!(
        filtered > 0,
        "what was kept out is counted: {}",
        ended.end.0
    );
}

#[test]
fn pid() {
    let (ended, kept, other) = two(|kept, _| vec!["--pid".into(), kept.pid().to_string()]);
    only(&ended, |event| event.pid() == kept);
    assert_eq!(
        (failures_of(&ended, kept), failures_of(&ended, other)),
        (5, 0)
    );
}

#[test]
fn several_pids() {
    let (ended, kept, other) = two(|kept, other| {
        [
            "--pid",
            &kept.pid().to_string(),
            "--pid",
            &other.pid().to_string(),
        ]
        .map(String::from)
        .into()
    });
    assert_eq!(
        (failures_of(&ended, kept), failures_of(&ended, other)),
        (5, 5)
    );
    assert!(
        ended
            .events
            .iter()
            .all(|event| [kept, other].contains(&event.pid())),
        "{:#?}",
        ended.events
    );
}

/// The owner decides, not who happens to run: the server's events of a connection come without the client's.
#[test]
fn pid_of_a_server() {
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    let trace = Trace::start(
        &netns,
        &["--events", "all", "--pid", &server.pid().to_string()],
    );
    for at in 0..5 {
        client.ok(&format!("connect 127.0.0.1:{port}"));
        server.ok("accept 0");
        client.ok(&format!("close {at}"));
        assert_eq!(server.error(&format!("receive {at} 1")), "EOF");
        server.ok(&format!("close {at}"));
    }
    let ended = trace.stop();
    only(&ended, |event| {
        event.pid() == server.pid() && event.num("lport") == port as i64
    });
    assert_eq!(ended.of("connection").len(), 5);
    let states: usize = tcptrace_tests::events::paths(&ended.events).values().sum();
    assert_eq!(
        states,
        5,
        "{:#?}",
        tcptrace_tests::events::paths(&ended.events)
    );
}

#[test]
fn comm() {
    let folder = tempfile::tempdir().unwrap();
    let renamed = folder.path().join("other-name");
    fs::copy(Traffic::path(), &renamed).unwrap();
    let netns = Netns::new();
    let (mut kept, mut other) = (
        Traffic::spawn(netns.command(&renamed)),
        Traffic::start(&netns),
    );
    let trace = Trace::start(&netns, &["--comm", "other-name"]);
    for process in [&mut kept, &mut other] {
        assert_eq!(process.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    }
    let ended = trace.stop();
    only(&ended, |event| {
        event.text("comm") == "other-name" && event.pid() == kept.pid()
    });
    assert_eq!(failures_of(&ended, kept.pid()), 1);
}

fn after_connects(arguments: &[&str], addresses: &[&str]) -> Ended {
    let netns = Netns::new();
    let trace = Trace::start(&netns, arguments);
    let mut client = Traffic::start(&netns);
    for address in addresses {
        assert_eq!(client.error(&format!("connect {address}")), "ECONNREFUSED");
    }
    trace.stop()
}

#[test]
fn port() {
    let ended = after_connects(
        &["--port", "4", "--port", "6"],
        &["127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6", "[::1]:4"],
    );
    only(&ended, |event| {
        [4, 6].contains(&event.num("rport")) || [4, 6].contains(&event.num("lport"))
    });
    assert_eq!(ended.of("connect_failed").len(), 3);
}

/// The local port counts as well, and an event without ports is kept out.
#[test]
fn local_port_and_events_without() {
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    let trace = Trace::start(&netns, &["--events", "all", "--port", &port.to_string()]);
    client.ok(&format!("connect 127.0.0.1:{port}"));
    server.ok("accept 0");
    client.ok("reset 0");
    server.ok("limit 12");
    assert!(server.ok("storm socket 20")[1] > 0);
    let ended = trace.stop();
    only(&ended, |event| {
        event.num("lport") == port as i64 || event.num("rport") == port as i64
    });
    assert!(ended.of("fd_exhausted").is_empty());
    assert!(
        ended
            .of("state")
            .iter()
            .any(|event| event.num("lport") == port as i64)
    );
    assert!(
        ended
            .of("state")
            .iter()
            .any(|event| event.num("rport") == port as i64)
    );
}

#[test]
fn cidr() {
    let ended = after_connects(
        &["--cidr", "127.7.0.0/16"],
        &["127.0.0.1:4", "127.7.1.1:4", "127.8.0.1:4"],
    );
    only(&ended, |event| {
        event.text("raddr") == "127.7.1.1" || event.text("laddr") == "127.7.1.1"
    });
    assert_eq!(ended.of("connect_failed").len(), 1);
}

#[test]
fn cidr_of_one_address() {
    let ended = after_connects(&["--cidr", "127.0.0.2"], &["127.0.0.3:4", "127.0.0.2:4"]);
    assert_eq!(ended.of("connect_failed").len(), 1);
    assert_eq!(ended.first("connect_failed").text("raddr"), "127.0.0.2");
}

#[test]
fn cidr_ipv6() {
    let ended = after_connects(&["--cidr", "::1/128"], &["127.0.0.1:4", "[::1]:4"]);
    only(&ended, |event| event.text("family") == "ipv6");
    assert_eq!(ended.of("connect_failed").len(), 1);
}

/// A v4-mapped socket matches an IPv4 network.
#[test]
fn cidr_ipv4_mapped() {
    let ended = after_connects(
        &["--cidr", "127.0.0.0/8"],
        &["[::1]:4", "[::ffff:127.0.0.1]:4"],
    );
    only(&ended, |event| event.text("family") == "ipv4");
    assert_eq!(ended.of("connect_failed").len(), 1);
}

/// A namespace mounted under a name, as `ip netns` does it.
struct Named(PathBuf);

impl Named {
    fn new(netns: &Netns) -> Self {
        fs::create_dir_all("/run/netns").unwrap();
        let path = PathBuf::from(format!("/run/netns/tcptrace-test-{}", netns.inode()));
        fs::write(&path, "").unwrap();
        let named = Self(path);
        mount(
            Some(&*netns.path()),
            &named.0,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
        named
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn netns_by_inode_path_and_name() {
    let (kept, other) = (Netns::new(), Netns::new());
    let named = Named::new(&kept);
    let name = named.0.file_name().unwrap().to_str().unwrap();
    for how in [&kept.inode().to_string(), named.0.to_str().unwrap(), name] {
        let trace = Trace::start_everywhere(&["--netns", how]);
        let (mut inside, mut outside) = (Traffic::start(&kept), Traffic::start(&other));
        assert_eq!(inside.error("connect 127.0.0.1:4"), "ECONNREFUSED");
        assert_eq!(outside.error("connect 127.0.0.1:4"), "ECONNREFUSED");
        let ended = trace.stop();
        only(&ended, |event| event.num("netns") as u64 == kept.inode());
        assert_eq!(
            (
                failures_of(&ended, inside.pid()),
                failures_of(&ended, outside.pid())
            ),
            (1, 0),
            "--netns {how}"
        );
    }
}

#[test]
fn cgroup() {
    let cgroup = Cgroup::new("tcptrace-test-filter");
    let netns = Netns::new();
    let (mut kept, mut other) = (Traffic::start(&netns), Traffic::start(&netns));
    cgroup.add(kept.pid());
    let trace = Trace::start(&netns, &["--cgroup", cgroup.path().to_str().unwrap()]);
    for process in [&mut kept, &mut other] {
        assert_eq!(process.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    }
    let ended = trace.stop();
    only(&ended, |event| event.pid() == kept.pid());
    assert_eq!(failures_of(&ended, kept.pid()), 1);
}

/// A control group lets in those below it.
#[test]
fn cgroup_and_those_below() {
    let (above, below) = (
        Cgroup::new("tcptrace-test-above"),
        Cgroup::new("tcptrace-test-above/below"),
    );
    let netns = Netns::new();
    let mut kept = Traffic::start(&netns);
    below.add(kept.pid());
    let trace = Trace::start(&netns, &["--cgroup", above.path().to_str().unwrap()]);
    assert_eq!(kept.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    let ended = trace.stop();
    assert_eq!(failures_of(&ended, kept.pid()), 1);
    drop((kept, below));
}

/// A connection that has no known owner belongs to the group of its listener, and only to that.
#[test]
fn cgroup_of_a_connection_without_an_owner() {
    let cgroup = Cgroup::new("tcptrace-test-shared");
    let netns = Netns::new();
    let mut servers = [(); 4].map(|()| Traffic::start(&netns));
    cgroup.add(servers[0].pid());
    cgroup.add(servers[1].pid());
    let trace = Trace::start(&netns, &["--cgroup", cgroup.path().to_str().unwrap()]);
    // Two and two share a port, and nobody accepts.
    for (index, server) in servers.iter_mut().enumerate() {
        server.ok(&format!("listen_shared 127.0.0.1:{}", 7001 + index / 2));
    }
    for port in [7001, 7002] {
        let mut client = Traffic::start(&netns);
        client.ok(&format!("connect_many 127.0.0.1:{port} 7"));
    }
    drop(servers);
    netns.quiet();
    let ended = trace.stop();
    let connections = ended.of("connection");
    assert_eq!(connections.len(), 7, "{connections:?}");
    for event in connections {
        assert_eq!(
            (event.num("lport"), event.text("owner_source")),
            (7001, "unknown"),
            "{event:?}"
        );
    }
}

#[test]
fn events() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "connect_failed,reset"]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 16")[1];
    client.ok(&format!("connect 127.0.0.1:{port}"));
    server.ok("accept 0");
    client.ok("reset 0");
    assert_eq!(client.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    client.ok("limit 12");
    client.ok("storm socket 20");
    let ended = trace.stop();
    assert!(
        ended
            .events
            .iter()
            .all(|event| ["connect_failed", "reset"].contains(&event.kind()))
    );
    assert_eq!(ended.of("connect_failed").len(), 1);
    assert!(ended.of("reset").len() >= 3, "{:#?}", ended.events);
}

/// By default everything but the transitions.
#[test]
fn default_and_all_events() {
    for (arguments, states) in [(&[][..], false), (&["--events", "all"][..], true)] {
        let ended = after_connects(arguments, &["127.0.0.1:4"]);
        assert_eq!(!ended.of("state").is_empty(), states, "{arguments:?}");
        assert_eq!(ended.of("connect_failed").len(), 1);
        assert_eq!(ended.of("connection").len(), 1, "a SYN left");
    }
}

//! The books balance, and totals stay exact, when events are lost on purpose.

use serde_json::Value;
use tcptrace_tests::{Ended, Netns, Trace, Traffic, Veth, events::Event, sockets};

fn number(row: &Value, term: &str) -> u64 {
    match term.strip_prefix("lost.") {
        Some(kind) => row["lost"][kind].as_u64().unwrap(),
        None => row[term].as_u64().unwrap(),
    }
}

/// `number` connections that the server closes first: ten transitions each, whatever their order.
fn churn(server: &mut Traffic, client: &mut Traffic, port: u64, number: u64) {
    server.say(&format!("serve 0 {number}"));
    client.ok(&format!("churn 127.0.0.1:{port} {number}"));
    server.ok_heard();
}

/// A ring of a page cannot hold a flood: what is missing is counted, and the totals are right.
#[test]
fn an_overrun_ring_loses_events_but_no_totals() {
    const CONNECTIONS: u64 = 20_000;
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 1024")[1];
    let trace = Trace::start(&netns, &["--events", "all", "--ring-size", "4096"]).may_lose();
    churn(&mut server, &mut client, port, CONNECTIONS);
    netns.quiet();
    let ended = trace.stop();

    let row = ended.hook("inet_sock_set_state");
    assert!(
        number(row, "lost.ring_full") > 0,
        "the ring must overrun: {row}"
    );
    // The load's own count; the hook sees other namespaces too, which the filter keeps out.
    let transitions = CONNECTIONS * 10;
    let ours = number(row, "emitted")
        + number(row, "aggregated")
        + number(row, "lost.ring_full")
        + number(row, "lost.map_full");
    assert!(ours <= transitions, "{ours} of {transitions}: {row}");
    // A run skipped without the kernel's counting it is found out once a socket, and takes FIN_WAIT1's two last transitions with it.
    let skipped = number(row, "skipped") * 2;
    assert!(
        ours + skipped >= transitions,
        "{ours} of {transitions}: {row}"
    );
    assert!(number(row, "entered") + skipped >= transitions);
    // What was emitted came out.
    assert_eq!(
        ended.of("state").len() as u64,
        number(row, "emitted"),
        "{row}"
    );
    assert_eq!(ended.end.field("events")["state"], ended.of("state").len());
    let records = ended.hook("connection");
    assert_eq!(
        ended.of("connection").len() as u64,
        number(records, "emitted"),
        "{records}"
    );

    // Both ends of each connection, whether its record came out or not.
    let (theirs, mine) = (ended.process(server.pid()), ended.process(client.pid()));
    if number(row, "skipped") == 0 {
        assert_eq!(theirs["connections"], CONNECTIONS, "{theirs}");
        assert_eq!(mine["connections"], CONNECTIONS, "{mine}");
    }
    assert!(theirs["connections"].as_u64().unwrap() + number(row, "skipped") >= CONNECTIONS);
    assert!(mine["connections"].as_u64().unwrap() + number(row, "skipped") >= CONNECTIONS);

    // The loss is told while it happens, by hook, and adds up.
    let told = |hook: &str| -> u64 {
        let lost = ended.of("lost").into_iter();
        let lost =
            lost.filter(|event| event.text("hook") == hook && event.text("reason") == "ring_full");
        lost.map(|event| event.num("count") as u64).sum()
    };
    assert_eq!(told("inet_sock_set_state"), number(row, "lost.ring_full"));
    assert_eq!(told("connection"), number(records, "lost.ring_full"));
    let processes = ended.end.field("processes").as_array().unwrap();
    let by_process: u64 = processes
        .iter()
        .map(|row| row["lost"].as_u64().unwrap())
        .sum();
    assert_eq!(
        by_process,
        number(row, "lost.ring_full") + number(records, "lost.ring_full"),
        "each loss has its process"
    );
    for word in ["lost", "inet_sock_set_state"] {
        assert!(
            ended.summary.contains(word),
            "{word} in the summary: {}",
            ended.summary
        );
    }
}

/// EMFILE, retransmits and overflows amid a flood of connections, while tcptrace reads nothing, and what others count of them.
struct Rare {
    ended: Ended,
    /// `RetransSegs`.
    retransmitted: u64,
    /// As `full` counts.
    exhausted: u64,
    full: u32,
    /// `TCPTimeWaitOverflow`, of connections that `server` closes.
    overflows: u64,
    server: u32,
}

impl Rare {
    fn of(options: &[&str]) -> Self {
        let veth = Veth::new();
        veth.near.sysctl("net.ipv4.tcp_max_tw_buckets", "50");
        let (mut server, mut client) = (Traffic::start(&veth.near), Traffic::start(&veth.near));
        let port = server.ok("listen 127.0.0.1:0 1024")[1];
        let (mut far, mut sender) = (Traffic::start(&veth.far), Traffic::start(&veth.near));
        let far_port = far.ok("listen 10.99.0.2:0 16")[1];
        sender.ok(&format!("connect {}:{far_port}", Veth::FAR));
        far.ok("accept 0");
        veth.far
            .drop_incoming("tcp flags & syn == 0 numgen inc mod 10 == 3");
        let mut full = Traffic::start(&veth.near);
        full.ok("limit 12");
        let before = veth.near.counter("TcpRetransSegs");
        let options = [&["--events", "all", "--ring-size", "4096"], options].concat();
        let trace = Trace::start(&veth.near, &options).may_lose();
        let exhausted = trace.paused(|| {
            server.say("serve 0 5000");
            client.say(&format!("churn 127.0.0.1:{port} 5000"));
            sender.say("send 0 3000000");
            full.say("storm socket 2000");
            far.ok("receive 0 3000000");
            let exhausted = full.ok_heard()[1];
            sender.hear();
            client.ok_heard();
            server.ok_heard();
            exhausted
        });
        sender.ok("close 0");
        far.ok("close 0");
        // A probe of a closing socket may come late: nothing may be sent again after the trace.
        veth.near.quiet();
        let ended = trace.stop();
        assert!(
            number(ended.hook("inet_sock_set_state"), "lost.ring_full") > 0,
            "the flood must overrun its ring"
        );
        let rare = Self {
            ended,
            retransmitted: veth.near.counter("TcpRetransSegs") - before,
            exhausted,
            full: full.pid(),
            overflows: veth.near.counter("TcpExtTCPTimeWaitOverflow"),
            server: server.pid(),
        };
        assert!(rare.retransmitted > 5, "{}", rare.retransmitted);
        assert!(rare.overflows > 1000, "{}", rare.overflows);
        rare
    }
}

/// A flood fills the ring of states; EMFILE, retransmits and overflows have a ring of their own.
#[test]
fn a_flood_loses_no_rare_event() {
    let rare = Rare::of(&[]);
    let ended = &rare.ended;
    for row in ended.hooks() {
        if !["inet_sock_set_state", "connection"].contains(&row["hook"].as_str().unwrap()) {
            assert_eq!(row["lost"]["ring_full"], 0, "{row}");
        }
    }
    assert_eq!(ended.sum("retransmit", "segs"), rare.retransmitted);
    assert_eq!(ended.sum("fd_exhausted", "count"), rare.exhausted);
    assert_eq!(ended.sum("time_wait_overflow", "count"), rare.overflows);
    let attributed: u64 = ended
        .of("time_wait_overflow")
        .iter()
        .filter(|event| event.pid() == rare.server)
        .map(count)
        .sum();
    assert!(
        attributed * 100 >= rare.overflows * 99,
        "{attributed} of {}",
        rare.overflows
    );
}

/// Where that ring overruns too, events are missing, and no total is wrong.
#[test]
fn an_overrun_rare_ring_changes_no_total() {
    let rare = Rare::of(&["--rare-ring-size", "4096"]);
    let ended = &rare.ended;
    assert!(
        number(ended.hook("tcp_retransmit_skb"), "lost.ring_full") > 0,
        "it must overrun"
    );
    assert!(ended.sum("retransmit", "segs") < rare.retransmitted);
    let total = |pid, name: &str| ended.process(pid)[name].as_u64().unwrap();
    let processes = ended.end.field("processes").as_array().unwrap();
    let segs = processes.iter().map(|row| row["retransmit_segs"].as_u64());
    assert_eq!(segs.flatten().sum::<u64>(), rare.retransmitted);
    assert_eq!(total(rare.full, "fd_exhausted"), rare.exhausted);
    let attributed = total(rare.server, "time_wait_overflow");
    assert!(
        attributed <= rare.overflows && attributed * 100 >= rare.overflows * 99,
        "{attributed} of {}",
        rare.overflows
    );
}

fn count(event: &&Event) -> u64 {
    event.num("count") as u64
}

/// With the default sizes a churn as fast as one thread can make it loses nothing.
#[test]
fn the_default_ring_is_large_enough() {
    const CONNECTIONS: u64 = 10_000;
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 1024")[1];
    let trace = Trace::start(&netns, &[]);
    churn(&mut server, &mut client, port, CONNECTIONS);
    netns.quiet();
    let ended = trace.stop();
    let skipped = number(ended.hook("inet_sock_set_state"), "skipped");
    let records = ended.of("connection").len() as u64;
    assert!(
        records <= 2 * CONNECTIONS && records + skipped >= 2 * CONNECTIONS,
        "{records}, {skipped} skipped"
    );
}

/// What a connection takes is freed with it: a table for few holds any number, one after the other.
#[test]
fn tables_do_not_fill_up() {
    const CONNECTIONS: u64 = 10_000;
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 1024")[1];
    let trace = Trace::start(&netns, &["--max-sockets", "2048"]);
    churn(&mut server, &mut client, port, CONNECTIONS);
    netns.quiet();
    let ended = trace.stop();
    let skipped = number(ended.hook("inet_sock_set_state"), "skipped");
    assert!(ended.of("connection").len() as u64 + skipped >= 2 * CONNECTIONS);
    // All are let go of, but the listener.
    if skipped == 0 {
        assert_eq!(ended.process(client.pid())["sockets"], 0);
        assert_eq!(ended.process(server.pid())["sockets"], 1);
    }
}

/// More connections at once than the table holds: the missing ones are counted.
#[test]
fn a_full_table_is_told() {
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 1024")[1];
    let trace = Trace::start(&netns, &["--max-sockets", "64"]).may_lose();
    client.ok(&format!("connect_many 127.0.0.1:{port} 200"));
    server.ok("accept_many 0 200");
    client.ok("close_all");
    server.ok("close_all");
    netns.quiet();
    let ended = trace.stop();
    let full: u64 = ended
        .hooks()
        .iter()
        .map(|row| number(row, "lost.map_full"))
        .sum();
    assert!(full > 0, "{}", ended.end.0);
    assert!(
        ended
            .of("lost")
            .iter()
            .any(|event| event.text("reason") == "map_full")
    );
    assert!(ended.summary.contains("lost"), "{}", ended.summary);
}

/// Each hook that is attached has a row, and the rows of the start and of the end agree.
#[test]
fn start_and_end_name_the_same_hooks() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    netns.run(|| assert!(sockets::connect("127.0.0.1:4").is_err()));
    let ended: Ended = trace.stop();
    for hook in ended.start.field("hooks").as_array().unwrap() {
        assert_eq!(
            ended.hook(hook["hook"].as_str().unwrap())["rung"],
            hook["rung"]
        );
    }
}

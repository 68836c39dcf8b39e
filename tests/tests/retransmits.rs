//! Retransmitted segments, against the kernel's `RetransSegs` of the same namespace.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use tcptrace_tests::{Ended, Netns, Trace, Traffic, Veth, events::of, sockets, wait};

/// Sends `bytes` from `from` to `to`, in a thread each.
fn transfer(veth: &Veth, address: &str, bytes: usize) -> (u16, u16) {
    let (client, server) = veth.far.run(|| {
        let listener = sockets::listen(address, 16).unwrap();
        let shown = listener.local_addr().unwrap().to_string();
        veth.near.run(|| {
            let client = sockets::connect(&shown).unwrap();
            (client, listener.accept().unwrap().0)
        })
    });
    let ports = (
        client.local_addr().unwrap().port(),
        server.local_addr().unwrap().port(),
    );
    let reader = thread::spawn(move || read_all(server));
    (&client).write_all(&vec![7; bytes]).unwrap();
    drop(client);
    assert_eq!(reader.join().unwrap(), bytes, "the receiver's own count");
    ports
}

fn read_all(mut stream: TcpStream) -> usize {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return total,
            read => total += read,
        }
    }
}

/// What to look at when a sum is wrong.
fn by_cause(ended: &Ended, netns: &Netns) -> String {
    let mut causes = BTreeMap::<_, i64>::new();
    for event in ended.of("retransmit") {
        *causes.entry(event.text("cause").to_owned()).or_default() += event.num("segs");
    }
    let kernel = [
        "SynRetrans",
        "FastRetrans",
        "SlowStartRetrans",
        "LossProbes",
        "Timeouts",
    ]
    .map(|name| (name, netns.counter(&format!("TcpExtTCP{name}"))));
    format!(
        "{causes:?}, the kernel: {kernel:?}, hooks: {:?}",
        ended.hooks()
    )
}

fn check_fields(ended: &Ended) {
    for event in ended.of("retransmit") {
        // What is still in a queue of this machine (EBUSY) is not sent again, and not counted.
        assert!(
            event.num("segs") >= 1 || event.field("err").as_i64().is_some_and(|err| err < 0),
            "{event:?}"
        );
        assert!(
            event.num("backoff") >= 0
                && (event.num("rto_us") > 0 || event.text("cause") == "synack"),
            "{event:?}"
        );
        assert!(
            [
                "rto",
                "fast",
                "loss_recovery",
                "tlp",
                "syn",
                "synack",
                "pmtu",
                "unknown"
            ]
            .contains(&event.text("cause"))
        );
    }
}

/// Drops of 5 % at the receiver.
fn drops_at_the_receiver(listen: &str, family: &str, rule: &str) {
    let veth = Veth::new();
    veth.far.drop_incoming(rule);
    let before = veth.near.counter("TcpRetransSegs");
    let trace = Trace::start(&veth.near, &[]);
    let (port, _) = transfer(&veth, listen, 4_000_000);
    let ended = trace.stop();
    let kernel = veth.near.counter("TcpRetransSegs") - before;
    assert!(kernel > 10, "the drops must have an effect: {kernel}");
    assert_eq!(ended.sum("retransmit", "segs"), kernel);
    check_fields(&ended);
    let data: Vec<_> = ended
        .of("retransmit")
        .into_iter()
        .filter(|event| event.text("cause") != "synack")
        .collect();
    for event in &data {
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            (std::process::id(), "connect"),
            "{event:?}"
        );
        assert_eq!(
            (event.text("family"), event.num("lport")),
            (family, i64::from(port))
        );
    }
    assert!(
        data.iter()
            .any(|event| event.num("srtt_us") > 0 && event.num("unacked_bytes") > 0),
        "{data:#?}"
    );
    assert_eq!(ended.process(std::process::id())["retransmit_segs"], kernel);
}

#[test]
fn ipv4() {
    drops_at_the_receiver(
        "10.99.0.2:0",
        "ipv4",
        "tcp flags & syn == 0 numgen inc mod 20 == 7",
    );
}

#[test]
fn ipv6() {
    drops_at_the_receiver(
        "[fd00:99::2]:0",
        "ipv6",
        "tcp flags & syn == 0 numgen inc mod 20 == 7",
    );
}

/// Both ends lose, and each end's namespace counts its own.
#[test]
fn drops_in_both_directions() {
    const LOSS: &str = "tcp flags & syn == 0 numgen inc mod 10 == 3";
    let veth = Veth::new();
    veth.far.drop_incoming(LOSS);
    veth.near.drop_incoming(LOSS);
    let (near, far) = (Trace::start(&veth.near, &[]), Trace::start(&veth.far, &[]));
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 64")[1];
    for at in 0..8 {
        client.ok(&format!("connect {}:{port}", Veth::FAR));
        server.ok("accept 0");
        client.say(&format!("send {at} 1000000"));
        server.ok(&format!("receive {at} 1000000"));
        server.say(&format!("send {at} 1000000"));
        client.hear();
        client.ok(&format!("receive {at} 1000000"));
        server.hear();
    }
    client.ok("close_all");
    server.ok("close_all");
    veth.near.quiet();
    veth.far.quiet();
    for (trace, netns, process) in [(near, &veth.near, &client), (far, &veth.far, &server)] {
        let ended = trace.stop();
        let kernel = netns.counter("TcpRetransSegs");
        assert!(kernel > 5, "the drops must have an effect: {kernel}");
        assert_eq!(
            ended.sum("retransmit", "segs"),
            kernel,
            "{}",
            by_cause(&ended, netns)
        );
        check_fields(&ended);
        for event in ended.of("retransmit") {
            assert_eq!(event.pid(), process.pid(), "{event:?}");
        }
        assert_eq!(ended.process(process.pid())["retransmit_segs"], kernel);
    }
}

/// The local firewall drops: from 6.17 on the kernel reports such a transmit with an error, and counts it all the same.
#[test]
fn drops_by_the_local_firewall() {
    let veth = Veth::new();
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 64")[1];
    client.ok(&format!("connect {}:{port}", Veth::FAR));
    server.ok("accept 0");
    let trace = Trace::start(&veth.near, &[]);
    // The first transmission is lost at the receiver, those that follow never leave.
    veth.far.drop_incoming("meta l4proto tcp");
    client.ok("send 0 1000");
    veth.near.drop_outgoing("meta l4proto tcp");
    trace.wait_for("three more transmissions", |events| {
        of(events, "retransmit").len() >= 3
    });
    veth.far.nft_clear();
    veth.near.nft_clear();
    server.ok("receive 0 1000");
    let ended = trace.stop();
    let kernel = veth.near.counter("TcpRetransSegs");
    assert_eq!(
        ended.sum("retransmit", "segs"),
        kernel,
        "{:#?}",
        ended.events
    );
    assert_eq!(ended.process(client.pid())["retransmit_segs"], kernel);
    let refused = ended
        .of("retransmit")
        .iter()
        .filter(|event| event.field("err") == -1)
        .count();
    let told = ended
        .of("retransmit")
        .iter()
        .any(|event| !event.field("err").is_null());
    assert!(refused >= 2 || !told, "{:#?}", ended.events);
}

/// Some are lost at the receiver, some never leave.
#[test]
fn drops_at_both_ends() {
    const LOSS: &str = "tcp flags & syn == 0 numgen inc mod 10 == 3";
    let veth = Veth::new();
    veth.near.drop_outgoing(LOSS);
    veth.far.drop_incoming(LOSS);
    let trace = Trace::start(&veth.near, &[]);
    transfer(&veth, "10.99.0.2:0", 4_000_000);
    let ended = trace.stop();
    let kernel = veth.near.counter("TcpRetransSegs");
    assert!(kernel > 10, "the drops must have an effect: {kernel}");
    assert_eq!(ended.sum("retransmit", "segs"), kernel);
    assert_eq!(ended.process(std::process::id())["retransmit_segs"], kernel);
}

/// The same data again and again: same sequence number, doubling back-off.
#[test]
fn back_off_on_the_same_data() {
    let veth = Veth::new();
    let trace = Trace::start(&veth.near, &[]);
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 64")[1];
    client.ok(&format!("connect {}:{port}", Veth::FAR));
    server.ok("accept 0");
    veth.far.drop_incoming("meta l4proto tcp");
    client.ok("send 0 1000");
    trace.wait_for("four timeouts", |events| {
        of(events, "retransmit")
            .iter()
            .filter(|event| event.text("cause") == "rto")
            .count()
            >= 4
    });
    let ended = trace.stop();
    let kernel = veth.near.counter("TcpRetransSegs");
    assert!(
        ended.sum("retransmit", "segs").abs_diff(kernel) <= 1,
        "the next one may fall between the two readings"
    );
    let timeouts: Vec<_> = ended
        .of("retransmit")
        .into_iter()
        .filter(|event| event.text("cause") == "rto")
        .collect();
    for pair in timeouts.windows(2) {
        assert_eq!(pair[0].num("seq"), pair[1].num("seq"), "the same data");
        // More than one where the kernel skipped the program for the timeouts between.
        let segs = pair[1].num("segs");
        assert_eq!(
            pair[0].num("backoff") + segs,
            pair[1].num("backoff"),
            "{pair:#?}"
        );
        assert_eq!(pair[1].num("unacked_bytes"), 1000, "{pair:#?}");
        let ratio = pair[1].num("rto_us") as f64 / pair[0].num("rto_us") as f64;
        let doubled = f64::from(1 << segs);
        assert!(
            (0.9..1.1).contains(&(ratio / doubled)),
            "the timeout doubles: {pair:#?}"
        );
    }
}

/// The table of sockets is full, so nobody knows whose the segments are: what the kernel counted is told all the same.
#[test]
fn what_no_record_tells_of_is_the_remainder() {
    const SOCKETS: usize = 100;
    let veth = Veth::new();
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 1024")[1];
    let trace = Trace::start(&veth.near, &["--max-sockets", "64"]).may_lose();
    client.ok(&format!("connect_many {}:{port} {SOCKETS}", Veth::FAR));
    server.ok(&format!("accept_many 0 {SOCKETS}"));
    veth.far.drop_incoming("meta l4proto tcp");
    client.ok(&format!("send {} 1000", SOCKETS - 1));
    wait::until_true("it is sent again", || {
        veth.near.counter("TcpRetransSegs") >= 2
    });
    veth.far.nft_clear();
    server.ok(&format!("receive {} 1000", SOCKETS - 1));
    wait::until_true("it is acknowledged", || {
        let sockets = veth.near.ss(&["-Htn"]);
        sockets
            .lines()
            .all(|line| line.split_whitespace().nth(2) == Some("0"))
    });
    let ended = trace.stop();
    let [event] = ended.of("retransmit")[..] else {
        panic!("{:#?}", ended.events);
    };
    assert_eq!(
        event.num("segs") as u64,
        veth.near.counter("TcpRetransSegs")
    );
    assert_eq!(
        (event.text("owner_source"), event.text("cause")),
        ("unknown", "unknown")
    );
    assert_eq!(event.num("netns") as u64, veth.near.inode());
    for field in ["conn_id", "pid", "laddr", "raddr"] {
        assert!(event.field(field).is_null(), "{event:?}");
    }
}

/// Sends what does not arrive, until the kernel has counted two more segments, from a process that ends with it.
fn in_vain(veth: &Veth) {
    let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 64")[1];
    client.ok(&format!("connect {}:{port}", Veth::FAR));
    server.ok("accept 0");
    let before = veth.near.counter("TcpRetransSegs");
    veth.far.drop_incoming("meta l4proto tcp");
    client.ok("send 0 1000");
    wait::until_true("it is sent again", || {
        veth.near.counter("TcpRetransSegs") >= before + 2
    });
    client.ok("reset 0");
    veth.far.nft_clear();
}

#[test]
fn no_remainder_of_a_part_of_a_namespace() {
    let veth = Veth::new();
    let _seen = Traffic::start(&veth.near);
    let trace = Trace::start(&veth.near, &["--port", "1"]);
    in_vain(&veth);
    assert!(trace.stop().of("retransmit").is_empty());
}

/// Nobody knows what it had counted by then.
#[test]
fn no_remainder_of_a_namespace_that_was_not_seen_at_the_start() {
    let veth = Veth::new();
    in_vain(&veth);
    let trace = Trace::start(&veth.near, &[]);
    let _seen = Traffic::start(&veth.near);
    assert!(trace.stop().of("retransmit").is_empty());
}

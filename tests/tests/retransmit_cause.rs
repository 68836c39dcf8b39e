//! Why a segment was sent again: each cause provoked by traffic, and counted against the kernel's own counter of it.

use tcptrace_tests::{
    Ended, Netns, Trace, Traffic, Veth,
    events::{Event, of},
    wait,
};

struct Pair {
    veth: Veth,
    client: Traffic,
    server: Traffic,
    port: u64,
}

/// A connection between two namespaces, without tail-loss probes unless `probes`.
fn connected(probes: bool) -> Pair {
    let mut pair = ready();
    if !probes {
        pair.veth.near.sysctl("net.ipv4.tcp_early_retrans", "0");
    }
    pair.client
        .ok(&format!("connect {}:{}", Veth::FAR, pair.port));
    pair.server.ok("accept 0");
    // A measured round-trip time, so that timers are short.
    for _ in 0..4 {
        pair.client.ok("send 0 1000");
        pair.server.ok("receive 0 1000");
    }
    pair
}

fn ready() -> Pair {
    let veth = Veth::new();
    let (client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
    let port = server.ok("listen 10.99.0.2:0 64")[1];
    Pair {
        veth,
        client,
        server,
        port,
    }
}

fn segs(events: &[Event], cause: &str) -> u64 {
    of(events, "retransmit")
        .iter()
        .filter(|event| event.text("cause") == cause)
        .map(|event| event.num("segs") as u64)
        .sum()
}

/// The segments of each cause, which must add up to the kernel's sum.
fn equals_kernel(ended: &Ended, netns: &Netns) {
    assert_eq!(
        ended.sum("retransmit", "segs"),
        netns.counter("TcpRetransSegs"),
        "{:#?}",
        ended.events
    );
    assert_eq!(
        segs(&ended.events, "unknown"),
        0,
        "nothing is ambiguous here: {:#?}",
        ended.events
    );
    assert_eq!(
        segs(&ended.events, "fast"),
        netns.counter("TcpExtTCPFastRetrans"),
        "fast"
    );
    assert_eq!(
        segs(&ended.events, "loss_recovery"),
        netns.counter("TcpExtTCPSlowStartRetrans"),
        "loss_recovery"
    );
}

fn acknowledged(netns: &Netns) {
    wait::until_true("everything is acknowledged", || {
        netns
            .ss(&["-Htn"])
            .lines()
            .all(|line| line.split_whitespace().nth(2) == Some("0"))
    });
}

#[test]
fn rto() {
    let mut pair = connected(false);
    let trace = Trace::start(&pair.veth.near, &[]);
    pair.veth.far.drop_incoming("meta l4proto tcp");
    pair.client.ok("send 0 500");
    trace.wait_for("two timeouts", |events| segs(events, "rto") >= 2);
    pair.veth.far.nft_clear();
    pair.server.ok("receive 0 500");
    acknowledged(&pair.veth.near);
    let ended = trace.stop();
    equals_kernel(&ended, &pair.veth.near);
    assert_eq!(
        segs(&ended.events, "rto"),
        pair.veth.near.counter("TcpRetransSegs"),
        "{:#?}",
        ended.events
    );
    assert!(pair.veth.near.counter("TcpExtTCPTimeouts") >= 1);
    assert_eq!(pair.veth.near.counter("TcpExtTCPLossProbes"), 0);
}

/// The last segments are lost: a probe goes out before the timeout.
#[test]
fn tlp() {
    let mut pair = connected(true);
    let trace = Trace::start(&pair.veth.near, &[]);
    pair.veth.far.drop_incoming("meta l4proto tcp");
    pair.client.ok("send 0 500");
    trace.wait_for("a probe", |events| !of(events, "retransmit").is_empty());
    pair.veth.far.nft_clear();
    pair.server.ok("receive 0 500");
    acknowledged(&pair.veth.near);
    let ended = trace.stop();
    equals_kernel(&ended, &pair.veth.near);
    assert_eq!(
        ended.first("retransmit").text("cause"),
        "tlp",
        "{:#?}",
        ended.events
    );
    assert_eq!(
        segs(&ended.events, "tlp"),
        pair.veth.near.counter("TcpExtTCPLossProbes"),
        "{:#?}",
        ended.events
    );
}

/// One segment in forty is lost, those behind it arrive: selective acknowledgements tell.
#[test]
fn fast() {
    let mut pair = connected(false);
    pair.veth.near.ip("link set dev eth0 gso_max_segs 1");
    let trace = Trace::start(&pair.veth.near, &[]);
    pair.veth
        .far
        .drop_incoming("tcp flags & syn == 0 meta length > 1000 numgen inc mod 40 == 20");
    pair.client.say("send 0 300000");
    pair.server.ok("receive 0 300000");
    pair.client.hear();
    acknowledged(&pair.veth.near);
    let ended = trace.stop();
    assert!(segs(&ended.events, "fast") >= 3, "{:#?}", ended.events);
    equals_kernel(&ended, &pair.veth.near);
}

/// A whole flight is lost: after the timeout's one segment, each acknowledgement releases more.
#[test]
fn loss_recovery() {
    let mut pair = connected(false);
    pair.veth.near.ip("link set dev eth0 gso_max_segs 1");
    let trace = Trace::start(&pair.veth.near, &[]);
    pair.veth.far.drop_incoming("meta l4proto tcp");
    pair.client.ok("send 0 14000");
    trace.wait_for("a timeout", |events| segs(events, "rto") >= 1);
    pair.veth.far.nft_clear();
    pair.server.ok("receive 0 14000");
    acknowledged(&pair.veth.near);
    let ended = trace.stop();
    assert!(
        segs(&ended.events, "loss_recovery") >= 3,
        "{:#?}",
        ended.events
    );
    assert!(segs(&ended.events, "rto") >= 1);
    equals_kernel(&ended, &pair.veth.near);
}

#[test]
fn syn() {
    let mut pair = ready();
    let trace = Trace::start(&pair.veth.near, &[]);
    pair.veth
        .far
        .drop_incoming("tcp flags & (syn | ack) == syn");
    pair.client
        .say(&format!("connect {}:{}", Veth::FAR, pair.port));
    trace.wait_for("a second SYN", |events| {
        !of(events, "retransmit").is_empty()
    });
    pair.veth.far.nft_clear();
    pair.client.ok_heard();
    let ended = trace.stop();
    assert!(segs(&ended.events, "syn") >= 1);
    equals_kernel(&ended, &pair.veth.near);
    assert_eq!(
        segs(&ended.events, "syn"),
        pair.veth.near.counter("TcpExtTCPSynRetrans")
    );
    for event in ended.of("retransmit") {
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            (pair.client.pid(), "connect"),
            "{event:?}"
        );
        assert_eq!(
            (event.text("raddr"), event.num("rport") as u64),
            (Veth::FAR, pair.port)
        );
        assert!(
            event.num("lport") > 0 && event.field("srtt_us").is_null(),
            "{event:?}"
        );
    }
}

/// The SYN-ACK is lost on its way to the client: the listener's owner sends it again.
#[test]
fn synack() {
    let mut pair = ready();
    let trace = Trace::start(&pair.veth.far, &[]);
    pair.veth
        .near
        .drop_incoming("tcp flags & (syn | ack) == syn | ack");
    pair.client
        .say(&format!("connect {}:{}", Veth::FAR, pair.port));
    trace.wait_for("two more SYN-ACKs", |events| {
        of(events, "retransmit").len() >= 2
    });
    pair.veth.near.nft_clear();
    let client_port = pair.client.ok_heard()[1];
    pair.server.ok("accept 0");
    let ended = trace.stop();
    equals_kernel(&ended, &pair.veth.far);
    assert_eq!(
        segs(&ended.events, "synack"),
        pair.veth.far.counter("TcpRetransSegs")
    );
    for event in ended.of("retransmit") {
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            (pair.server.pid(), "iter"),
            "{event:?}"
        );
        assert_eq!(
            (event.num("lport") as u64, event.num("rport") as u64),
            (pair.port, client_port),
            "{event:?}"
        );
        assert_eq!(
            (event.text("laddr"), event.text("raddr")),
            (Veth::FAR, Veth::NEAR)
        );
        assert!(event.field("conn_id").is_null(), "{event:?}");
    }
}

/// A router on the way takes smaller packets only.
#[test]
fn pmtu() {
    let (near, router, far) = (Netns::new(), Netns::new(), Netns::new());
    near.join(&router, "eth0", "near");
    far.join(&router, "eth0", "far");
    near.ip("addr add 10.99.1.1/24 dev eth0");
    router.ip("addr add 10.99.1.2/24 dev near");
    router.ip("addr add 10.99.2.2/24 dev far");
    far.ip("addr add 10.99.2.1/24 dev eth0");
    near.ip("route add default via 10.99.1.2");
    far.ip("route add default via 10.99.2.2");
    router.ip("link set far mtu 1000");
    router.sysctl("net.ipv4.ip_forward", "1");
    near.sysctl("net.ipv4.tcp_early_retrans", "0");
    let (mut client, mut server) = (Traffic::start(&near), Traffic::start(&far));
    let port = server.ok("listen 10.99.2.1:0 16")[1];
    client.ok(&format!("connect 10.99.2.1:{port}"));
    server.ok("accept 0");
    let trace = Trace::start(&near, &[]);
    client.say("send 0 100000");
    server.ok("receive 0 100000");
    client.hear();
    acknowledged(&near);
    assert!(
        router.counter("IpFragFails") > 0,
        "the router refused packets"
    );
    let ended = trace.stop();
    assert!(segs(&ended.events, "pmtu") > 0, "{:#?}", ended.events);
    assert_eq!(
        ended.sum("retransmit", "segs"),
        near.counter("TcpRetransSegs")
    );
    assert_eq!(ended.first("retransmit").text("cause"), "pmtu");
}

/// The peer of a fast open takes the SYN and not its data, which go again at once: nothing was lost.
#[test]
fn unknown() {
    let mut pair = ready();
    // The client sends data without a cookie, which the server's listener did not ask for.
    pair.veth.near.sysctl("net.ipv4.tcp_fastopen", "5");
    let trace = Trace::start(&pair.veth.near, &[]);
    let address = format!("{}:{}", Veth::FAR, pair.port);
    pair.client.ok(&format!("connect_fast {address} 500"));
    pair.server.ok("accept 0");
    pair.server.ok("receive 0 500");
    acknowledged(&pair.veth.near);
    let ended = trace.stop();
    let failed = pair.veth.near.counter("TcpExtTCPFastOpenActiveFail");
    assert_eq!(failed, 1, "the data were not taken");
    let [event] = ended.of("retransmit")[..] else {
        panic!("{:#?}", ended.events);
    };
    assert_eq!(event.text("cause"), "unknown", "{event:?}");
    assert_eq!(event.pid(), pair.client.pid(), "{event:?}");
    assert_eq!(
        event.num("segs") as u64,
        pair.veth.near.counter("TcpRetransSegs")
    );
}

/// No route any more: from Linux 6.17 the kernel reports an attempt that sent nothing. It is shown, and not counted.
#[test]
fn refused_by_the_local_stack() {
    let mut pair = connected(false);
    let trace = Trace::start(&pair.veth.near, &[]);
    pair.veth.far.drop_incoming("meta l4proto tcp");
    pair.client.ok("send 0 500");
    trace.wait_for("a timeout", |events| segs(events, "rto") >= 1);
    pair.veth
        .near
        .ip(&format!("route add unreachable {}/32", Veth::FAR));
    if kernel() >= (6, 17) {
        trace.wait_for("an attempt that failed", |events| {
            of(events, "retransmit")
                .iter()
                .any(|event| event.num("err") < -1 && event.num("segs") == 0)
        });
    }
    let ended = trace.stop();
    assert_eq!(
        ended.sum("retransmit", "segs"),
        pair.veth.near.counter("TcpRetransSegs"),
        "{:#?}",
        ended.events
    );
}

fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release
        .split(['.', '-', '\n'])
        .map_while(|part| part.parse().ok());
    (parts.next().unwrap(), parts.next().unwrap())
}

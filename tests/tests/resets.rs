//! Resets sent and received, and who sent them, against the kernel's OutRsts.

use tcptrace_tests::{Ended, Netns, Trace, Traffic, events::Event};

struct Both {
    ended: Ended,
    netns: Netns,
    server: Traffic,
    client: Traffic,
    port: i64,
    client_port: i64,
}

/// One connection on which `act` makes one end send a reset.
fn run(address: &str, act: impl Fn(&mut Traffic, &mut Traffic)) -> Both {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok(&format!("listen {address}:0 16"))[1];
    let client_port = client.ok(&format!("connect {address}:{port}"))[1];
    server.ok("accept 0");
    act(&mut client, &mut server);
    let ended = trace.stop();
    Both {
        ended,
        netns,
        server,
        client,
        port: port as i64,
        client_port: client_port as i64,
    }
}

impl Both {
    fn reset(&self, direction: &str) -> &Event {
        let resets = self.ended.of("reset");
        let found: Vec<_> = resets
            .iter()
            .filter(|event| event.text("direction") == direction)
            .collect();
        assert_eq!(found.len(), 1, "{resets:#?}");
        found[0]
    }

    fn check(&self, sender: u32, sender_port: i64, receiver: u32) {
        let receiver_port = self.port + self.client_port - sender_port;
        let (sent, received) = (self.reset("sent"), self.reset("received"));
        assert_eq!(
            (sent.pid(), sent.num("lport"), sent.num("rport")),
            (sender, sender_port, receiver_port)
        );
        assert_eq!(
            (received.pid(), received.num("lport"), received.num("rport")),
            (receiver, receiver_port, sender_port)
        );
        assert_ne!(sent.num("conn_id"), received.num("conn_id"));
        assert!(sent.num("conn_id") >= 0 && received.num("conn_id") >= 0);
        assert_eq!(self.netns.counter("TcpOutRsts"), 1);
        assert_eq!(self.ended.process(sender)["resets_sent"], 1);
        assert_eq!(self.ended.process(receiver)["resets_received"], 1);
        assert_eq!(self.ended.process(sender)["resets_received"], 0);
    }
}

#[test]
fn by_linger_zero() {
    let both = run("127.0.0.1", |client, _| drop(client.ok("reset 0")));
    both.check(both.client.pid(), both.client_port, both.server.pid());
}

#[test]
fn by_linger_zero_ipv6() {
    let both = run("[::1]", |client, _| drop(client.ok("reset 0")));
    both.check(both.client.pid(), both.client_port, both.server.pid());
}

#[test]
fn by_closing_with_unread_data() {
    let both = run("127.0.0.1", |client, server| {
        client.ok("send 0 100");
        server.ok("close 0");
    });
    both.check(both.server.pid(), both.port, both.client.pid());
}

/// The kernel answers data to a socket that is gone; no process sends that.
#[test]
fn answer_to_data_after_close() {
    let both = run("127.0.0.1", |client, server| {
        server.ok("close 0");
        client.ok("send 0 100");
    });
    let received = both.reset("received");
    assert_eq!(received.pid(), both.client.pid());
    assert_eq!(
        both.netns.counter("TcpOutRsts"),
        both.ended.of("reset").len() as u64 - 1
    );
}

/// Every reset that the namespace sends is one event.
#[test]
fn as_many_as_the_kernel_counts() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    for at in 0..50 {
        client.ok(&format!("connect 127.0.0.1:{port}"));
        server.ok("accept 0");
        client.ok(&format!("reset {at}"));
        client.error("connect 127.0.0.1:4");
    }
    let ended = trace.stop();
    let sent = ended
        .of("reset")
        .iter()
        .filter(|event| event.text("direction") == "sent")
        .count();
    assert_eq!(sent as u64, netns.counter("TcpOutRsts"));
    assert_eq!(ended.process(client.pid())["resets_sent"], 50);
    assert_eq!(ended.process(server.pid())["resets_received"], 50);
    assert_eq!(
        ended.process(client.pid())["resets_received"],
        50,
        "those that refused it"
    );
}

//! What waits, is stuck or fills up before anybody looks stands in the screen's first frame: no event tells of it.

use tcptrace_tests::{
    Netns, Tmux, Traffic, Veth, incident::zero_window::ZeroWindow, tcptrace_path,
};

/// The screen as it is when all of it is there for the first time, of a trace of this namespace in which nothing happens.
fn first_frame(netns: &Netns) -> String {
    let tmux = Tmux::new(160, 40);
    tmux.run(&format!(
        "{} watch --netns {}",
        tcptrace_path().display(),
        netns.path()
    ));
    let first = tmux.wait_for("the first frame", |screen| screen.contains("q quit"));
    assert!(first.contains("no events"), "{first}");
    first
}

/// The only line that begins with a text.
fn line<'a>(screen: &'a str, text: &str) -> &'a str {
    let mut lines = screen.lines().filter(|line| line.starts_with(text));
    match (lines.next(), lines.next()) {
        (Some(line), None) => line,
        _ => panic!("one line of {text} in\n{screen}"),
    }
}

#[test]
fn a_queue_that_has_filled_up() {
    let netns = Netns::new();
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 8")[1];
    client.ok(&format!("connect_many 127.0.0.1:{port} 5"));
    let first = first_frame(&netns);
    let listeners = line(&first, "listeners ");
    assert!(
        listeners.contains(&format!(":{port} traffic 5/8")),
        "{first}"
    );
}

#[test]
fn a_connection_whose_peer_reads_nothing() {
    let incident = ZeroWindow::new();
    let first = first_frame(&incident.veth.near);
    let stuck = line(&first, "time-wait ");
    assert!(stuck.contains("stuck 1 with a persist timer"), "{first}");
    assert!(stuck.contains(&format!("→ {}:9000", Veth::FAR)), "{first}");
}

#[test]
fn a_time_wait_table_that_fills_up() {
    const CONNECTIONS: usize = 40;
    let netns = Netns::new();
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", "44");
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    server.say(&format!("serve 0 {CONNECTIONS}"));
    client.ok(&format!("churn 127.0.0.1:{port} {CONNECTIONS}"));
    server.ok_heard();
    let waiting = netns.ss(&["-Htn", "state", "time-wait"]).lines().count();
    assert_eq!(waiting, CONNECTIONS);
    let first = first_frame(&netns);
    let time_wait = line(&first, "time-wait ");
    let shown = time_wait.split_whitespace().nth(1);
    assert_eq!(shown, Some("40/44"), "{first}");
}

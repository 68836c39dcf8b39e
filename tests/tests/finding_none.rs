//! Busy and well: nothing is found.

use std::time::{Duration, Instant};

use tcptrace_tests::{
    Netns,
    finding::Diagnosis,
    incident::healthy::{self, RollingRestart},
};

/// How long each is looked at: `cargo xtask soak` does so for longer.
fn watch() -> Duration {
    let seconds = std::env::var("TCPTRACE_HEALTHY_SECONDS");
    Duration::from_secs(seconds.map_or(20, |text| text.parse().expect("seconds")))
}

/// What goes on meanwhile begins before, and ends after: tcptrace takes a while to start.
fn longer() -> Duration {
    watch() + Duration::from_secs(10)
}

/// Looks for trouble for so long, while `meanwhile` goes on, and finds none.
fn none(netns: &Netns, meanwhile: impl FnOnce(Instant)) {
    let diagnosis = Diagnosis::start(netns, watch());
    meanwhile(Instant::now() + watch());
    let found = diagnosis.findings();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nginx_under_wrk() {
    let netns = Netns::new();
    let _nginx = healthy::nginx(&netns);
    let before = netns.counter("TcpInSegs");
    let _wrk = healthy::wrk(&netns, longer());
    none(&netns, |_| ());
    assert!(netns.counter("TcpInSegs") - before > 10_000);
}

#[test]
fn redis_under_benchmark() {
    let netns = Netns::new();
    let before = netns.counter("TcpInSegs");
    let _busy = healthy::redis_benchmark(&netns);
    none(&netns, |_| ());
    assert!(netns.counter("TcpInSegs") - before > 100_000);
}

#[test]
fn browser() {
    let netns = Netns::new();
    let _nginx = healthy::nginx(&netns);
    let browser = healthy::browser(&netns);
    none(&netns, |_| ());
    assert!(
        browser.answers()["b'page'"] > 200,
        "{:?}",
        browser.answers()
    );
    assert!(netns.counter("TcpEstabResets") > 10, "some are given up");
}

/// A port scan, each of whose probes but one is answered with a reset.
#[test]
fn port_scan() {
    let netns = Netns::new();
    let _nginx = healthy::nginx(&netns);
    let scan = healthy::port_scan(&netns, longer());
    none(&netns, |_| ());
    let answers = scan.answers();
    let refused = &answers[&libc::ECONNREFUSED.to_string()];
    assert!(*refused > 1000 && answers["0"] == 1, "{answers:?}");
}

/// Each server behind a proxy is ended and started again; no request fails.
#[test]
fn rolling_restart() {
    let netns = Netns::new();
    let mut servers = RollingRestart::start(&netns);
    let browser = healthy::browser(&netns);
    none(&netns, |end| {
        for at in [0, 1].into_iter().cycle() {
            if Instant::now() > end {
                break;
            }
            servers.restart(&netns, at, Duration::from_millis(500));
            // Each is up for a while.
            std::thread::sleep(Duration::from_secs(2));
        }
    });
    assert!(
        netns.counter("TcpAttemptFails") > 0,
        "the proxy was refused"
    );
    let answers = browser.answers();
    assert_eq!(answers.len(), 1, "every page was had: {answers:?}");
}

/// As above, with a pause long enough for some hundred refusals; the proxy keeps the connections that it has after each, which tells no
/// event.
#[test]
fn rolling_restart_with_a_pause() {
    const PAUSE: Duration = Duration::from_secs(5);
    // Long enough for a server to have been up for a while.
    const UP: Duration = Duration::from_secs(3);
    let netns = Netns::new();
    let mut servers = RollingRestart::with_keepalive(&netns);
    let browser = healthy::browser(&netns);
    none(&netns, |end| {
        for at in [0, 1].into_iter().cycle() {
            if Instant::now() + PAUSE + UP > end {
                break;
            }
            servers.restart(&netns, at, PAUSE);
            std::thread::sleep(UP);
        }
    });
    let refused = netns.counter("TcpAttemptFails");
    assert!(refused > 20, "the proxy was refused {refused} times");
    let answers = browser.answers();
    assert_eq!(answers.len(), 1, "every page was had: {answers:?}");
}

#[test]
fn short_connections() {
    let netns = Netns::new();
    let (client, _redis) = healthy::short_connections(&netns);
    none(&netns, |_| ());
    assert!(client.answers()["True"] > 1000);
    assert!(netns.time_wait_sockets() > 1000);
}

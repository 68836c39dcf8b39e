//! How large a trace's file is.

use std::path::Path;

use serde_json::Value;
use tcptrace_tests::{Netns, Traffic, tcptrace, wait};

use crate::Watch;

/// What a second takes in which anything happens, however few events there are: each batch describes all columns.
const A_SECOND: u64 = 12_000;

/// What an event takes beside that, at most. Of a churn at full speed it is 12, which the bench asks for: the slower a machine is,
/// the longer are the times that are written, and the smaller the batches.
const AN_EVENT: u64 = 16;

/// Connection churn takes a few bytes an event, at both depths, and what is reported of it is what the kernel counted. How long it takes
/// is up to the machine, so what its seconds take is not the events'.
#[test]
fn a_trace_is_small() {
    for arguments in [&[][..], &["--events", "all"]] {
        let netns = Netns::new();
        let mut watch = Watch::start(&netns, "json", arguments);
        let beginning = watch.beginning();
        let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
        let port = server.ok("listen 127.0.0.1:0 1024")[1];
        server.say("serve 0 20000");
        client.ok(&format!("churn 127.0.0.1:{port} 20000"));
        server.ok_heard();
        netns.quiet();
        watch.stop();
        is_what_the_kernel_counted(&watch.trace(), &netns);
        let events = watch.shown().lines().count() as u64 - 2;
        // Only that there is enough to measure: how many there must be is what conservation.rs asks.
        assert!(events > 39_000, "{events} events");
        let bytes = watch.size() - beginning;
        let seconds = watch.seconds();
        assert!(
            bytes <= A_SECOND * seconds + AN_EVENT * events,
            "{bytes} bytes, {events} events, {seconds} seconds"
        );
    }
}

/// What [`a_trace_is_small`] allows beside the events: a trace of an event a second has no more.
#[test]
fn a_quiet_trace_is_small() {
    let netns = Netns::new();
    let mut watch = Watch::start(&netns, "json", &[]);
    let mut client = Traffic::start(&netns);
    let beginning = watch.beginning();
    for _ in 0..3 {
        let before = watch.size();
        assert_eq!(client.error("connect 127.0.0.1:81"), "ECONNREFUSED");
        wait::until_true("it is written", || watch.size() > before);
    }
    watch.stop();
    let (bytes, seconds) = (watch.size() - beginning, watch.seconds());
    assert!(
        bytes <= A_SECOND * seconds,
        "{bytes} bytes, {seconds} seconds"
    );
}

/// The report of a file, against the namespace's own counters: no more than they, and no less but for what the
/// kernel skipped and said so.
fn is_what_the_kernel_counted(file: &Path, netns: &Netns) {
    let output = tcptrace(["report", "--format", "json", "--from"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let skipped: u64 = report["lost"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lost| lost["skipped"].as_u64().unwrap() + lost["map_full"].as_u64().unwrap())
        .sum();
    let counter = |name| netns.counter(name);
    for (reported, counted) in [
        (
            &report["connections"]["connections"],
            counter("TcpActiveOpens") + counter("TcpPassiveOpens"),
        ),
        (
            &report["connections"]["connect_failed"],
            counter("TcpAttemptFails"),
        ),
        (&report["connections"]["resets_sent"], counter("TcpOutRsts")),
        (&report["retransmits"]["segs"], counter("TcpRetransSegs")),
        (
            &report["time_wait_overflow"]["count"],
            counter("TcpExtTCPTimeWaitOverflow"),
        ),
    ] {
        let reported = reported.as_u64().unwrap();
        assert!(
            reported <= counted && counted <= reported + skipped,
            "{reported} reported, {counted} counted, {skipped} skipped: {report}"
        );
    }
}

//! What a connection that nobody has accepted inherits: the owner of the listener that took it.

use tcptrace_tests::{Killed, Netns, Trace, Traffic, events::Event, wait};

fn born(event: &Event, port: u64) -> bool {
    event.kind() == "state"
        && event.text("new") == "ESTABLISHED"
        && event.text("old") == "SYN_RECV"
        && event.num("lport") == port as i64
}

/// A daemon listens, forks and ends: its child has the listener, and what comes in is the child's, never the dead one's.
#[test]
fn of_a_parent_that_ended() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "all"]);
    let (mut parent, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = parent.ok("listen 127.0.0.1:0 4096")[1];
    let child = parent.ok("fork")[0] as u32;
    let _ended = Killed(child);
    parent.exit();
    let gone = trace.so_far().len();
    wait::until_true("the child is found", || {
        client.ok(&format!("connect 127.0.0.1:{port}"));
        let events = trace.so_far();
        let mut born = events.iter().filter(|event| born(event, port));
        born.any(|event| event.pid() == child)
    });
    let ended = trace.stop();
    assert!(gone < ended.events.len());
    for event in ended.events.iter().filter(|event| born(event, port)) {
        assert!(
            event.pid() == child && event.text("owner_source") == "inherited"
                || event.pid() == 0 && event.text("owner_source") == "unknown",
            "of one that has ended: {event:?}"
        );
    }
}

/// A port of two processes, one for each family.
#[test]
fn of_two_families() {
    let netns = Netns::new();
    let (mut four, mut six) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = four.ok("listen 0.0.0.0:0 128")[1];
    six.ok(&format!("listen_v6 {port}"));
    let trace = Trace::start(&netns, &["--events", "all"]);
    let mut client = Traffic::start(&netns);
    client.ok(&format!("connect_many 127.0.0.1:{port} 5"));
    client.ok(&format!("connect_many [::1]:{port} 5"));
    let ended = trace.stop();
    let born: Vec<_> = ended
        .events
        .iter()
        .filter(|event| born(event, port))
        .collect();
    assert_eq!(born.len(), 10);
    for event in born {
        let listener = if event.text("laddr") == "::1" {
            &six
        } else {
            &four
        };
        assert_eq!(
            (event.pid(), event.text("owner_source")),
            (listener.pid(), "inherited"),
            "{event:?}"
        );
    }
}

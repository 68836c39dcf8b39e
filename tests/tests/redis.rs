//! What `redis-server` and its clients do, seen from outside.

use std::process::Stdio;

use tcptrace_tests::{
    Netns, Reaped, Trace,
    events::{connections, path},
    program::Redis,
    wait,
};

const PORT: i64 = Redis::PORT as i64;

fn redis(netns: &Netns) -> Redis {
    Redis::start(netns, &["--bind", "127.0.0.1"])
}

#[test]
fn a_server_that_was_there_before() {
    let netns = Netns::new();
    let server = redis(&netns);
    let trace = Trace::start(&netns, &["--events", "all"]);
    let set = Reaped(
        Redis::client(&netns, &["set", "key", "value"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let pid = set.id();
    wait::until_true("the server has the key", || {
        Redis::ask(&netns, &["get", "key"]).trim() == "value"
    });
    drop(set);
    let listener = netns.ss(&["-Htlnp"]);
    assert!(
        listener.contains(&format!("pid={},", server.pid())),
        "{listener}"
    );
    let ended = trace.stop();
    let mut seen = 0;
    for states in connections(&ended.events).values() {
        let first = states[0];
        match path(states) {
            way if way.starts_with("LISTEN SYN_RECV ESTABLISHED") => {
                assert_eq!(
                    (first.pid(), first.text("owner_source")),
                    (server.pid(), "inherited")
                );
                let after = states[2..]
                    .iter()
                    .map(|event| (event.pid(), event.text("owner_source")));
                assert!(
                    after.clone().all(|owner| owner == (server.pid(), "accept")),
                    "{states:#?}"
                );
                assert!(
                    states
                        .iter()
                        .all(|event| event.text("comm") == "redis-server")
                );
                assert!(states.iter().all(|event| event.num("lport") == PORT));
                seen += 1;
            }
            way if way.starts_with("CLOSE SYN_SENT ESTABLISHED") => {
                assert!(
                    states.iter().all(|event| event.text("comm") == "redis-cli"),
                    "{states:#?}"
                );
                seen += u32::from(first.pid() == pid);
            }
            other => panic!("{other}: {states:#?}"),
        }
    }
    assert!(
        seen >= 3,
        "the client that sets, and two ends at the server: {seen}"
    );
}

/// The server stops while clients are connected: it closes first, on each of them.
#[test]
fn a_server_that_shuts_down() {
    let netns = Netns::new();
    let server = redis(&netns);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let mut command = Redis::client(&netns, &["subscribe", "news"]);
            Reaped(
                command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap(),
            )
        })
        .collect();
    wait::until_true("three subscribers", || {
        Redis::ask(&netns, &["pubsub", "numsub", "news"])
            .trim()
            .ends_with('3')
    });
    let trace = Trace::start(&netns, &["--events", "all"]);
    Redis::ask(&netns, &["shutdown", "nosave"]);
    let of_server = |event: &tcptrace_tests::events::Event| event.pid() == server.pid();
    trace.wait_for("the server closes all", |events| {
        let closing = events
            .iter()
            .filter(|event| event.kind() == "state" && event.text("new") == "FIN_WAIT1");
        closing.filter(|event| of_server(event)).count() >= 3
    });
    let ended = trace.stop();
    let closed = ended
        .of("state")
        .into_iter()
        .filter(|event| of_server(event) && event.text("new") == "FIN_WAIT1");
    for event in closed.clone() {
        assert_eq!(
            (event.text("comm"), event.num("lport")),
            ("redis-server", PORT),
            "{event:?}"
        );
    }
    let found_at_start = closed
        .filter(|event| event.text("owner_source") == "iter")
        .count();
    assert_eq!(
        found_at_start, 3,
        "the subscribers' connections were there before the trace"
    );
    let listener = ended
        .of("state")
        .into_iter()
        .find(|event| event.text("old") == "LISTEN" && event.text("new") == "CLOSE");
    let listener = listener.expect("the listener closes");
    assert_eq!(
        (listener.pid(), listener.text("owner_source")),
        (server.pid(), "iter")
    );
    clients.clear();
}

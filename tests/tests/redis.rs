//! What `redis-server` and its clients do, seen from outside.

use std::process::{Command, Stdio};

use tcptrace_tests::{
    Netns, Reaped, Trace,
    events::{connections, path},
    need_program, wait,
};

const PORT: i64 = 6379;

/// A server in `netns` that answers.
fn redis(netns: &Netns) -> Reaped {
    let mut command = netns.command(need_program("redis-server", "redis-server"));
    command.args([
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        "/",
        "--port",
        &PORT.to_string(),
    ]);
    let server = Reaped(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait::until_true("redis answers", || ask(netns, &["ping"]).trim() == "PONG");
    server
}

fn client(netns: &Netns, arguments: &[&str]) -> Command {
    let mut command = netns.command(need_program("redis-cli", "redis-tools"));
    command
        .args(["-p", &PORT.to_string()])
        .args(arguments)
        .stderr(Stdio::null());
    command
}

fn ask(netns: &Netns, arguments: &[&str]) -> String {
    String::from_utf8(client(netns, arguments).output().unwrap().stdout).unwrap()
}

#[test]
fn a_server_that_was_there_before() {
    let netns = Netns::new();
    let server = redis(&netns);
    let trace = Trace::start(&netns, &["--events", "all"]);
    let set = Reaped(
        client(&netns, &["set", "key", "value"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let pid = set.id();
    wait::until_true("the server has the key", || {
        ask(&netns, &["get", "key"]).trim() == "value"
    });
    drop(set);
    let listener = netns.ss(&["-Htlnp"]);
    assert!(
        listener.contains(&format!("pid={},", server.id())),
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
                    (server.id(), "inherited")
                );
                let after = states[2..]
                    .iter()
                    .map(|event| (event.pid(), event.text("owner_source")));
                assert!(
                    after.clone().all(|owner| owner == (server.id(), "accept")),
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
            let mut command = client(&netns, &["subscribe", "news"]);
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
        ask(&netns, &["pubsub", "numsub", "news"])
            .trim()
            .ends_with('3')
    });
    let trace = Trace::start(&netns, &["--events", "all"]);
    ask(&netns, &["shutdown", "nosave"]);
    let of_server = |event: &tcptrace_tests::events::Event| event.pid() == server.id();
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
        (server.id(), "iter")
    );
    clients.clear();
}

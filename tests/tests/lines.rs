//! The lines that a person reads.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use tcptrace_tests::{Netns, Reaped, Traffic, tcptrace, wait};

#[test]
fn one_event_a_line_with_what_matters() {
    let netns = Netns::new();
    let inode = netns.inode().to_string();
    // Lines are the default where output is no terminal.
    let mut command = tcptrace([
        "watch",
        "--events",
        "connect_failed,fd_exhausted",
        "--netns",
        &inode,
    ]);
    let mut child = Reaped(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let output = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || output.lines().try_for_each(|line| send.send(line.unwrap())));
    let mut client = Traffic::start(&netns);
    let mut heard = vec![];
    wait::until_true("a line about the refused connect", || {
        assert_eq!(client.error("connect 127.0.0.1:4"), "ECONNREFUSED");
        heard.extend(lines.try_iter());
        heard.iter().any(|line| line.contains("ECONNREFUSED"))
    });
    client.ok("limit 8");
    client.ok("storm socket 30");
    wait::until_true("a line about the descriptors", || {
        heard.extend(lines.try_iter());
        heard.iter().any(|line| line.contains("EMFILE"))
    });
    let refused = heard
        .iter()
        .find(|line| line.contains("ECONNREFUSED"))
        .unwrap();
    for word in [
        "connect_failed",
        "traffic",
        &client.pid().to_string(),
        "127.0.0.1:4",
    ] {
        assert!(refused.contains(word), "{word} in: {refused}");
    }
    let full = heard.iter().find(|line| line.contains("EMFILE")).unwrap();
    for word in [
        "fd_exhausted",
        "traffic",
        &client.pid().to_string(),
        "socket",
    ] {
        assert!(full.contains(word), "{word} in: {full}");
    }
    assert!(
        !heard.iter().any(|line| line.starts_with('{')),
        "{heard:#?}"
    );
}

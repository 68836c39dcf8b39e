//! What the screen does to the terminal, and with one that it can't use.

use std::process::Stdio;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tcptrace_tests::{Netns, Tmux, Traffic, tcptrace};

use crate::{is_full, lines, out_of_descriptors, watch};

/// However it ends, the terminal is as it was.
#[test]
fn the_terminal_is_given_back() {
    let netns = Netns::new();
    type Way<'a> = (&'a str, &'a dyn Fn(&Tmux));
    let ends: [Way<'_>; 4] = [
        ("q", &|tmux| tmux.keys(&["q"])),
        ("Ctrl-C", &|tmux| tmux.keys(&["C-c"])),
        ("SIGTERM", &|tmux| signal(tmux, Signal::SIGTERM)),
        ("SIGINT", &|tmux| signal(tmux, Signal::SIGINT)),
    ];
    for (how, end) in ends {
        let tmux = Tmux::new(80, 24);
        tmux.run("stty -a >before");
        tmux.file("before");
        tmux.run(&format!(
            "sh -c 'echo $$ >pid; exec {}'; echo $? >code; stty -a >after",
            watch(&netns)
        ));
        tmux.wait_for("the screen", |screen| screen.contains("? help q quit"));
        assert_eq!(tmux.knows("alternate_on"), "1", "{how}");
        end(&tmux);
        let after = tmux.file("after");
        assert_eq!(after, tmux.file("before"), "{how}");
        assert_eq!(tmux.file("code").trim(), "0", "{how}");
        let shell = tmux.wait_for("the shell", |screen| screen.trim_end().ends_with("ready>"));
        assert!(
            shell.contains("nothing lost"),
            "a summary after {how}: {shell}"
        );
        for (what, is) in [
            ("alternate_on", "0"),
            ("mouse_any_flag", "0"),
            ("cursor_flag", "1"),
        ] {
            assert_eq!(tmux.knows(what), is, "{what} after {how}");
        }
    }
}

fn signal(tmux: &Tmux, signal: Signal) {
    let pid = tmux.file("pid").trim().parse().unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// A wheel scrolls what is under it.
#[test]
fn a_mouse_wheel() {
    let netns = Netns::new();
    let mut client = Traffic::start(&netns);
    let tmux = Tmux::new(80, 24);
    tmux.run(&watch(&netns));
    tmux.wait_for("the screen", |screen| screen.contains("? help q quit"));
    for _ in 0..20 {
        client.error("connect 127.0.0.1:4");
    }
    tmux.wait_for("a full stream", |screen| {
        lines(screen, "connect_failed").len() >= 3
    });
    assert_eq!(tmux.knows("mouse_any_flag"), "1");
    // One notch down in the last lines, as a terminal tells it (SGR).
    tmux.keys(&["-l", "\u{1b}[<65;10;20M"]);
    tmux.wait_for("it is scrolled back", |screen| screen.contains("paused"));
    tmux.keys(&["q"]);
}

/// Colours are those of the terminal, and none where NO_COLOR is set.
#[test]
fn colours() {
    let netns = Netns::new();
    let _client = out_of_descriptors(&netns);
    for (prefix, has_colours) in [("", true), ("NO_COLOR=1 ", false)] {
        let tmux = Tmux::new(80, 24);
        tmux.run(&format!("{prefix}{}", watch(&netns)));
        tmux.wait_for("the snapshot", is_full);
        let coloured = tmux.coloured();
        let has = ["\u{1b}[31m", "38;5;1m", ";31m"]
            .iter()
            .any(|red| coloured.contains(red));
        assert_eq!(has, has_colours, "{coloured:?}");
        tmux.keys(&["q"]);
    }
}

/// A terminal that nothing can be drawn on gets lines, and so does a pipe.
#[test]
fn where_there_is_no_screen() {
    let netns = Netns::new();
    let tmux = Tmux::new(80, 24);
    tmux.run(&format!("TERM=dumb {} --duration 1s", watch(&netns)));
    tmux.wait_for("lines", |screen| screen.contains("TIME (UTC)"));
    assert_eq!(tmux.knows("alternate_on"), "0");
    tmux.wait_for("the end", |screen| screen.trim_end().ends_with("ready>"));
    tmux.run("clear");
    tmux.run(&format!(
        "TERM=dumb {} --format screen; echo code $?",
        watch(&netns)
    ));
    let said = tmux.wait_for("a refusal", |screen| screen.contains("code 2"));
    assert!(
        said.contains("TERM is") && said.contains("--format lines"),
        "{said}"
    );

    let output = tcptrace(["watch", "--format", "screen"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs a terminal"), "{said}");
}

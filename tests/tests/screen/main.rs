//! The screen on a real terminal, while real programs are in trouble.

mod terminal;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tcptrace_tests::{Netns, Tmux, Traffic, Veth, tcptrace, tcptrace_path, wait};

/// A process that has no descriptor left, since before anybody looks.
fn out_of_descriptors(netns: &Netns) -> Traffic {
    let mut client = Traffic::start(netns);
    client.ok("limit 24");
    let counts = client.ok("storm socket 40");
    assert!(counts[1] > 0, "it fails already: {counts:?}");
    client
}

fn watch(netns: &Netns) -> String {
    format!(
        "{} watch --netns {}",
        tcptrace_path().display(),
        netns.path()
    )
}

/// The lines of the screen that contain a text.
fn lines<'a>(screen: &'a str, text: &str) -> Vec<&'a str> {
    screen.lines().filter(|line| line.contains(text)).collect()
}

/// Whether the descriptors of [`out_of_descriptors`] are shown: its command line may well hold `/24` too.
fn is_full(text: &str) -> bool {
    text.contains("24/24") || text.contains("25/24")
}

/// Started after a program began to fail: the first frame says so, and the next ones that it goes on.
#[test]
fn a_program_that_failed_before() {
    let netns = Netns::new();
    let mut client = out_of_descriptors(&netns);
    let name = format!("traffic[{}]", client.pid());
    let tmux = Tmux::new(80, 24);
    tmux.run(&watch(&netns));
    let first = tmux.wait_for("the snapshot", is_full);
    assert!(lines(&first, "descriptors")[0].contains(&name), "{first}");
    assert!(first.contains("nothing lost"), "{first}");

    // It goes on, and the screen counts what the program counts.
    let failed = client.ok("storm socket 50")[1];
    tmux.wait_for("the row", |screen| {
        lines(screen, &name).iter().any(|line| is_full(line))
            && lines(screen, "fd_exhausted")
                .iter()
                .any(|line| line.contains(&name))
    });
    // All of them: on the process's page is their sum.
    tmux.keys(&["Enter"]);
    let page = tmux.wait_for("the process's page", |screen| {
        lines(screen, "out of descriptors")
            .first()
            .is_some_and(|line| {
                line.split_whitespace()
                    .any(|word| word == failed.to_string())
            })
    });
    assert!(page.contains("/24, hard limit 24"), "{page}");
    assert!(page.contains("parents"), "{page}");
    tmux.keys(&["Escape"]);
    tmux.wait_for("the table", |screen| {
        screen.contains("processes by trouble")
    });

    // Another size.
    tmux.resize(200, 60);
    tmux.wait_for("whole words", |screen| screen.contains("EMFILE/S"));
    tmux.resize(80, 24);
    tmux.wait_for("few letters", |screen| screen.contains("ALL%"));
    tmux.resize(132, 40);
    tmux.wait_for("more columns", |screen| screen.contains("FOR"));
    tmux.keys(&["q"]);
    let left = tmux.wait_for("the summary", |screen| {
        screen.contains("processes with most trouble")
    });
    assert!(!left.contains("newest first"), "the screen stayed: {left}");
}

/// What was full is shown as it is now: with room again, and not at all when it is gone.
#[test]
fn what_is_over_is_not_shown() {
    let netns = Netns::new();
    let mut client = out_of_descriptors(&netns);
    let mut server = Traffic::start(&netns);
    let [listener, port] = server.ok("listen 127.0.0.1:0 1")[..] else {
        panic!("a listener and its port");
    };
    client.ok("free");
    client.ok(&format!("connect_many 127.0.0.1:{port} 2"));
    client.ok("storm socket 40");
    let name = format!("traffic[{}]", client.pid());
    let queue = format!(":{port} ");
    let tmux = Tmux::new(120, 30);
    tmux.run(&watch(&netns));
    tmux.wait_for("the snapshot", |screen| {
        lines(screen, "descriptors")
            .iter()
            .any(|line| line.contains(&name) && line.contains("24/24"))
            && lines(screen, "listeners")
                .iter()
                .any(|line| line.contains(&queue) && line.contains("2/1"))
    });
    client.ok("free");
    tmux.wait_for("descriptors again", |screen| {
        !lines(screen, "descriptors").is_empty() && lines(screen, "24/24").is_empty()
    });
    server.ok(&format!("accept_many {listener} 2"));
    tmux.wait_for("an empty queue", |screen| {
        lines(screen, "listeners")
            .iter()
            .any(|line| line.contains("nobody waits"))
    });
    client.ok("storm socket 40");
    tmux.wait_for("no descriptor again", |screen| {
        !lines(screen, "24/24").is_empty()
    });
    client.exit();
    server.exit();
    tmux.wait_for("neither", |screen| {
        lines(screen, "descriptors")
            .iter()
            .any(|line| !line.contains(&name))
            && lines(screen, "listeners")
                .iter()
                .any(|line| line.contains("none"))
    });
    tmux.keys(&["q"]);
}

/// Packets are dropped since before anybody looks; keys are pressed and the screen is read.
#[test]
fn packets_that_were_dropped_before() {
    let veth = Veth::new();
    let (mut server, mut client) = (Traffic::start(&veth.far), Traffic::start(&veth.near));
    server.ok("listen 10.99.0.2:7000 8");
    let port = client.ok("connect 10.99.0.2:7000")[1];
    server.ok("accept 0");
    veth.far.drop_incoming("meta l4proto tcp");
    client.ok("send 0 500");
    wait::until_true("the kernel backs off", || {
        veth.near.ss(&["-Htnoi"]).contains("backoff:")
    });

    let tmux = Tmux::new(120, 30);
    tmux.run(&format!(
        "SUDO_UID=65534 SUDO_GID=65534 {}",
        watch(&veth.near)
    ));
    let first = tmux.wait_for("the snapshot", |screen| {
        screen.contains("in retransmit back-off")
    });
    assert!(first.contains("10.99.0.2:7000"), "{first}");
    let name = format!("traffic[{}]", client.pid());
    tmux.wait_for("a retransmit of this process", |screen| {
        lines(screen, "retransmit ")
            .iter()
            .any(|line| line.contains(&name) && line.contains("rto"))
    });
    // The process's page: its connection with state, round-trip time and back-off. A retransmit in the moment before the sockets were
    // walked belongs to nobody, so the process need not be the first.
    tmux.keys(&["/", "t", "r", "a", "f", "f", "i", "c", "Enter"]);
    tmux.wait_for("its row alone", |screen| {
        lines(screen, "owner unknown").is_empty()
            && screen.lines().any(|line| line.starts_with(&name))
    });
    tmux.keys(&["Enter"]);
    let page = tmux.wait_for("its connection", |screen| {
        lines(screen, "10.99.0.2:7000")
            .iter()
            .any(|line| line.contains("ESTABLISHED"))
    });
    assert!(
        page.contains("BACKOFF") && page.contains(&port.to_string()),
        "{page}"
    );
    // One at a time: two escapes in one go are another key.
    tmux.keys(&["Escape"]);
    tmux.wait_for("the table", |screen| screen.contains("filter: traffic"));
    tmux.keys(&["Escape"]);
    tmux.wait_for("the whole table", |screen| {
        !screen.contains("filter: traffic")
    });

    // Grouped by peer.
    for grouping in ["programs", "containers", "peers"] {
        tmux.keys(&["g"]);
        tmux.wait_for(grouping, |screen| screen.contains(&format!("{grouping} ")));
    }
    let peers = tmux.wait_for("the peer", |screen| {
        !lines(screen, "10.99.0.2:7000").is_empty()
    });
    let row = lines(&peers, &name).first().copied().unwrap_or_default();
    assert!(row.contains("10.99.0.2:7000"), "{peers}");
    tmux.keys(&["g", "g"]);
    tmux.wait_for("processes", |screen| screen.contains("processes by"));

    // A filter as it is typed.
    tmux.keys(&["/", "n", "o", "s", "u", "c", "h"]);
    tmux.wait_for("nothing", |screen| {
        screen.contains("nothing matches the filter")
    });
    tmux.keys(&["Escape"]);
    tmux.wait_for("all", |screen| !lines(screen, &name).is_empty());

    tmux.keys(&["s"]);
    tmux.wait_for("another order", |screen| screen.contains("by open sockets"));
    tmux.keys(&["p"]);
    tmux.wait_for("a paused stream", |screen| screen.contains("paused"));
    tmux.keys(&["p", "e"]);
    tmux.wait_for("the kinds", |screen| screen.contains("[x] retransmit"));
    tmux.keys(&["Down", "Down", "Space", "Escape"]);
    tmux.wait_for("a stream without retransmits", |screen| {
        screen.contains("without retransmit") && lines(screen, "rto, 1 seg").is_empty()
    });
    help_comes_and_goes(&tmux);

    // The ticket is a file of whoever called sudo.
    tmux.keys(&["y"]);
    tmux.wait_for("the ticket", |screen| {
        screen.contains("written to tcptrace-")
    });
    let ticket = written(&tmux, "md");
    let file = fs::metadata(&ticket).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o777), (65_534, 0o600));
    let ticket = fs::read_to_string(ticket).unwrap();
    assert!(
        ticket.contains(&name) && ticket.contains("10.99.0.2:7000"),
        "{ticket}"
    );
    tmux.keys(&["q"]);
    tmux.wait_for("the shell", |screen| screen.trim_end().ends_with("ready>"));
}

/// Returns when help is away: else Escape and the next key may be read as one with Alt.
fn help_comes_and_goes(tmux: &Tmux) {
    let is_help = |screen: &str| screen.contains("group by process, program");
    tmux.keys(&["?"]);
    tmux.wait_for("help", is_help);
    tmux.keys(&["Escape"]);
    tmux.wait_for("no help", |screen| !is_help(screen));
}

/// The only file with this extension.
fn written(tmux: &Tmux, extension: &str) -> std::path::PathBuf {
    let mut found = fs::read_dir(tmux.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension));
    let path = found.next().expect("a file");
    assert!(found.next().is_none());
    path
}

/// What is recorded from a key on is what happened from then on, as the program counted it.
#[test]
fn recorded_from_here_on() {
    let netns = Netns::new();
    let mut client = out_of_descriptors(&netns);
    let name = format!("traffic[{}]", client.pid());
    let tmux = Tmux::new(120, 30);
    tmux.run(&watch(&netns));
    tmux.wait_for("the snapshot", is_full);
    client.ok("storm socket 70");
    tmux.wait_for("what was before", |screen| {
        !lines(screen, "fd_exhausted").is_empty()
    });
    tmux.wait_for("its sum", |screen| {
        lines(screen, &name).iter().any(|line| is_full(line))
    });
    // All of what was before has been told when the page has its sum.
    tmux.keys(&["Enter"]);
    tmux.wait_for("the sum", |screen| {
        lines(screen, "out of descriptors")
            .iter()
            .any(|line| line.contains(" 70 "))
    });
    tmux.keys(&["r"]);
    tmux.wait_for("the recording", |screen| screen.contains("recording to"));
    let failed: u64 = (0..3).map(|_| client.ok("storm socket 90")[1]).sum();
    tmux.wait_for("the new sum", |screen| {
        lines(screen, "out of descriptors")
            .iter()
            .any(|line| line.contains(&format!(" {} ", 70 + failed)))
    });
    tmux.keys(&["r"]);
    tmux.wait_for("its end", |screen| screen.contains("recorded to"));
    tmux.keys(&["q"]);
    let file = written(&tmux, "tcptrace");
    let output = tcptrace(["report", "fd-exhausted", "--format", "json", "--from"])
        .arg(&file)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let text = report.to_string();
    assert!(text.contains(&format!(":{failed}")), "{failed} in {text}");
    assert!(!text.contains(&format!(":{}", 70 + failed)), "{text}");

    // It opens in the same screen, with time controls.
    tmux.wait_for("the shell", |screen| screen.trim_end().ends_with("ready>"));
    tmux.run(&format!(
        "{} replay {}",
        tcptrace_path().display(),
        file.display()
    ));
    tmux.wait_for("a player", |screen| {
        screen.contains("1x") && screen.contains("space play")
    });
    tmux.keys(&["$"]);
    tmux.wait_for("its end", |screen| {
        lines(screen, &name).iter().any(|line| is_full(line))
    });
    tmux.keys(&["Enter"]);
    tmux.wait_for("the recorded sum", |screen| {
        lines(screen, "out of descriptors")
            .iter()
            .any(|line| line.contains(&format!(" {failed} ")))
    });
    tmux.keys(&["Escape", "0", "Space"]);
    tmux.wait_for("its beginning", |screen| screen.contains("0:00:00 of"));
    tmux.keys(&["q"]);
    tmux.wait_for("the shell", |screen| screen.trim_end().ends_with("ready>"));
}

/// In a flood of connections a key is answered, and nothing that counts is lost.
#[test]
fn keys_in_a_flood() {
    let netns = Netns::new();
    let mut server = Traffic::start(&netns);
    server.ok("listen 127.0.0.1:7000 512");
    let is_over = AtomicBool::new(false);
    let tmux = Tmux::new(80, 24);
    tmux.run(&watch(&netns));
    tmux.wait_for("the screen", |screen| screen.contains("? help q quit"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Traffic::start(&netns);
            while !is_over.load(Ordering::Relaxed) {
                server.say("serve 0 500");
                client.ok("churn 127.0.0.1:7000 500");
                server.ok_heard();
            }
        });
        tmux.wait_for("a flood", |screen| screen.contains("k events/s"));
        help_comes_and_goes(&tmux);
        is_over.store(true, Ordering::Relaxed);
    });
    let screen = tmux.screen();
    assert!(!screen.contains("LOST"), "{screen}");
    tmux.keys(&["q"]);
}

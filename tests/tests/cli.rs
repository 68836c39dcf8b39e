//! Exit codes, messages, and how a trace ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
};

use nix::sys::signal::Signal;
use tcptrace_tests::{
    Netns, Reaped, Trace, Traffic, need_program, require_root, tcptrace, tcptrace_path, wait,
};

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = tcptrace(arguments).stdin(Stdio::null()).output().unwrap();
    said(&output)
}

fn said(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}

/// Wrong input ends with 2 and names what is wrong, also without root.
#[test]
fn wrong_input() {
    for (arguments, named) in [
        (["--port", "70000"], "70000"),
        (["--cidr", "10.0.0.0/33"], "10.0.0.0/33"),
        (["--cidr", "fd00::/129"], "fd00::/129"),
        (["--cidr", "ten/8"], "ten/8"),
        (["--events", "state,nosuch"], "nosuch"),
        (["--pid", "99999999"], "99999999"),
        (["--pid", "-1"], "-1"),
        (["--netns", "/no/such/file"], "/no/such/file"),
        (["--cgroup", "/no/such/cgroup"], "/no/such/cgroup"),
        (["--duration", "soon"], "soon"),
        (["--format", "xml"], "xml"),
        (["--ring-size", "many"], "many"),
        (["--nosuch", "1"], "--nosuch"),
    ] {
        let (code, text) = run(&[&["watch"][..], &arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(
            text.contains(named),
            "{arguments:?} should be named in: {text}"
        );
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_process_that_has_ended_is_named() {
    let mut child = Reaped(std::process::Command::new("true").spawn().unwrap());
    let pid = child.id().to_string();
    child.wait().unwrap();
    let (code, text) = run(&["watch", "--pid", &pid]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&pid), "{text}");
}

#[test]
fn without_privilege() {
    require_root();
    // Another user cannot reach into the build folder.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.path().join("tcptrace");
    fs::copy(tcptrace_path(), &binary).unwrap();
    let mut command = std::process::Command::new(need_program("setpriv", "util-linux"));
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&binary)
        .current_dir("/");
    let (code, text) = said(
        &command
            .args(["watch", "--duration", "1s"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, Some(3), "{text}");
    let named = ["CAP_BPF", "root"].iter().any(|word| text.contains(word));
    assert!(named, "what is missing: {text}");
    assert!(text.contains("sudo"), "what to do: {text}");
    assert!(text.lines().count() < 20, "no verifier's log: {text}");
}

/// Root, but without the capabilities, as in most containers.
#[test]
fn root_without_capabilities() {
    require_root();
    const NONE: &str = "-bpf,-perfmon,-sys_admin";
    let mut command = std::process::Command::new(need_program("setpriv", "util-linux"));
    command
        .args(["--bounding-set", NONE, "--inh-caps", NONE])
        .arg(tcptrace_path());
    let (code, text) = said(
        &command
            .args(["watch", "--duration", "1s"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("CAP_BPF"), "what is missing: {text}");
    assert!(text.lines().count() < 20, "no verifier's log: {text}");
}

#[test]
fn version_and_help() {
    let output = tcptrace(["--version"]).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("tcptrace "));
    let output = tcptrace(["watch", "--help"]).output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for option in [
        "--pid",
        "--comm",
        "--port",
        "--cidr",
        "--netns",
        "--cgroup",
        "--events",
        "--duration",
        "--format",
    ] {
        assert!(help.contains(option), "{option} in {help}");
    }
}

/// The reader goes away, as `| head` does.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let netns = Netns::new();
    for format in ["json", "lines"] {
        let inode = netns.inode().to_string();
        let mut command = tcptrace([
            "watch", "--format", format, "--events", "all", "--netns", &inode,
        ]);
        let mut child = Reaped(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut client = Traffic::start(&netns);
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let lines = std::thread::spawn(move || {
            let mut first = String::new();
            reader.read_line(&mut first).unwrap();
            first
        });
        wait::until_true("it ends", || {
            client.error("connect 127.0.0.1:4");
            child.try_wait().unwrap().is_some()
        });
        assert!(!lines.join().unwrap().is_empty(), "one line came");
        let mut text = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
        assert!(
            !text.to_lowercase().contains("error") && !text.contains("panicked"),
            "{format}: {text}"
        );
        assert!(
            !text.to_lowercase().contains("broken pipe"),
            "{format}: {text}"
        );
    }
}

fn ends_with_summary(signal: Signal) {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut client = Traffic::start(&netns);
    for _ in 0..3 {
        assert_eq!(client.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    }
    let ended = trace.stop_with(signal);
    assert_eq!(ended.end.field("events")["connect_failed"], 3);
    for word in [
        "connect_failed",
        "lost",
        "skipped",
        "traffic",
        &client.pid().to_string(),
    ] {
        assert!(
            ended.summary.contains(word),
            "{word} in the summary: {}",
            ended.summary
        );
    }
}

#[test]
fn ctrl_c_ends_with_a_summary() {
    ends_with_summary(Signal::SIGINT);
}

#[test]
fn sigterm_ends_with_a_summary() {
    ends_with_summary(Signal::SIGTERM);
}

#[test]
fn duration_ends_with_a_summary() {
    let netns = Netns::new();
    let before = std::time::Instant::now();
    let trace = Trace::start(&netns, &["--duration", "2s"]);
    let mut client = Traffic::start(&netns);
    assert_eq!(client.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    let ended = trace.ended();
    assert!(before.elapsed().as_secs() >= 2, "it must not end early");
    assert_eq!(ended.of("connect_failed").len(), 1);
    assert!(
        ended.summary.contains("connect_failed"),
        "{}",
        ended.summary
    );
}

#[test]
fn start_names_kernel_hooks_and_filters() {
    let netns = Netns::new();
    let ended = Trace::start(&netns, &["--port", "4711"]).stop();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(ended.start.text("kernel"), release.trim());
    assert_eq!(ended.start.num("schema"), 1);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(ended.start.text("host"), host.trim());
    let hooks = ended.start.field("hooks").as_array().unwrap();
    for hook in ["inet_sock_set_state", "tcp_retransmit_skb"] {
        assert!(
            hooks
                .iter()
                .any(|row| row["hook"] == hook && row["rung"].is_string()),
            "{hook} in {hooks:?}"
        );
    }
    let filters = ended.start.field("filters").to_string();
    assert!(
        filters.contains("4711") && filters.contains(&netns.inode().to_string()),
        "{filters}"
    );
}

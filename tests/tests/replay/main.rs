//! A recorded trace says what the live one said, and what the kernel counted.

mod size;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::{sys::signal::Signal, unistd::Pid};
use tcptrace_tests::{Netns, Reaped, Replay, Traffic, require_root, tcptrace, wait};

/// A `watch` that prints into a file and records into another.
struct Watch {
    child: Reaped,
    folder: tempfile::TempDir,
}

impl Watch {
    fn start(netns: &Netns, format: &str, arguments: &[&str]) -> Self {
        require_root();
        let folder = tempfile::tempdir().unwrap();
        let child = tcptrace(["watch", "--format", format])
            .args(["--netns", &netns.inode().to_string()])
            .arg("--record")
            .arg(folder.path().join("trace"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("shown")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let watch = Self {
            child: Reaped(child),
            folder,
        };
        wait::until_true("the trace starts", || !watch.shown().is_empty());
        watch
    }

    fn shown(&self) -> String {
        fs::read_to_string(self.folder.path().join("shown")).unwrap()
    }

    fn trace(&self) -> std::path::PathBuf {
        self.folder.path().join("trace")
    }

    /// Bytes in its file.
    fn size(&self) -> u64 {
        fs::metadata(self.trace()).map_or(0, |file| file.len())
    }

    /// Bytes of the columns' names and of what stood before any event: its file, once it has its name.
    fn beginning(&self) -> u64 {
        wait::until("the file", || Some(self.size()).filter(|bytes| *bytes > 0))
    }

    /// Seconds from its start to its end in which something can be written, with the parts of one at both ends, and what is read of
    /// the namespace at first, which a busy machine writes after [`Watch::beginning`].
    fn seconds(&self) -> u64 {
        let end = Replay::of(&self.trace()).end.expect("an end");
        let us = end.field("duration_us").as_u64().expect("a number");
        us / 1_000_000 + 4
    }

    fn stop(&mut self) {
        signal(&self.child, Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success());
    }
}

fn signal(child: &Child, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

/// Connections, resets, failures, lost SYNs, a full time-wait table, and no descriptors left; how many calls found none.
fn trouble(netns: &Netns) -> u64 {
    netns.sysctl("net.ipv4.tcp_max_tw_buckets", "2");
    netns.drop_incoming("tcp dport 9");
    let (mut server, mut client) = (Traffic::start(netns), Traffic::start(netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    server.say("serve 0 300");
    client.ok(&format!("churn 127.0.0.1:{port} 300"));
    server.ok_heard();
    client.ok(&format!("connect 127.0.0.1:{port}"));
    client.ok("reset 0");
    assert_eq!(client.error("connect 127.0.0.1:81"), "ECONNREFUSED");
    client.ok("connect_nonblocking 127.0.0.1:9");
    wait::until_true("a SYN is sent again", || {
        netns.counter("TcpRetransSegs") > 0
    });
    client.ok("close_all");
    client.ok("limit 32");
    let [_, failed] = client.ok("storm socket 500")[..] else {
        panic!("two numbers")
    };
    failed
}

/// The same bytes, line by line, and in them the kernel's numbers.
#[test]
fn a_replay_prints_what_watch_printed() {
    let netns = Netns::new();
    let mut watch = Watch::start(&netns, "json", &["--events", "all"]);
    let no_descriptor = trouble(&netns);
    watch.stop();
    let replay = Replay::of(&watch.trace());
    let shown = watch.shown();
    for (shown, replayed) in shown.lines().zip(replay.text.lines()) {
        assert_eq!(shown, replayed);
    }
    assert_eq!(shown.len(), replay.text.len());

    assert_eq!(
        replay.sum("retransmit", "segs"),
        netns.counter("TcpRetransSegs")
    );
    assert_eq!(
        replay.sum("time_wait_overflow", "count"),
        netns.counter("TcpExtTCPTimeWaitOverflow")
    );
    assert!(netns.counter("TcpExtTCPTimeWaitOverflow") > 200);
    assert_eq!(replay.sum("fd_exhausted", "count"), no_descriptor);
    let end = replay.end.expect("an end");
    let sum = |field: &str| -> u64 {
        let rows = end.field("processes").as_array().unwrap().iter();
        rows.map(|row| row[field].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("retransmit_segs"), netns.counter("TcpRetransSegs"));
    assert_eq!(sum("fd_exhausted"), no_descriptor);
    let connections = replay
        .events
        .iter()
        .filter(|event| event.kind() == "connection");
    assert_eq!(sum("connections"), connections.count() as u64);
}

#[test]
fn lines_are_the_same_too_and_filters_narrow_them() {
    let netns = Netns::new();
    let mut watch = Watch::start(&netns, "lines", &[]);
    trouble(&netns);
    watch.stop();
    let output = tcptrace(["replay"]).arg(watch.trace()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), watch.shown());

    let all = Replay::of(&watch.trace());
    let failed = Replay::with(&watch.trace(), &["--events", "connect-failed,emfile"]);
    assert_eq!(
        failed.events.len(),
        all.of_kind("connect_failed").len() + all.of_kind("fd_exhausted").len()
    );
    let refused = Replay::with(&watch.trace(), &["--port", "81", "--events", "connection"]);
    assert_eq!(refused.events.len(), 1);
    assert_eq!(refused.end.unwrap().field("events")["connection"], 1);
    let pid = all.of_kind("fd_exhausted")[0].pid();
    let of_pid = Replay::with(&watch.trace(), &["--pid", &pid.to_string()]);
    assert!(of_pid.events.iter().all(|event| event.pid() == pid));
    let expected = all.events.iter().filter(|event| event.pid() == pid);
    assert_eq!(of_pid.events.len(), expected.count());
}

#[test]
fn a_killed_recorder_leaves_what_was_there_a_second_ago() {
    let netns = Netns::new();
    let mut watch = Watch::start(&netns, "json", &[]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    server.say("serve 0 100");
    client.ok(&format!("churn 127.0.0.1:{port} 100"));
    server.ok_heard();
    let connections = |replay: &Replay| replay.of_kind("connection").len();
    wait::until_true("the file has all connections", || {
        connections(&Replay::of(&watch.trace())) == 200
    });
    watch.child.kill().unwrap();
    watch.child.wait().unwrap();
    let replay = Replay::of(&watch.trace());
    assert_eq!(connections(&replay), 200);
    assert!(replay.end.is_none());
    assert!(replay.stderr.contains("truncated"), "{}", replay.stderr);
}

/// Killed while much happens: what came up to the last second is there.
#[test]
fn a_killed_recorder_loses_a_second_of_churn_at_most() {
    let netns = Netns::new();
    let mut watch = Watch::start(&netns, "json", &[]);
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 1024")[1];
    let mut churn = || {
        server.say("serve 0 20");
        client.ok(&format!("churn 127.0.0.1:{port} 20"));
        server.ok_heard();
    };
    // Each second it has more.
    let size = || fs::metadata(watch.trace()).map_or(0, |file| file.len());
    for _ in 0..4 {
        let before = size();
        wait::until_true("what happens is written", || {
            churn();
            size() > before
        });
    }
    let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    watch.child.kill().unwrap();
    watch.child.wait().unwrap();
    let replay = Replay::of(&watch.trace());
    assert!(replay.end.is_none());
    let last = replay.events.last().unwrap();
    let last = last.text("ts");
    // A second that waits to be written, and one for a machine that is busy.
    let earliest = seconds_text(killed.as_secs() - 2);
    assert!(
        last >= earliest.as_str(),
        "{last}, killed after {earliest} and 2 s"
    );
}

/// As `date` writes it: the beginning of a time in a trace.
fn seconds_text(seconds: u64) -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S", "-d", &format!("@{seconds}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// As `tcptrace watch --record t | head -1`: what is recorded has its end, and what came up to it.
#[test]
fn a_recording_ends_in_order_when_the_reader_of_what_is_shown_leaves() {
    require_root();
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let mut child = Reaped(
        tcptrace(["watch", "--format", "lines", "--record"])
            .arg(&file)
            .args(["--netns", &netns.inode().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("EVENT"), "{line}");
    let mut client = Traffic::start(&netns);
    assert_eq!(client.error("connect 127.0.0.1:81"), "ECONNREFUSED");
    assert!(child.wait().unwrap().success());
    let replay = Replay::of(&file);
    assert!(replay.end.is_some(), "{}", replay.stderr);
    assert_eq!(replay.of_kind("connection").len(), 1);
    assert_eq!(replay.of_kind("connect_failed").len(), 1);
}

/// A file system of its own, which is soon full.
struct Small(tempfile::TempDir);

impl Small {
    fn new(bytes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        nix::mount::mount(
            Some("none"),
            folder.path(),
            Some("tmpfs"),
            nix::mount::MsFlags::empty(),
            Some(size.as_str()),
        )
        .expect("mount a small file system");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = nix::mount::umount(self.0.path());
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_written_can_be_read() {
    let netns = Netns::new();
    let disk = Small::new("256k");
    let path = disk.path().join("trace");
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    let mut child = Reaped(
        tcptrace(["record", "--events", "all", "-o"])
            .arg(&path)
            .args(["--netns", &netns.inode().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    // Until it ends by itself: the disk is full by then.
    let mut rounds = 0;
    wait::until_true("the disk is full", || {
        rounds += 1;
        server.say("serve 0 2000");
        client.ok(&format!("churn 127.0.0.1:{port} 2000"));
        server.ok_heard();
        child.try_wait().unwrap().is_some()
    });
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut stderr).unwrap();
    assert_eq!(status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("can be read"), "{stderr}");
    let replay = Replay::of(&path);
    assert!(replay.stderr.contains("truncated"), "{}", replay.stderr);
    assert!(!replay.events.is_empty());
}

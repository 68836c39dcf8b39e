//! Descriptor exhaustion, against what the failing program counts itself, and what strace sees of it.

use std::{fs, process::Command};

use tcptrace_tests::{
    Ended, Netns, Reaped, Trace, Traffic, descriptor_calls, events::Event,
    incident::file_table::FileTable, need_program, sockets, wait,
};

/// A process with `limit` descriptors in a namespace of its own, and a trace of that process.
fn limited(limit: u32) -> (Netns, Traffic, Trace) {
    let netns = Netns::new();
    let mut process = Traffic::start(&netns);
    process.ok(&format!("limit {limit}"));
    let trace = Trace::start(&netns, &["--pid", &process.pid().to_string()]);
    (netns, process, trace)
}

fn exhausted<'a>(ended: &'a Ended, process: &Traffic, syscall: &str) -> Vec<&'a Event> {
    let mut events = ended.of("fd_exhausted");
    events.retain(|event| event.text("syscall") == syscall);
    for event in &events {
        assert_eq!(
            (event.pid(), event.text("comm")),
            (process.pid(), "traffic"),
            "{event:?}"
        );
        assert_eq!(
            (event.text("owner_source"), event.text("errno")),
            ("current", "EMFILE"),
            "{event:?}"
        );
        for field in ["conn_id", "family", "laddr", "lport", "raddr", "rport"] {
            assert!(event.field(field).is_null(), "{field} of {event:?}");
        }
    }
    events
}

fn total(events: &[&Event]) -> u64 {
    events.iter().map(|event| event.num("count") as u64).sum()
}

#[test]
fn in_socket() {
    let (netns, mut process, trace) = limited(20);
    let counted = process.ok("storm socket 50");
    assert!(counted[1] > 30, "{counted:?}");
    let open = fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .count() as i64;
    let ended = trace.stop();
    let events = exhausted(&ended, &process, "socket");
    assert_eq!(total(&events), counted[1]);
    for (at, event) in events.iter().enumerate() {
        // The first is told as it happens; what is counted after that may be told when the process cannot be asked any more.
        for (field, number) in [("limit_soft", 20), ("limit_hard", 20), ("open_fds", open)] {
            let unknown = at > 0 && event.field(field).is_null();
            assert!(unknown || event.num(field) == number, "{field}: {event:?}");
        }
        assert_eq!(event.num("netns") as u64, netns.inode());
    }
    assert_eq!(ended.process(process.pid())["fd_exhausted"], counted[1]);
}

#[test]
fn in_accept() {
    let netns = Netns::new();
    let mut process = Traffic::start(&netns);
    let port = process.ok("listen 127.0.0.1:0 128")[1];
    process.ok("limit 12");
    let trace = Trace::start(&netns, &["--events", "fd_exhausted"]);
    let clients: Vec<_> = netns.run(|| {
        (0..40)
            .map(|_| sockets::connect(&format!("127.0.0.1:{port}")).unwrap())
            .collect()
    });
    let counted = process.ok("storm accept 40 0");
    assert!(counted[0] > 0 && counted[1] > 20, "{counted:?}");
    let ended = trace.stop();
    // Rust's standard library calls accept4.
    assert_eq!(total(&exhausted(&ended, &process, "accept4")), counted[1]);
    assert_eq!(ended.process(process.pid())["fd_exhausted"], counted[1]);
    drop(clients);
}

/// By io_uring, which makes no system call of its own: caught where functions are hooked, and not seen elsewhere.
#[test]
fn by_io_uring() {
    let netns = Netns::new();
    let mut process = Traffic::start(&netns);
    let port = process.ok("listen 127.0.0.1:0 128")[1];
    let makes_sockets = process.ok("uring")[0] == 1;
    process.ok("limit 12");
    let trace = Trace::start(&netns, &["--events", "fd_exhausted"]);
    let clients: Vec<_> = netns.run(|| {
        (0..40)
            .map(|_| sockets::connect(&format!("127.0.0.1:{port}")).unwrap())
            .collect()
    });
    let accepts = process.ok("storm accept_uring 40 0");
    assert!(accepts[0] > 0 && accepts[1] > 20, "{accepts:?}");
    let mut failed = accepts[1];
    if makes_sockets {
        assert_eq!(process.ok("storm socket_uring 30"), [0, 30]);
        failed += 30;
    } else {
        // They do from 5.19 on.
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert!(release.starts_with("5.1"), "{release}");
    }
    let ended = trace.stop();
    let hooks = ended.start.field("hooks").as_array().unwrap();
    let hook = hooks.iter().find(|hook| hook["hook"] == "fd_exhausted");
    let expected = if hook.unwrap()["rung"] == "tracepoint" {
        0
    } else {
        failed
    };
    let events = exhausted(&ended, &process, "");
    assert_eq!(total(&events), expected);
    assert_eq!(ended.sum("fd_exhausted", "count"), expected);
    drop(clients);
}

/// As strace counts them.
#[test]
fn as_strace_counts() {
    let (netns, mut process, trace) = limited(20);
    let port = process.ok("listen 127.0.0.1:0 128")[1];
    let clients: Vec<_> = netns.run(|| {
        (0..40)
            .map(|_| sockets::connect(&format!("127.0.0.1:{port}")).unwrap())
            .collect()
    });
    let strace = Strace::attach(process.pid());
    process.ok("storm accept 40 0");
    process.ok("storm socket 30");
    process.ok("storm open 17");
    let failed = strace.detach();
    let ended = trace.stop();
    for syscall in ["accept4", "socket", "openat"] {
        let call = format!("{syscall}(");
        let lines = failed.lines().filter(|line| line.contains(&call));
        let count = lines.filter(|line| line.contains("EMFILE")).count() as u64;
        assert!(count > 10, "{failed}");
        assert_eq!(total(&exhausted(&ended, &process, syscall)), count);
    }
    let all = failed
        .lines()
        .filter(|line| line.contains("EMFILE"))
        .count();
    assert_eq!(ended.process(process.pid())["fd_exhausted"], all);
    drop(clients);
}

/// strace at work on a process: it writes down every call that fails.
struct Strace {
    child: Reaped,
    file: tempfile::NamedTempFile,
}

impl Strace {
    fn attach(pid: u32) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let child = Command::new(need_program("strace", "strace"))
            .args(["-qq", "-e", "status=failed", "-o"])
            .arg(file.path())
            .args(["-p", &pid.to_string()])
            .spawn()
            .unwrap();
        let traced = format!("TracerPid:\t{}", child.id());
        wait::until_true("strace attaches", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.lines().any(|line| line == traced)
        });
        Self {
            child: Reaped(child),
            file,
        }
    }

    /// What it wrote.
    fn detach(mut self) -> String {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        fs::read_to_string(self.file.path()).unwrap()
    }
}

/// Name resolution and configuration fail with it: other calls that return descriptors count each on its own.
#[test]
fn in_several_calls() {
    let (_netns, mut process, trace) = limited(12);
    let sockets = process.ok("storm socket 30");
    let opens = process.ok("storm open 17");
    assert_eq!(opens, [0, 17]);
    let ended = trace.stop();
    assert_eq!(total(&exhausted(&ended, &process, "socket")), sockets[1]);
    assert_eq!(total(&exhausted(&ended, &process, "openat")), 17);
    assert_eq!(
        ended.process(process.pid())["fd_exhausted"],
        sockets[1] + 17
    );
}

/// Every call that returns a descriptor is watched.
#[test]
fn in_each_call() {
    let (_netns, mut process, trace) = limited(12);
    assert!(process.ok("storm socket 12")[1] > 0);
    let failed = process.ok("each_call")[0];
    assert_eq!(failed, descriptor_calls::ALL.len() as u64, "all of them");
    let ended = trace.stop();
    for (syscall, _) in descriptor_calls::ALL {
        let events = exhausted(&ended, &process, syscall);
        assert!(!events.is_empty(), "no event of {syscall}");
        if *syscall != "socket" {
            assert_eq!(total(&events), 1, "{events:#?}");
        }
    }
}

/// The machine's table of open files is full. Root is exempt, so the process is not root.
#[test]
fn of_the_whole_machine() {
    let mut table = FileTable::new();
    let trace = Trace::start(&table.netns, &["--events", "fd_exhausted"]);
    let failures = table.exhaust();
    let ended = trace.stop();
    assert_eq!(ended.sum("fd_exhausted", "count"), failures);
    for event in ended.of("fd_exhausted") {
        assert_eq!(
            (event.text("errno"), event.text("syscall")),
            ("ENFILE", "socket"),
            "{event:?}"
        );
        assert_eq!(
            (event.pid(), event.num("uid")),
            (table.process.pid(), i64::from(FileTable::NOBODY))
        );
    }
}

/// A loop on a full table: the first failure is told at once, then a few a second, and the sum is exact.
#[test]
fn a_storm_is_aggregated() {
    let (_netns, mut process, trace) = limited(12);
    process.say("storm socket 300000");
    trace.wait_for("the first failure", |events| {
        events.iter().any(|event| event.kind() == "fd_exhausted")
    });
    let counted = process.ok_heard();
    let ended = trace.stop();
    let events = exhausted(&ended, &process, "socket");
    assert_eq!(total(&events), counted[1]);
    assert!(counted[1] > 299_000);
    let counts: Vec<_> = events
        .iter()
        .map(|event| (event.text("ts"), event.num("count")))
        .collect();
    assert_eq!(counts[0].1, 1, "the first is told at once: {counts:?}");
    let seconds = (events.last().unwrap().time_ns() - events[0].time_ns()) as usize / 1_000_000_000;
    assert!(
        events.len() <= 12 * (seconds + 1),
        "{} events in about {seconds} s",
        events.len()
    );
    assert_eq!(ended.process(process.pid())["fd_exhausted"], counted[1]);
}

/// Two processes that storm at once are counted each on its own.
#[test]
fn two_processes_at_once() {
    let netns = Netns::new();
    let (mut one, mut two) = (Traffic::start(&netns), Traffic::start(&netns));
    one.ok("limit 12");
    two.ok("limit 16");
    let trace = Trace::start(&netns, &[]);
    one.say("storm socket 50000");
    two.say("storm open 20000");
    let (one_counted, two_counted) = (one.ok_heard(), two.ok_heard());
    assert_eq!(two_counted[1], 0, "descriptors are closed again");
    two.ok("storm socket 20");
    let two_counted = two.ok("storm open 20000");
    let ended = trace.stop();
    assert_eq!(ended.process(one.pid())["fd_exhausted"], one_counted[1]);
    assert_eq!(total(&exhausted_of(&ended, one.pid())), one_counted[1]);
    let two_total = total(&exhausted_of(&ended, two.pid()));
    assert!(
        two_total > two_counted[1] && two_total <= two_counted[1] + 20,
        "{two_total} of {two_counted:?}"
    );
}

fn exhausted_of(ended: &Ended, pid: u32) -> Vec<&Event> {
    ended
        .of("fd_exhausted")
        .into_iter()
        .filter(|event| event.pid() == pid)
        .collect()
}

/// More processes, one after the other, than the kernel's map has room for.
#[test]
fn in_many_processes() {
    const PROCESSES: u64 = 9_000;
    const SCRIPT: &str = "
import os, resource, socket
for _ in range(9000):
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        try:
            socket.socket()
            os._exit(1)
        except OSError:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
";
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "fd_exhausted"]);
    let mut command = netns.command(need_program("python3", "python3"));
    let status = command.args(["-c", SCRIPT]).status().unwrap();
    assert!(status.success());
    let ended = trace.stop();
    assert_eq!(ended.sum("fd_exhausted", "count"), PROCESSES);
}

/// A program with room has no such event.
#[test]
fn not_when_there_is_room() {
    let (_netns, mut process, trace) = limited(100);
    assert_eq!(process.ok("storm socket 20"), [20, 0]);
    let ended = trace.stop();
    assert!(ended.of("fd_exhausted").is_empty());
}

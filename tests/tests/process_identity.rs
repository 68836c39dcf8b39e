//! What is known of a process, also of one that is gone when its event is read.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Stdio,
    time::SystemTime,
};

use serde_json::{Value, json};
use tcptrace_tests::{
    Cgroup, Netns, Reaped, Recording, Trace, Traffic, events,
    finding::{recorded, the_only},
    need_program, open_descriptors, start_time, wait,
};

/// A process that connects and exits at once, many times: name, user, command line, control group and unit are right.
#[test]
fn of_a_process_that_lives_for_moments() {
    const USER: &str = "1234";
    let cgroup = Cgroup::new("tcptrace-test.slice/short-lived.service");
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("short-lived");
    fs::copy(Traffic::path(), &program).unwrap();
    let trace = Trace::start(&netns, &[]);
    let mut pids = vec![];
    for at in 0..30 {
        let members = cgroup.path().join("cgroup.procs");
        let mut command = netns.command(need_program("setpriv", "util-linux"));
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
            .arg(&program);
        command
            .args(["once", "127.0.0.1:4"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if at % 2 == 0 {
            // Then next to nothing lies behind the arguments in its memory.
            command.env_clear();
        }
        // SAFETY: writing a file is a few system calls, and the C library keeps its allocator usable after a fork.
        unsafe { command.pre_exec(move || fs::write(&members, "0")) };
        let mut child = command.spawn().unwrap();
        pids.push(child.id());
        assert_eq!(child.wait().unwrap().code(), Some(1), "refused");
    }
    let ended = trace.stop();
    let failures = ended.of("connect_failed");
    assert_eq!(
        failures.iter().map(|event| event.pid()).collect::<Vec<_>>(),
        pids
    );
    for event in failures {
        assert_eq!(
            (event.text("comm"), event.num("uid")),
            ("short-lived", 1234),
            "{event:?}"
        );
        assert_eq!(event.text("cgroup"), cgroup.name(), "{event:?}");
        assert_eq!(event.text("unit"), "short-lived.service", "{event:?}");
        assert!(event.field("container").is_null());
        let age = event.time_ns() - events::nanoseconds(event.text("pid_start"));
        assert!((0..10_000_000_000).contains(&age), "{event:?}");
    }
    for pid in pids {
        assert_eq!(ended.process(pid)["comm"], "short-lived");
        assert_eq!(ended.process(pid)["connect_failed"], 1);
        let cmdline = format!("{} once 127.0.0.1:4", program.display());
        assert_eq!(ended.process(pid)["cmdline"], cmdline.as_str());
    }
}

/// `pid_start` against `/proc/PID/stat`.
#[test]
fn start_time_agrees_with_proc() {
    let netns = Netns::new();
    let mut before = Traffic::start(&netns);
    let trace = Trace::start(&netns, &[]);
    let mut after = Traffic::start(&netns);
    for process in [&mut before, &mut after] {
        assert_eq!(process.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    }
    let ended = trace.stop();
    let since_boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64;
    let boot = now - (since_boot.tv_sec() * 1_000_000_000 + since_boot.tv_nsec());
    for process in [&before, &after] {
        // 100 ticks a second, as seen from user space.
        let expected = boot + start_time(process.pid()) as i64 * 10_000_000;
        let event = ended
            .of("connect_failed")
            .into_iter()
            .find(|event| event.pid() == process.pid())
            .unwrap();
        let told = events::nanoseconds(event.text("pid_start"));
        assert!(
            (told - expected).abs() < 50_000_000,
            "{} ms apart: {event:?}",
            (told - expected) / 1_000_000
        );
        assert_eq!(
            ended.process(process.pid())["pid_start"],
            event.text("pid_start")
        );
    }
}

/// What was read of a process before its first event is under the name of its events: the process has no socket, so nothing else tells of it.
#[test]
fn facts_and_events_name_it_alike() {
    const LIMIT: u64 = 24;
    const LEAK: &str = "
import time
files = []
while True:
    try:
        files.append(open('/dev/null'))
    except OSError:
        time.sleep(0.1)
";
    let netns = Netns::new();
    let mut command = netns.limited_command(LIMIT, LIMIT, need_program("python3", "python3"));
    let process = Reaped(command.args(["-c", LEAK]).spawn().unwrap());
    wait::until_true("no descriptor is left", || {
        open_descriptors(process.id()) as u64 == LIMIT
    });
    let mut recording = Recording::start(&[&netns]);
    recording.end();
    recording.has_one_name_for_each_process();
    let finding = the_only("fd-limit", &recorded(&recording.file()));
    assert_eq!((finding.pid(), finding.processes()), (process.id(), 1));
    assert!(finding.number("EMFILE from openat") > 0);
}

/// What `/proc` counts start times in: a hundred a second.
fn ticks_since_boot() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    now.tv_sec() as u64 * 100 + now.tv_nsec() as u64 / 10_000_000
}

/// The name after `exec`, not the one of the shell that forked.
#[test]
fn name_after_exec() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut command = netns.command("sh");
    command
        .args(["-c", "exec \"$0\" once 127.0.0.1:4"])
        .arg(Traffic::path());
    let mut child = Reaped(command.spawn().unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let ended = trace.stop();
    let failure = ended.first("connect_failed");
    assert_eq!(
        (failure.pid(), failure.text("comm")),
        (child.id(), "traffic")
    );
}

/// Container and unit, from the control group's path.
#[test]
fn container_and_unit() {
    let id = "0123456789abcdef".repeat(4);
    let pod = "12345678-9abc-def0-1234-56789abcdef0";
    let under = pod.replace('-', "_");
    let slice =
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice");
    let container =
        |runtime: &str, pod: Option<&str>| json!({ "runtime": runtime, "id": id, "pod_uid": pod });
    let cases: [(String, Value, Value); 10] = [
        (
            format!("tcptrace-test.slice/docker-{id}.scope"),
            container("docker", None),
            Value::Null,
        ),
        (
            format!("tcptrace-test.slice/docker/{id}"),
            container("docker", None),
            Value::Null,
        ),
        (
            format!("tcptrace-test.slice/libpod-{id}.scope"),
            container("podman", None),
            Value::Null,
        ),
        (
            format!("{slice}/cri-containerd-{id}.scope"),
            container("containerd", Some(pod)),
            Value::Null,
        ),
        (
            format!("{slice}/crio-{id}.scope"),
            container("crio", Some(pod)),
            Value::Null,
        ),
        (
            format!("{slice}/docker-{id}.scope"),
            container("docker", Some(pod)),
            Value::Null,
        ),
        (
            format!("kubepods/besteffort/pod{pod}/{id}"),
            container("kubernetes", Some(pod)),
            Value::Null,
        ),
        (
            "tcptrace-test.slice/redis-server.service".into(),
            Value::Null,
            json!("redis-server.service"),
        ),
        (
            "tcptrace-test.slice/web@1.service/worker".into(),
            Value::Null,
            json!("web@1.service"),
        ),
        ("tcptrace-test.slice/plain".into(), Value::Null, Value::Null),
    ];
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut processes = vec![];
    // By port, as another test lets pids be used again.
    for (port, (path, container, unit)) in (4..).zip(cases) {
        let cgroup = Cgroup::new(&path);
        let mut process = Traffic::start(&netns);
        cgroup.add(process.pid());
        assert_eq!(
            process.error(&format!("connect 127.0.0.1:{port}")),
            "ECONNREFUSED"
        );
        // Gone, with its control group, before anybody looks.
        let pid = process.pid();
        process.exit();
        processes.push((port, pid, cgroup.name(), container, unit));
    }
    let ended = trace.stop();
    for (port, pid, path, container, unit) in processes {
        let event = ended
            .of("connect_failed")
            .into_iter()
            .find(|event| event.num("rport") == port)
            .unwrap();
        assert_eq!(event.pid(), pid);
        assert_eq!(event.text("cgroup"), path);
        assert_eq!(event.field("container"), &container, "{path}");
        assert_eq!(event.field("unit"), &unit, "{path}");
    }
}

/// A process that moves to another control group is found there.
#[test]
fn moved_to_another_control_group() {
    let cgroup = Cgroup::new("tcptrace-test-moved.slice/second.service");
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut process = Traffic::start(&netns);
    assert_eq!(process.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    trace.wait_for("the first failure", |events| {
        events.iter().any(|event| event.kind() == "connect_failed")
    });
    cgroup.add(process.pid());
    assert_eq!(process.error("connect 127.0.0.1:5"), "ECONNREFUSED");
    let ended = trace.stop();
    let failures = ended.of("connect_failed");
    assert!(failures[0].field("unit").is_null(), "{:?}", failures[0]);
    assert_eq!(
        failures[1].text("unit"),
        "second.service",
        "{:?}",
        failures[1]
    );
}

/// A pid that is used again is another process: each has a row, and starts where it started.
#[test]
fn a_reused_pid_is_another_process() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let mut first = Traffic::start(&netns);
    assert_eq!(first.error("connect 127.0.0.1:4"), "ECONNREFUSED");
    let pid = first.pid();
    let start = start_time(pid);
    first.exit();
    // Left to itself, the kernel does not come around to a pid within a hundredth of a second.
    wait::until_true("the clock ticks on", || ticks_since_boot() > start);
    // The kernel gives the next free pid after the last one; others may be quicker, so more than once.
    let mut second = (0..2000)
        .find_map(|_| {
            fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
            let process = Traffic::start(&netns);
            if process.pid() == pid {
                return Some(process);
            }
            process.exit();
            None
        })
        .expect("the pid comes again");
    assert_eq!(second.error("connect 127.0.0.1:5"), "ECONNREFUSED");
    assert_eq!(second.error("connect 127.0.0.1:5"), "ECONNREFUSED");
    let ended = trace.stop();
    let failures = ended.of("connect_failed");
    assert!(failures.iter().all(|event| event.pid() == pid));
    let starts: Vec<_> = failures
        .iter()
        .map(|event| event.text("pid_start"))
        .collect();
    assert!(
        starts[0] < starts[1] && starts[1] == starts[2],
        "{starts:?}"
    );
    let rows = ended.end.field("processes").as_array().unwrap();
    let mut counts: Vec<_> = rows
        .iter()
        .filter(|row| row["pid"] == pid)
        .map(|row| row["connect_failed"].as_u64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
}

//! `record -- COMMAND`: the command's whole process tree and only it; its output, signals and exit code pass through.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use tcptrace_tests::{
    Netns, Reaped, Replay, Traffic, need_program, require_root, tcptrace, tcptrace_path,
};

/// Records `command` inside `netns`.
fn record(netns: &Netns, file: &Path, arguments: &[&str], command: &[&str]) -> Output {
    require_root();
    netns
        .command(tcptrace_path())
        .args(["record", "-o"])
        .arg(file)
        .args(arguments)
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn output_and_exit_code_pass_through() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let run = |command: &[&str]| record(&netns, &file, &["--force"], command);

    let output = run(&["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!(output.stdout, b"out\n");
    assert!(said(&output).starts_with("err\n"), "{}", said(&output));
    assert!(Replay::of(&file).end.is_some());

    let output = run(&["sh", "-c", "kill -KILL $$"]);
    assert_eq!(output.status.code(), Some(128 + 9), "{}", said(&output));

    let output = record(&netns, &file, &[], &["true"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    assert!(said(&output).contains("--force"), "{}", said(&output));
    // A command's own 2 is told from a mistake on this command line.
    let output = record(&netns, &file, &["--no-such-option"], &["true"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    let output = tcptrace(["record", "--no-such-option"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

/// Also with `--force` the old file is there until a new trace runs, and nothing else is left.
#[test]
fn a_start_that_fails_keeps_the_old_trace() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = folder.path().join("t");
    let binary = folder.path().join("tcptrace");
    fs::copy(tcptrace_path(), &binary).unwrap();
    fs::write(&file, "mine").unwrap();
    let is_kept = |output: &Output, code: i32, names: &str| {
        assert_eq!(output.status.code(), Some(code), "{}", said(output));
        assert!(said(output).contains(names), "{}", said(output));
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    };
    for (command, code) in [("/no/such/program", 127), ("/dev/null", 126)] {
        let output = record(&netns, &file, &["--force"], &[command]);
        is_kept(&output, code, command);
    }
    for (arguments, code) in [
        (&["record", "--force", "-o", "t"][..], 3),
        (&["record", "--force", "-o", "t", "--", "true"], 125),
        (
            &["watch", "--format", "lines", "--force", "--record", "t"],
            3,
        ),
    ] {
        let output = Command::new(need_program("setpriv", "util-linux"))
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&binary)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        is_kept(&output, code, "tcptrace: ");
    }
}

/// A shell that connects by itself, by children, and by a grandchild whose parent has gone, for which it waits.
fn family(address: &str, folder: &Path) -> [String; 3] {
    let once = format!("{} once {address}", Traffic::path().display());
    let done = folder.join("done").display().to_string();
    let script = format!(
        "rm -f {done}; {once} && (setsid sh -c '{once}; {once}; touch {done}' &); {once}
         until [ -e {done} ]; do sleep 0.02; done; exec {once}"
    );
    ["sh".into(), "-c".into(), script]
}

/// How many of them `family` makes.
const FAMILY: usize = 5;

#[test]
fn the_process_tree_and_only_it_is_recorded() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let (mut server, mut other) = (Traffic::start(&netns), Traffic::start(&netns));
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    let address = format!("127.0.0.1:{port}");
    let family = family(&address, folder.path());
    let family: Vec<&str> = family.iter().map(String::as_str).collect();
    for (arguments, is_system) in [(&[][..], false), (&["--system"], true)] {
        let file = folder.path().join(is_system.to_string());
        // Another client, before, while and after it runs.
        other.say(&format!("connect_many {address} 20"));
        let output = record(&netns, &file, arguments, &family);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        other.ok_heard();
        other.ok(&format!("connect_many {address} 20"));
        let replay = Replay::of(&file);
        let of_family: Vec<_> = replay
            .of_kind("connection")
            .into_iter()
            .filter(|event| event.text("owner_source") == "connect" && event.pid() != other.pid())
            .collect();
        assert_eq!(of_family.len(), FAMILY, "{}", said(&output));
        // Whole from its first instruction.
        assert!(of_family.iter().all(|event| event.num("connect_us") >= 0));
        // Whose events and totals there are: those that have tracks.
        let tracks = file.with_extension("json");
        let mut exported = tcptrace(["export", "--to", "perfetto", "-o"]);
        assert!(exported.args([&tracks, &file]).status().unwrap().success());
        let tracks: Value = serde_json::from_slice(&fs::read(tracks).unwrap()).unwrap();
        let mut tracks = tracks["traceEvents"].as_array().unwrap().iter();
        let others = [server.pid(), other.pid()];
        let is_of_others = tracks.any(|track| others.iter().any(|pid| track["pid"] == *pid));
        assert_eq!(is_of_others, is_system, "processes outside the tree");
        server.ok("accept_waiting 0");
    }
}

/// Nothing is left of the group, also when something of the command runs on.
#[test]
fn the_group_is_removed() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let left = folder.path().join("left");
    let script = format!(
        "grep ^0: /proc/self/cgroup; sleep 60 > /dev/null 2>&1 & echo $! > {}",
        left.display()
    );
    let output = record(&netns, &file, &[], &["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let inside = String::from_utf8(output.stdout).unwrap();
    assert!(inside.contains("/tcptrace-"), "{inside}");
    let pid: i32 = fs::read_to_string(left).unwrap().trim().parse().unwrap();
    let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert!(!group.contains("tcptrace-"), "{group}");
}

/// Where cgroup2 is not mounted, as with version 1 only.
#[test]
fn a_group_is_made_also_where_none_is_mounted() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let mut server = Traffic::start(&netns);
    let port = server.ok("listen 127.0.0.1:0 64")[1];
    let script = format!(
        "umount -l $(awk '$3 == \"cgroup2\" {{ print $2 }}' /proc/mounts) && exec {} record -o {} -- {} once 127.0.0.1:{port}",
        tcptrace_path().display(),
        file.display(),
        Traffic::path().display(),
    );
    let output = netns
        .command(need_program("unshare", "util-linux"))
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let replay = Replay::of(&file);
    assert_eq!(replay.of_kind("connection").len(), 1);
    assert!(
        replay
            .events
            .iter()
            .all(|event| event.pid() != server.pid())
    );
}

/// A recorder of the same process id was killed, and its group stayed.
#[test]
fn a_group_that_is_left_is_no_obstacle() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t cgroup2 none {folder} &&
         left={folder}$(sed -n s/^0:://p /proc/self/cgroup)/tcptrace-$$ && mkdir $left && echo $left &&
         exec {tcptrace} record -o {trace} -- grep ^0: /proc/self/cgroup",
        folder = folder.path().display(),
        tcptrace = tcptrace_path().display(),
        trace = folder.path().with_extension("t").display(),
    );
    let output = netns
        .command(need_program("unshare", "util-linux"))
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let _ = fs::remove_file(folder.path().with_extension("t"));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    let (left, inside) = told.split_once('\n').unwrap();
    let name = Path::new(left).file_name().unwrap().to_str().unwrap();
    assert!(inside.contains(&format!("/{name}-")), "{told}");
    // It is this test's to remove, wherever it can be seen.
    let remove = format!(
        "mount -t cgroup2 none {} && rmdir {left}",
        folder.path().display()
    );
    let removed = netns
        .command(need_program("unshare", "util-linux"))
        .args(["--mount", "sh", "-c", &remove])
        .status();
    assert!(removed.unwrap().success());
}

#[test]
fn signals_are_passed_on() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    for (signal, name, code) in [
        (Signal::SIGTERM, "TERM", 3),
        (Signal::SIGINT, "INT", 4),
        (Signal::SIGHUP, "HUP", 5),
        (Signal::SIGQUIT, "QUIT", 6),
    ] {
        let file = folder.path().join(name);
        let script = format!(
            "trap 'echo got {name}; exit {code}' {name}; echo ready; while :; do sleep 0.05; done"
        );
        let mut child = Reaped(
            netns
                .command(tcptrace_path())
                .args(["record", "-o"])
                .arg(&file)
                .args(["--", "sh", "-c", &script])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        nix::sys::signal::kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), format!("got {name}"));
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(Replay::of(&file).end.is_some());
    }
}

/// It reads without any privilege, and belongs to who called sudo.
#[test]
fn a_trace_is_read_by_its_owner_without_privilege() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.path().join("t");
    let output = netns
        .command(tcptrace_path())
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534")
        .args(["record", "-o"])
        .arg(&file)
        .args(["--", "true"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let found = fs::metadata(&file).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (65534, 0o600));
    let binary = folder.path().join("tcptrace");
    fs::copy(tcptrace_path(), &binary).unwrap();
    let output = Command::new(need_program("setpriv", "util-linux"))
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&binary)
        .arg("replay")
        .arg(&file)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// Without a command: until the time is up. Files that are no traces are named, with what is wrong.
#[test]
fn a_time_limit_and_files_that_are_no_traces() {
    let netns = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let output = tcptrace(["record", "--duration", "1s", "-o"])
        .arg(&file)
        .args(["--netns", &netns.inode().to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("0 events"), "{}", said(&output));
    assert!(Replay::of(&file).end.is_some());

    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "not a trace at all").unwrap();
    let cases = [
        (empty.as_path(), "it is empty"),
        (&text, "is not a trace"),
        (folder.path(), "not a plain file"),
    ];
    for (path, said_of) in cases {
        let output = tcptrace(["replay"]).arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(said_of), "{}", said(&output));
    }
}

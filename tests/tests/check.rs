//! Budgets and comparisons of recorded traces, and the commands of `docs/ci.md`.

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tcptrace_tests::{
    Netns, Trace, Traffic, need_program, require_root, schema, tcptrace, tcptrace_path,
    trouble::{Trouble, printed},
    wait,
};

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn check(file: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = tcptrace(["check"])
        .arg(file)
        .args(arguments)
        .output()
        .unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn a_budget_holds_at_the_counted_number_and_not_below() {
    let folder = tempfile::tempdir().unwrap();
    let trouble = Trouble::make(folder.path(), "t", 200);
    for (kind, counted) in [
        ("fd_exhausted", trouble.exhausted),
        ("fd_exhausted:socket", trouble.exhausted),
        ("retransmits", trouble.retrans_segs),
        ("time_wait_overflow", trouble.overflows),
        ("connect_failed:ECONNREFUSED", trouble.refused),
        ("connections:refused", trouble.refused),
    ] {
        let (code, text) = check(&trouble.file, &["--max", &format!("{kind}={counted}")]);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = check(
            &trouble.file,
            &["--max", &format!("{kind}={}", counted - 1)],
        );
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("is {counted} (")), "{text}");
    }
    // Of a file, with its line; as a test view and as GitHub shows it.
    let budget = folder.path().join("budget.toml");
    let shown = budget.display().to_string();
    fs::write(
        &budget,
        "[program.traffic.max]\nfd_exhausted = 0\n[latency.connect_us]\nmax = 60_000_000\n",
    )
    .unwrap();
    let (code, text) = check(&trouble.file, &["--budget", &shown, "--format", "github"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with(&format!("::error file={shown},line=2,title=")),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    let (code, text) = check(&trouble.file, &["--budget", &shown, "--format", "junit"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("tests=\"2\" skipped=\"0\" failures=\"1\" errors=\"0\""),
        "{text}"
    );
    // Mistakes.
    fs::write(&budget, "\n[max]\nretransmit = 0\n").unwrap();
    for (arguments, code, named) in [
        (&["--budget", &shown][..], 2, "line 3"),
        (&["--budget", "/no/such/budget"], 2, "/no/such/budget"),
        (&["--max", "retransmits"], 2, "KIND=N"),
        (&["--max", "nothing=1"], 2, "time_wait_overflow"),
        (&[], 2, "--budget"),
    ] {
        let (got, text) = check(&trouble.file, arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(named), "{named} in {text}");
    }
    let (code, text) = check(Path::new("/no/such/trace"), &["--max", "retransmits=0"]);
    assert_eq!(code, Some(5), "{text}");
    // Cut off: what holds may not have, and that is not waived.
    let whole = fs::read(&trouble.file).unwrap();
    fs::write(&trouble.file, &whole[..whole.len() - 100]).unwrap();
    let (code, text) = check(
        &trouble.file,
        &["--max", "fd_exhausted=100000", "--allow-lost"],
    );
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("truncated"), "{text}");
}

/// A trace without its end: what is over is over, what holds may not have.
#[test]
fn a_trace_that_is_still_written_can_violate_a_budget() {
    let netns = Netns::new();
    let mut process = Traffic::start(&netns);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let trace = Trace::start(&netns, &["--record", &file.display().to_string()]);
    for _ in 0..2 {
        assert_eq!(process.error("connect 127.0.0.1:9"), "ECONNREFUSED");
    }
    wait::until_true("the sums are in the file", || {
        check(&file, &["--max", "connect_failed=1"]).0 == Some(1)
    });
    let (code, text) = check(&file, &["--max", "connect_failed=2", "--allow-lost"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("truncated"), "{text}");
    trace.stop();
}

/// Events were lost: what is over is over, what holds may not have, unless that is allowed.
#[test]
fn lost_events_make_it_inconclusive() {
    let netns = Netns::new();
    let mut process = Traffic::start(&netns);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let trace = Trace::start(
        &netns,
        &[
            "--rare-ring-size",
            "4096",
            "--record",
            &file.display().to_string(),
        ],
    )
    .may_lose();
    trace.paused(|| {
        for _ in 0..200 {
            assert_eq!(process.error("connect 127.0.0.1:9"), "ECONNREFUSED");
        }
    });
    trace.stop();
    assert_eq!(check(&file, &["--max", "connect_failed=199"]).0, Some(1));
    let (code, text) = check(&file, &["--max", "connect_failed=200"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("INCONCLUSIVE") && text.contains("connect_failed lost"),
        "{text}"
    );
    assert_eq!(
        check(&file, &["--max", "connect_failed=200", "--allow-lost"]).0,
        Some(0)
    );
    // Another hook lost nothing.
    assert_eq!(check(&file, &["--max", "fd_exhausted=0"]).0, Some(0));
}

#[test]
fn a_comparison_tells_change_from_other_pids_and_ports() {
    let folder = tempfile::tempdir().unwrap();
    let runs: Vec<Trouble> = ["a", "b", "c"]
        .iter()
        .map(|name| Trouble::make(folder.path(), name, 0))
        .collect();
    let worse = Trouble::make(folder.path(), "worse", 300);
    let diff = |arguments: &[&str], bases: &[&Trouble], new: &Trouble| -> Value {
        let mut command = tcptrace(["diff", "--format", "json"]);
        command.args(arguments);
        match bases {
            [base] => command.arg(&base.file),
            bases => command
                .arg("--base")
                .args(bases.iter().map(|base| &base.file))
                .arg("--"),
        };
        serde_json::from_str(&printed(command.arg(&new.file))).unwrap()
    };
    let changed = |diff: &Value| -> BTreeSet<String> {
        let counts = diff["counts"].as_array().unwrap().iter();
        counts
            .filter(|count| count["verdict"] == "changed" && count["program"] == "traffic")
            .map(|count| {
                format!(
                    "{} {} {}",
                    count["direction"], count["measure"], count["new"]
                )
            })
            .collect()
    };
    let same = diff(&[], &[&runs[0]], &runs[1]);
    assert_eq!(changed(&same), BTreeSet::new(), "{same}");
    let expected: BTreeSet<String> = ["fd_exhausted", "fd_exhausted:EMFILE", "fd_exhausted:socket"]
        .iter()
        .map(|measure| format!("\"worse\" \"{measure}\" {}", worse.exhausted))
        .collect();
    let all: Vec<&Trouble> = runs.iter().collect();
    for told in [diff(&[], &[&runs[0]], &worse), diff(&[], &all, &worse)] {
        assert_eq!(changed(&told), expected, "{told}");
        // What matters most comes first.
        assert_eq!(
            told["counts"][0]["measure"]
                .as_str()
                .map(|name| name.starts_with("fd_exhausted")),
            Some(true)
        );
    }
    let told = diff(&[], &all, &worse);
    assert_eq!(schema::printed(&told), schema::documented()["diff"]);
    let text = printed(tcptrace(["diff"]).args([&runs[0].file, &worse.file]));
    assert!(
        text.contains(&worse.exhausted.to_string()) && text.contains("worse"),
        "{text}"
    );
    for arguments in [
        &["diff", "one"][..],
        &["diff", "--base", "a", "--", "b", "c"],
        &["diff"],
    ] {
        let output = tcptrace(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}

const PAGE: &str = include_str!("../../docs/ci.md");

/// The blocks of code below a mark.
fn blocks(mark: &str) -> Vec<&'static str> {
    let before = format!("<!-- {mark} -->\n```");
    let blocks = PAGE.split(&before).skip(1);
    blocks
        .map(|rest| {
            rest.split_once('\n')
                .unwrap()
                .1
                .split("\n```")
                .next()
                .unwrap()
        })
        .collect()
}

/// The page's commands, in its order, with its budget: they do what it says.
#[test]
fn the_page_for_ci_is_true() {
    require_root();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    // In a namespace, as it is root already; a program that makes a few connections stands for the job's.
    fs::create_dir(folder.path().join("bin")).unwrap();
    write("bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    write(
        "bin/tcptrace",
        &format!("#!/bin/sh\nexec {} \"$@\"\n", tcptrace_path().display()),
    );
    write(
        "test.sh",
        "#!/bin/sh
exec python3 -c '
import socket
server = socket.create_server((\"127.0.0.1\", 0))
for _ in range(20):
    client = socket.create_connection(server.getsockname())
    served, _ = server.accept()
    client.close(); served.recv(1); served.close()
'\n",
    );
    write("budget.toml", blocks("budget.toml")[0]);
    let netns = Netns::new();
    need_program("curl", "curl");
    let path = format!(
        "{}/bin:{}",
        folder.path().display(),
        env::var("PATH").unwrap()
    );
    let url = format!("file://{}", tcptrace_path().display());
    let sh = |script: &str| -> Output {
        let mut command: Command = netns.command("/bin/sh");
        command
            .args(["-euxc", script])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("USER", "root")
            .env("TCPTRACE_URL", &url);
        command.output().unwrap()
    };
    let scripts = blocks("run: shell");
    assert_eq!(scripts.len(), 3);
    for script in &scripts {
        let output = sh(script);
        assert!(output.status.success(), "{script}: {}", said(&output));
    }
    for file in ["run.html", "diff.md"] {
        assert!(
            fs::metadata(folder.path().join(file)).unwrap().len() > 100,
            "{file}"
        );
    }
    let connections = printed(
        tcptrace(["report", "connections", "--from"]).arg(folder.path().join("run.tcptrace")),
    );
    assert!(
        connections.contains("40 connections ended"),
        "20 of each side: {connections}"
    );
    // The steps of the workflow.
    fs::remove_file(folder.path().join("run.tcptrace")).unwrap();
    let steps: Vec<&str> = blocks("run: steps")[0]
        .lines()
        .map(|line| {
            line.trim()
                .trim_start_matches("- ")
                .trim_start_matches("run: ")
        })
        .filter(|line| {
            let mut commands = ["curl ", "sudo ", "tcptrace "].iter();
            commands.any(|command| line.starts_with(command))
        })
        .collect();
    assert_eq!(steps.len(), 7, "{steps:?}");
    // It is there when its step is done, and not before.
    fs::remove_file(folder.path().join("bin/tcptrace")).unwrap();
    let steps = steps.join("\n");
    assert!(steps.contains(" /usr/local/bin/"), "{steps}");
    let output = sh(&steps.replace("/usr/local/bin/", "bin/"));
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("::notice "), "{}", said(&output));
    assert!(
        fs::read_to_string(folder.path().join("junit.xml"))
            .unwrap()
            .contains("failures=\"0\" errors=\"0\"")
    );
    // A program that runs out of descriptors and goes on is caught.
    write(
        "test.sh",
        "#!/bin/sh
ulimit -n 16
exec python3 -c '
import socket
held = []
for _ in range(50):
    try:
        held.append(socket.socket())
    except OSError:
        pass
'\n",
    );
    fs::remove_file(folder.path().join("run.tcptrace")).unwrap();
    let output = sh(scripts[0]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("VIOLATED      all: fd_exhausted <= 0"),
        "{}",
        said(&output)
    );
}

//! Reports of a trace that runs, and of one that lost events.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;
use tcptrace_tests::{
    Netns, Reaped, Trace, Traffic, need_program, require_root, schema, tcptrace, tcptrace_path,
    trouble::printed, wait::until,
};

use crate::{number, of_process, sum};

/// Live, on a terminal of 80 columns, ended by Ctrl-C.
#[test]
fn live_on_a_terminal() {
    require_root();
    let netns = Netns::new();
    let mut client = Traffic::start(&netns);
    let folder = tempfile::tempdir().unwrap();
    let typescript = folder.path().join("typescript");
    let report = format!(
        "stty cols 80; exec {} report --netns {} --duration 10m",
        tcptrace_path().display(),
        netns.inode()
    );
    let mut command = Command::new(need_program("script", "bsdutils"));
    command
        .args(["-qfec", &report])
        .arg(&typescript)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut terminal = Reaped(command.spawn().unwrap());
    let said = || {
        fs::read(&typescript)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    };
    until("it traces", || said().contains("Ctrl-C ends").then_some(()));
    for _ in 0..9 {
        assert_eq!(client.error("connect 127.0.0.1:9"), "ECONNREFUSED");
    }
    client.ok("limit 12");
    let counted = client.ok("storm socket 3000")[1];
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert!(terminal.wait().unwrap().success(), "{}", said());
    let said = said();
    for sentence in [
        format!("{counted} calls failed for want of a descriptor"),
        String::from("9 connects failed"),
        format!("traffic[{}]", client.pid()),
    ] {
        assert!(said.contains(&sentence), "{sentence} in {said}");
    }
    let report = said.split("TCP report of").nth(1).unwrap();
    for line in report.lines() {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
    }
}

/// Events that were lost are told of at the top, and the processes' numbers are right all the same.
#[test]
fn what_was_lost_is_told() {
    let netns = Netns::new();
    let mut process = Traffic::start(&netns);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    let shown = file.display().to_string();
    let trace = Trace::start(&netns, &["--rare-ring-size", "4096", "--record", &shown]).may_lose();
    let failed = trace.paused(|| {
        for _ in 0..200 {
            assert_eq!(process.error("connect 127.0.0.1:9"), "ECONNREFUSED");
        }
        200
    });
    let ended = trace.stop();
    assert_eq!(ended.process(process.pid())["connect_failed"], failed);
    let from = |format: &str| {
        printed(&mut tcptrace([
            "report", "--from", &shown, "--format", format,
        ]))
    };
    let report: Value = serde_json::from_str(&from("json")).unwrap();
    assert_eq!(
        of_process(&report["connections"], process.pid())["connect_failed"],
        failed
    );
    let lost: u64 = sum(&report["lost"], "ring_full");
    let rows: u64 = ended
        .hooks()
        .iter()
        .map(|row| number(&row["lost"]["ring_full"]))
        .sum();
    assert!(lost > 100 && lost == rows, "{lost} of {rows}");
    let text = from("table");
    let warning = format!("WARNING: {lost} events were lost because the buffer was full");
    assert!(
        text.find(&warning) < text.find("Connections\n"),
        "{warning} in {text}"
    );
    assert_eq!(schema::printed(&report["lost"][0]).len(), 4);

    // Cut off, it says so and shows what there is.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 200]).unwrap();
    let text = from("table");
    assert!(
        text.contains("WARNING: the recording is truncated"),
        "{text}"
    );
    for (arguments, code) in [
        (&["report", "--from", "/no/such/file"][..], 5),
        (&["report", "--from", &shown, "--pid", "1"], 2),
        (&["report", "nothing"], 2),
        (&["report", "--from", &shown, "--duration", "1s"], 2),
    ] {
        let output = tcptrace(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

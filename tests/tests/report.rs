//! Every number of a report, against the trace that it is of, the kernel's counters and the programs' own counts.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tcptrace_tests::{
    Netns, Reaped, Trace, Traffic, need_program, require_root, schema, tcptrace, tcptrace_path,
    trouble::{DEAD_PORT, Trouble, printed},
    wait::until,
};

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a count: {value}"))
}

fn sum(list: &Value, field: &str) -> u64 {
    let items = list
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {list}"));
    items.iter().map(|item| number(&item[field])).sum()
}

fn sum_of_object(object: &Value) -> u64 {
    object.as_object().unwrap().values().map(number).sum()
}

fn of_process(section: &Value, pid: u32) -> &Value {
    let processes = section["processes"].as_array().unwrap();
    processes
        .iter()
        .find(|row| row["pid"] == pid)
        .unwrap_or_else(|| panic!("no process {pid} in {section}"))
}

/// Each row of the end line has its numbers in the report, and no other process is in it.
fn equals_the_end_line(report: &Value, end: &Value, section: &str, field: &str, total: &str) {
    let rows = end["processes"].as_array().unwrap();
    let told = |pid: &Value| {
        let processes = report[section]["processes"].as_array().unwrap();
        processes
            .iter()
            .find(|row| row["pid"] == *pid)
            .map_or(0, |row| number(&row[field]))
    };
    for row in rows.iter().filter(|row| !row["pid"].is_null()) {
        assert_eq!(told(&row["pid"]), number(&row[total]), "{total} of {row}");
    }
    let sum: u64 = rows.iter().map(|row| number(&row[total])).sum();
    let reported = sum_of(&report[section], field);
    assert!(
        reported >= sum,
        "{total}: {reported} reported, {sum} in the end line"
    );
}

fn sum_of(section: &Value, field: &str) -> u64 {
    sum(&section["processes"], field)
}

#[test]
fn every_number_is_the_traces_and_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let trouble = Trouble::make(folder.path(), "t", 500);
    let report = trouble.json(&[]);
    let end = &trouble.ended.end.0;
    for (section, field, total) in [
        ("retransmits", "segs", "retransmit_segs"),
        ("fd_exhausted", "count", "fd_exhausted"),
        ("time_wait_overflow", "count", "time_wait_overflow"),
        ("connections", "connections", "connections"),
        ("connections", "connect_failed", "connect_failed"),
        ("connections", "resets_sent", "resets_sent"),
        ("connections", "resets_received", "resets_received"),
    ] {
        equals_the_end_line(&report, end, section, field, total);
        assert_eq!(
            report["connections"]["in_events"],
            report["connections"]["connections"]
        );
    }
    assert_eq!(report["duration_us"], end["duration_us"]);
    assert_eq!(report["truncated"], Value::Null);

    let retransmits = &report["retransmits"];
    assert!(trouble.retrans_segs >= 2, "{}", trouble.retrans_segs);
    for number in [
        number(&retransmits["segs"]),
        number(&retransmits["in_events"]),
        sum_of_object(&retransmits["causes"]),
        sum(&retransmits["worst"], "segs"),
        sum(
            &of_process(retransmits, trouble.client)["peers"],
            "retransmit_segs",
        ),
        sum(&retransmits["namespaces"], "retrans_segs"),
    ] {
        assert_eq!(number, trouble.retrans_segs, "{retransmits}");
    }
    let out = sum(&retransmits["namespaces"], "out_segs");
    assert_eq!(out, trouble.out_segs, "{retransmits}");

    let exhausted = &report["fd_exhausted"];
    let process = of_process(exhausted, trouble.client);
    assert_eq!(number(&exhausted["count"]), trouble.exhausted);
    assert_eq!(sum(&process["calls"], "count"), trouble.exhausted);
    assert_eq!(
        (
            &process["calls"][0]["syscall"],
            &process["calls"][0]["errno"]
        ),
        (&"socket".into(), &"EMFILE".into())
    );
    assert_eq!(
        (&process["limit_soft"], &process["limit_hard"]),
        (&12.into(), &12.into())
    );
    assert!(
        process["limit_set_by"]
            .as_str()
            .unwrap()
            .contains("not inherited"),
        "{process}"
    );

    let overflows = &report["time_wait_overflow"];
    assert!(trouble.overflows >= 20, "{}", trouble.overflows);
    assert_eq!(number(&overflows["count"]), trouble.overflows);
    assert_eq!(
        sum(
            &of_process(overflows, trouble.client)["namespaces"],
            "count"
        ) + number(&overflows["unattributed"]),
        trouble.overflows
    );

    let connections = &report["connections"];
    let process = of_process(connections, trouble.client);
    assert_eq!(
        number(&process["connections"]),
        trouble.closed + trouble.refused,
        "{process}"
    );
    assert_eq!(number(&process["errnos"]["ECONNREFUSED"]), trouble.refused);
    assert_eq!(number(&process["ends"]["refused"]), trouble.refused);
    assert_eq!(
        number(&process["ends"]["time_wait_overflow"]),
        trouble.overflows
    );
    let peers = process["peers"].as_array().unwrap();
    let dead = peers.iter().find(|peer| peer["port"] == DEAD_PORT).unwrap();
    assert_eq!(number(&dead["connect_failed"]), trouble.refused, "{dead}");
    let program = connections["programs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["comm"] == "traffic")
        .unwrap();
    assert_eq!(
        number(&program["connect_us"]["count"]),
        trouble.closed,
        "{program}"
    );
    let slowest = trouble
        .ended
        .of("connection")
        .iter()
        .map(|event| event.num("duration_us"))
        .max()
        .unwrap();
    let told = program["duration_us"]["max"].as_f64().unwrap();
    assert!(
        (told / slowest as f64 - 1.0).abs() < 0.02,
        "{told} of {slowest}"
    );

    let names: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|finding| finding["finding"].as_str())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("fd-limit")),
        "{names:?}"
    );

    // The same numbers in every format and in each part alone.
    let sentences = [
        (
            "retransmits",
            format!("{} segments sent again", trouble.retrans_segs),
        ),
        (
            "fd-exhausted",
            format!(
                "{} calls failed for want of a descriptor",
                trouble.exhausted
            ),
        ),
        (
            "emfile",
            format!(
                "{} calls failed for want of a descriptor",
                trouble.exhausted
            ),
        ),
        (
            "time-wait-overflow",
            format!(
                "{} sockets found the time-wait table full",
                trouble.overflows
            ),
        ),
        (
            "connections",
            format!(
                "{} connects failed (ECONNREFUSED {})",
                trouble.refused, trouble.refused
            ),
        ),
    ];
    for format in ["table", "markdown", "html"] {
        let all = trouble.report(&["--format", format]);
        for (part, sentence) in &sentences {
            assert!(all.contains(sentence), "{sentence} in {all}");
            let one = trouble.report(&[part, "--format", format]);
            assert!(one.contains(sentence), "{sentence} in {one}");
        }
    }
    every_field_is_documented(&report);
    a_browser_shows(&trouble, &sentences.map(|(_, sentence)| sentence));
    a_file_of_its_own(&trouble, folder.path());
}

fn every_field_is_documented(report: &Value) {
    let pages = schema::documented();
    for section in [
        "retransmits",
        "fd_exhausted",
        "time_wait_overflow",
        "connections",
    ] {
        assert_eq!(
            schema::printed(&report[section]),
            pages[&format!("report: {section}")],
            "{section}"
        );
    }
    let mut top = report.clone();
    for section in [
        "retransmits",
        "fd_exhausted",
        "time_wait_overflow",
        "connections",
    ] {
        top[section] = Value::Null;
    }
    // Nothing was lost here.
    top["lost"] = serde_json::json!([{"hook": "", "ring_full": 0, "map_full": 0, "skipped": 0}]);
    assert_eq!(schema::printed(&top), pages["report"]);
    let sections = [
        &report["connections"],
        &report["retransmits"],
        &report["time_wait_overflow"],
    ];
    let rows = sections
        .iter()
        .flat_map(|section| section["processes"].as_array().unwrap());
    let peers = rows.flat_map(|row| row["peers"].as_array().unwrap());
    let mut found = schema::Names::new();
    peers.for_each(|peer| found.extend(schema::printed(peer)));
    // Of listeners, and there are none in the traced namespace.
    found.insert(String::from("peers"));
    assert_eq!(found, pages["report: peers and listeners"]);
}

/// Headless Chromium, in a namespace with no network at all, shows the numbers and asks for nothing but the page.
fn a_browser_shows(trouble: &Trouble, sentences: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, trouble.report(&["--format", "html"])).unwrap();
    let log = folder.path().join("net.json");
    let netns = Netns::new();
    let browser = |arguments: &[String]| {
        let mut command = netns.command(need_program("chromium", "chromium"));
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--window-size=1280,2000",
            ])
            .args([
                "--disable-background-networking",
                "--disable-features=NetworkTimeServiceQuerying",
                "--disable-component-update",
                "--no-first-run",
            ])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .env("HOME", folder.path());
        printed(&mut command)
    };
    let dom = browser(&[
        String::from("--dump-dom"),
        format!("--log-net-log={}", log.display()),
    ]);
    for sentence in sentences {
        assert!(dom.contains(sentence), "{sentence} in {dom}");
    }
    let charts = dom.matches("<svg").count();
    assert!(charts >= 6, "{charts} charts");
    // Of each chart of rates the line, of each distribution the bars, of the states the areas.
    for drawn in [
        "<polyline",
        "class=\"bar\"",
        "<polygon",
        "Sockets in each state",
        "Handshakes of traffic",
    ] {
        assert!(dom.contains(drawn), "{drawn} in {dom}");
    }
    assert!(!dom.contains("<script"), "{dom}");
    let asked = fs::read_to_string(&log).unwrap();
    let asked: Vec<&str> = asked
        .split("\"url\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let page = page.display().to_string();
    let other: Vec<_> = asked
        .iter()
        .filter(|url| {
            !(url.starts_with("data:") || url.starts_with("file://") && url.ends_with(&page))
        })
        // The browser has affairs of its own; a page without a script asks only for what it names.
        .filter(|url| dom.contains(**url))
        .collect();
    assert!(other.is_empty(), "{other:?}");

    // A chart is drawn: the picture has the colour of its line.
    let picture = folder.path().join("page.png");
    browser(&[format!("--screenshot={}", picture.display())]);
    let size = fs::metadata(&picture).unwrap().len();
    assert!(size > 20_000, "{size} bytes: an empty page?");
}

/// `-o` makes a file that nobody else can read, and says why it can't.
fn a_file_of_its_own(trouble: &Trouble, folder: &Path) {
    let path = folder.join("report.md");
    let shown = path.display().to_string();
    assert_eq!(trouble.report(&["--format", "markdown", "-o", &shown]), "");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        trouble.report(&["--format", "markdown"])
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut command = tcptrace(["report", "-o", "/no/such/folder/report", "--from"]);
    let output = command.arg(&trouble.file).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/folder/report"));
}

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

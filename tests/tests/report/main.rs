//! Every number of a report, against the trace that it is of, the kernel's counters and the programs' own counts.

mod browser;
mod trace;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;
use tcptrace_tests::{
    schema, tcptrace,
    trouble::{DEAD_PORT, Trouble},
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
    browser::shows(&trouble, &sentences.map(|(_, sentence)| sentence));
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

//! Exported traces, read by the programs that they are for.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tcptrace_tests::{Netns, Replay, Traffic, need_program, program, tcptrace, tcptrace_path};

/// What a host's traffic came to, by the kernel's counters and the traffic's own, without what the trace says is missing.
struct Host {
    name: &'static str,
    trace: PathBuf,
    connections: u64,
    /// As the kernel programs counted them for the process, also those without a record.
    total: u64,
    segs: u64,
    no_descriptor: u64,
}

/// Records on a host of this name: connections, SYNs that get lost, and calls that find no descriptor.
fn host(name: &'static str, connects: u64, folder: &Path) -> Host {
    let netns = Netns::new();
    netns.drop_incoming("tcp dport 9");
    netns.sysctl("net.ipv4.tcp_syn_retries", "1");
    let trace = folder.join(format!("{name}.tcptrace"));
    let commands = format!(
        "listen 127.0.0.1:80 64\\nconnect_many 127.0.0.1:80 {connects}\\naccept_many 0 {connects}\\nclose_all\\nconnect 127.0.0.1:9\\nlimit 16\\nstorm socket 200\\nexit\\n"
    );
    let script = format!("printf '{commands}' | {}", Traffic::path().display());
    let output = netns
        .command(need_program("unshare", "util-linux"))
        .args(["--uts", "sh", "-c", "hostname $0; exec \"$@\"", name])
        .arg(tcptrace_path())
        .args(["record", "--events", "all", "-o"])
        .arg(&trace)
        .args(["--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let storm = said.lines().nth_back(0).unwrap();
    let failed = storm.split(' ').nth(2).unwrap_or_else(|| panic!("{said}"));
    // Each connection that the trace lacks is a run that the kernel skipped, and the trace says so.
    let replay = Replay::of(&trace);
    let connections = replay.of_kind("connection").len() as u64;
    let end = replay.end.as_ref().expect("an end");
    let processes = end.field("processes").as_array().unwrap().iter();
    let total = processes
        .map(|row| row["connections"].as_u64().unwrap())
        .sum();
    // The lost SYN's too.
    let made = 2 * connects + 1;
    let lost = replay.sum("lost", "count");
    assert!(
        connections <= total && total <= made && made <= connections + lost,
        "{connections} records and {total} counted of {made}, {lost} told as lost"
    );
    Host {
        name,
        trace,
        connections,
        total,
        segs: netns.counter("TcpRetransSegs"),
        no_descriptor: failed.parse().unwrap(),
    }
}

fn export(host: &Host, to: &str, output: &Path) {
    let exported = tcptrace(["export", "--to", to, "-o"])
        .arg(output)
        .arg(&host.trace)
        .output()
        .unwrap();
    assert!(exported.status.success(), "{exported:?}");
}

/// The JSON that a script of this folder prints.
fn python<const N: usize>(script: &str, arguments: [&OsStr; N]) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = Command::new(program::venv().join("bin/python"))
        .arg(tests.join(script))
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The query of README, on another folder.
fn query(folder: &Path) -> String {
    let readme = include_str!("../../README.md");
    let begin = readme.find("SELECT ").expect("README has a query");
    let query = readme[begin..].split('"').next().unwrap();
    assert!(query.contains("'fleet/"), "{query}");
    query.replace("'fleet/", &format!("'{}/", folder.display()))
}

/// Two hosts are one data set. DuckDB, pandas and Spark add up in it what the kernels counted.
#[test]
fn parquet_of_a_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = [
        host("web-1", 3, folder.path()),
        host("web-2", 40, folder.path()),
    ];
    let fleet = folder.path().join("fleet");
    for host in &hosts {
        export(host, "parquet", &fleet);
    }
    let found = python("export.py", [fleet.as_os_str(), query(&fleet).as_ref()]);
    let expected: Vec<Value> = hosts
        .iter()
        .map(|host| json!([host.name, host.connections, host.segs, host.no_descriptor]))
        .collect();
    for engine in ["duckdb", "pandas", "spark"] {
        assert_eq!(found[engine], json!(expected), "{engine}");
    }
    let segs: u64 = hosts.iter().map(|host| host.segs).sum();
    assert!(segs >= 2, "{segs}");
    assert_eq!(found["readme"], json!([["traffic", "2", segs.to_string()]]));

    // The same trace once more is not taken twice.
    let again = tcptrace(["export", "--to", "parquet", "-o"])
        .arg(&fleet)
        .arg(&hosts[0].trace)
        .output()
        .unwrap();
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"));
}

/// What is read stays, by whatever name it is written to; what was exported before stays until there is more.
#[test]
fn nothing_eats_its_input_or_an_older_export() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, link) = (folder.path().join("t"), folder.path().join("link"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tracer/tests/data/v1.tcptrace");
    fs::copy(data, &trace).unwrap();
    fs::hard_link(&trace, &link).unwrap();
    let before = fs::read(&trace).unwrap();
    for arguments in [
        &["export", "--force", "--to", "jsonl", "-o", "link", "t"][..],
        &["export", "--force", "--to", "perfetto", "-o", "t", "t"],
        &["report", "--from", "t", "-o", "link"],
        &["diagnose", "--from", "t", "-o", "t"],
        &["check", "t", "--max", "retransmits=0", "-o", "t"],
        &["diff", "link", "t", "-o", "t"],
    ] {
        let output = tcptrace(arguments.iter().copied())
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_eq!(fs::read(&trace).unwrap(), before, "{arguments:?}");
    }

    let old = folder.path().join("old");
    fs::write(&old, "mine").unwrap();
    for to in ["jsonl", "perfetto"] {
        let output = tcptrace(["export", "--force", "--to", to, "-o"])
            .arg(&old)
            .arg(&old)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let text = folder.path().join("text");
        fs::write(&text, "no trace").unwrap();
        let output = tcptrace(["export", "--force", "--to", to, "-o"])
            .args([&old, &text])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(fs::read(&old).unwrap(), b"mine");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn json_lines_and_perfetto() {
    let folder = tempfile::tempdir().unwrap();
    let host = host("web-1", 20, folder.path());
    let replay = Replay::of(&host.trace);

    let lines = folder.path().join("lines");
    export(&host, "jsonl", &lines);
    assert_eq!(fs::read_to_string(lines).unwrap(), replay.text);

    let perfetto = folder.path().join("perfetto");
    export(&host, "perfetto", &perfetto);
    let trace: Value = serde_json::from_slice(&fs::read(perfetto).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| -> Vec<&Value> {
        let events = events.iter();
        events.filter(|event| event["ph"] == phase).collect()
    };
    // Each connection is a slice, and each state that has ended within it.
    let connections = of("b")
        .into_iter()
        .filter(|event| event["args"]["event"] == "connection")
        .count() as u64;
    assert_eq!(connections, host.connections);
    assert_eq!(of("b").len(), of("e").len());
    let nested = nested(events);
    assert!(nested >= 2 * host.connections, "{nested} states");
    let instants = replay
        .events
        .iter()
        .filter(|event| !["connection", "state"].contains(&event.kind()));
    assert_eq!(of("i").len(), instants.count());
    // What the counters end with is what the process came to.
    let last = |name: &str| {
        let mut counters = of("C").into_iter().rev();
        let counter = counters.find(|event| event["name"] == name);
        counter.map(|event| event["args"]["value"].as_u64().unwrap())
    };
    assert_eq!(last("fd_exhausted"), Some(host.no_descriptor));
    assert_eq!(last("retransmit_segs"), Some(host.segs));
    assert_eq!(last("connections"), Some(host.total));
    let named = of("M");
    assert!(named.iter().any(|event| event["args"]["name"] == "traffic"));
}

/// Perfetto itself, in headless Chromium: each process is a group of tracks, and has all its connections in it. Its counters end with what
/// the kernel counted.
#[test]
fn perfetto_shows_a_group_of_tracks_per_process() {
    let folder = tempfile::tempdir().unwrap();
    let host = host("web-1", 20, folder.path());
    let exported = folder.path().join("trace.json");
    export(&host, "perfetto", &exported);
    let found = python(
        "perfetto.py",
        [
            exported.as_os_str(),
            need_program("chromium", "chromium").as_ref(),
        ],
    );
    assert_eq!(found["errors"], json!([]), "{found}");
    let connections = json!([["traffic", host.connections]]);
    assert_eq!(found["connections"], connections, "{found}");
    for (name, counted) in [
        ("connections", host.total),
        ("fd_exhausted", host.no_descriptor),
        ("retransmit_segs", host.segs),
    ] {
        let shown = &found["counters"][format!("{name} value")];
        assert_eq!(*shown, json!(counted), "{name}");
    }
    let groups = found["groups"].as_array().unwrap().iter();
    let groups: Vec<_> = groups.map(|group| group.as_str().unwrap()).collect();
    assert!(
        groups.iter().any(|group| group.starts_with("traffic ")),
        "{groups:?}"
    );
    assert!(
        !groups.iter().any(|group| group.contains("Global")),
        "{groups:?}"
    );
}

/// A slice of a track: from when to when, and whether it is a whole connection.
type Slice = (f64, f64, bool);

/// How many states there are, each within its connection and after the one before it.
fn nested(events: &[Value]) -> u64 {
    let mut slices: BTreeMap<(u64, u64), Vec<Slice>> = BTreeMap::new();
    for pair in events
        .iter()
        .filter(|event| ["b", "e"].contains(&event["ph"].as_str().unwrap()))
        .collect::<Vec<_>>()
        .chunks(2)
    {
        let [begin, end] = pair else {
            panic!("a slice without its end: {pair:?}");
        };
        assert_eq!(begin["name"], end["name"]);
        let id = begin["id2"]["local"].as_str().unwrap().parse().unwrap();
        let times = [begin, end].map(|event| event["ts"].as_f64().unwrap());
        slices
            .entry((begin["pid"].as_u64().unwrap(), id))
            .or_default()
            .push((times[0], times[1], begin["args"]["event"] == "connection"));
    }
    let mut count = 0;
    for (id, slices) in slices {
        let (whole, states): (Vec<_>, Vec<_>) = slices.into_iter().partition(|slice| slice.2);
        for (begun, ended, _) in &whole {
            let mut before = *begun;
            for (from, to, _) in &states {
                assert!(
                    *begun <= *from && *to <= *ended,
                    "{id:?}: {whole:?} {states:?}"
                );
                assert!(before <= *from, "{id:?}: {states:?}");
                before = *to;
                count += 1;
            }
        }
    }
    count
}

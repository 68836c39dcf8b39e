//! `diagnose --from`: a recorded trace has the findings that a live one has.

use std::{collections::BTreeMap, time::Duration};

use tcptrace_tests::{
    Netns, Recording, Traffic,
    events::nanoseconds,
    finding::{self, Diagnosis, Finding},
    incident::{
        connect_refused, fd_limit::Supervised, peer_vanished::Replication,
        time_wait_overflow::SmallTable,
    },
    wait,
};

/// It is ended before.
const LONG: Duration = Duration::from_secs(300);
/// Evidence that is a time: two tracers take it at moments of their own.
const TIMES: [&str; 2] = ["gives_up_at", "ms between attempts"];

/// Four incidents at once are recorded and diagnosed; what is found in the file is what the recording's summary said, and what was found
/// live.
#[test]
fn four_incidents() {
    const ATTEMPTS: u64 = 15;
    const SHORT: u64 = 1000;
    let (supervised, refused) = (Netns::new(), Netns::new());
    let small = SmallTable::new();
    let replication = Replication::start(&[]);
    let namespaces = [&supervised, &refused, &small.netns, &replication.veth.near];
    // A namespace is read through a process in it: from the start of both on.
    let _others = namespaces.map(Traffic::start);
    let mut recording = Recording::start(&namespaces);
    let diagnosis = Diagnosis::of(&namespaces, LONG);

    let clients = small.clients(SHORT);
    let logger = connect_refused::fluent_logger(&refused, ATTEMPTS);
    let supervised = Supervised::start_in(supervised.another(), 64, 64, 64);
    assert_eq!(clients.ended()["True"], SHORT, "every client succeeds");
    wait::until_true("all attempts", || {
        logger.answers().values().sum::<u64>() == ATTEMPTS
    });
    wait::until_true("a hundred failures", || supervised.failures() > 100);
    supervised.freeze();
    replication.vanish();
    // From here on the next timeout is seconds away, and nothing else goes on.
    wait::until_true("four timeouts", || {
        replication.connections().contains("backoff:4")
    });
    diagnosis.interrupt();
    let summary = recording.end();

    let live = by_name(diagnosis.findings());
    let recorded = by_name(finding::recorded(&recording.file()));
    let expected = [
        ("connect-refused", logger.pid()),
        ("fd-limit-inherited", supervised.supervisord.program()),
        ("peer-vanished", replication.replica.pid()),
        ("time-wait-overflow", recorded["time-wait-overflow"].pid()),
    ];
    for found in [&live, &recorded] {
        let found: Vec<_> = found
            .iter()
            .map(|(name, finding)| (name.as_str(), finding.pid()))
            .collect();
        assert_eq!(found, expected);
    }
    for (name, finding) in &recorded {
        // Of the same trace: the same words.
        let severity = finding.severity().to_uppercase();
        let line = format!("{severity:<8} {name}: {}", finding.sentence());
        assert!(
            summary.lines().any(|said| said == line),
            "{line}\n{summary}"
        );
        same(finding, &live[name]);
    }
    recording.has_one_name_for_each_process();
}

fn by_name(findings: Vec<Finding>) -> BTreeMap<String, Finding> {
    let number = findings.len();
    let by_name: BTreeMap<_, _> = findings
        .into_iter()
        .map(|finding| (finding.name().to_owned(), finding))
        .collect();
    assert_eq!(by_name.len(), number, "one of each: {by_name:#?}");
    by_name
}

/// Fails unless two traces of the same incident have the same finding, but for when each of them saw it.
fn same(recorded: &Finding, live: &Finding) {
    let (mut ours, mut theirs) = (recorded.0.clone(), live.0.clone());
    for finding in [&mut ours, &mut theirs] {
        // Each has taken the time of boot itself.
        finding["process"]["pid_start"].take();
        for field in ["first", "last"] {
            finding[field].take();
        }
        for piece in finding["evidence"].as_array_mut().unwrap() {
            let name = piece["name"].as_str().unwrap();
            if TIMES.iter().any(|time| name.starts_with(time)) {
                piece["value"].take();
            }
        }
        if recorded.name() == "peer-vanished" {
            // It says for how long, and until when.
            let sentence = finding["sentence"].as_str().unwrap();
            let before = sentence.split(" since ").next().unwrap().to_owned();
            finding["sentence"] = before.into();
        }
    }
    assert_eq!(ours, theirs);
    let first = |finding: &Finding| nanoseconds(finding.0["first"].as_str().unwrap());
    let apart = (first(recorded) - first(live)).abs();
    assert!(
        apart < 1_000_000_000,
        "{apart} ns\n{recorded:#?}\n{live:#?}"
    );
}

//! The functions and tracepoints of the running kernel have prototypes that the programs know, so a kernel that changes
//! one fails here first. Needs no root.

use std::collections::BTreeSet;

use serde_json::Value;
use tcptrace_tests::tcptrace;

/// Which of them the ladder of `doctor` names; the rest are functions that better rungs take.
const FUNCTIONS: [&str; 7] = [
    "alloc_empty_file",
    "alloc_fd",
    "do_inotify_init",
    "fd_install",
    "inet_twsk_alloc",
    "tcp_v4_connect",
    "tcp_v6_connect",
];

/// Tracepoints that are attached for a while only.
const FOR_A_WHILE: [&str; 1] = ["kfree_skb"];

/// Hooks that are no tracepoint of this name.
const OTHERS: [&str; 5] = [
    "time_wait_overflow",
    "accept",
    "connect_failed",
    "fd_exhausted",
    "task_file",
];

#[test]
fn of_the_running_kernel_are_known() {
    let output = tcptrace(["doctor", "--format", "json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let found = report["prototypes"].as_object().unwrap();

    let hooks = report["hooks"].as_array().unwrap().iter();
    let expected: BTreeSet<&str> = hooks
        .map(|hook| hook["hook"].as_str().unwrap())
        .filter(|hook| !OTHERS.contains(hook))
        .chain(FUNCTIONS)
        .chain(FOR_A_WHILE)
        .collect();
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, expected);

    let unknown: Vec<_> = found.iter().filter(|(_, it)| it["known"] != true).collect();
    assert!(
        unknown.is_empty(),
        "add them to tracer/src/kernel/known.rs, after a look at the programs: {unknown:#?}"
    );
    // Of one that never changed, also that it is read right.
    assert_eq!(
        found["fd_install"]["prototype"],
        "(unsigned int, struct file *)"
    );
}

//! How many instructions the verifier goes through to accept each kernel program: a guard against programs that grow unnoticed,
//! as they make each hook slower and come near what older kernels refuse.

use std::fs;

use serde_json::Value;
use tcptrace_tests::{require_root, tcptrace};

/// By program, the most that is allowed on any kernel and rung: a quarter above the most that was seen when the line was written.
const CEILINGS: &[(&str, u64)] = &[
    ("cgroup_attach_task", 1_710),
    ("inet_sock_set_state", 29_180),
    ("sched_process_exec", 1_830),
    ("sched_process_exit", 230),
    ("sys_exit_accept", 4_830),
    ("sys_exit_connect", 2_810),
    ("sys_exit_fd", 2_250),
    ("task_file", 5_430),
    ("tcp_destroy_sock", 320),
    ("tcp_receive_reset", 920),
    ("tcp_retransmit_skb", 1_240),
    ("tcp_retransmit_synack", 920),
    ("tcp_send_reset", 1_730),
];

/// The first kernel that tells.
const TOLD_SINCE: (u32, u32) = (5, 16);

fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|word| word.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn of_each_program_stay_below_their_ceiling() {
    require_root();
    let output = tcptrace(["doctor", "--format", "json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hooks = report["hooks"].as_array().unwrap().iter();
    let programs: Vec<_> = hooks
        .flat_map(|hook| hook["programs"].as_object().unwrap())
        .collect();
    assert!(programs.len() > 10, "{programs:?}");
    let mut wrong = String::new();
    for (program, count) in programs {
        if kernel() < TOLD_SINCE {
            assert!(count.is_null(), "{program}: {count}");
            continue;
        }
        let count = count.as_u64().unwrap();
        let ceiling = CEILINGS.iter().find(|(name, _)| name == program);
        if ceiling.is_none_or(|(_, ceiling)| count > *ceiling) {
            let allowed = ceiling.map_or_else(|| "no line".to_owned(), |it| it.1.to_string());
            wrong += &format!("\n  {program}: {count}, allowed: {allowed}");
        }
    }
    assert!(
        wrong.is_empty(),
        "instructions that the verifier goes through:{wrong}\nIf this is meant, write the count and a quarter more into CEILINGS \
         in {}, and check that `cargo xtask vm` passes.",
        file!()
    );
}

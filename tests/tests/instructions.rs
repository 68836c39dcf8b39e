//! How many instructions the verifier goes through to accept each kernel program: a guard against programs that grow unnoticed,
//! as they make each hook slower and come near what older kernels refuse.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use tcptrace_tests::{require_root, tcptrace};

/// By program, the most that is allowed from Linux 6.12 on, and before: a quarter above the most that was seen on any kernel when the
/// line was written. Older verifiers remember less of what they have seen.
const CEILINGS: &[(&str, u64, u64)] = &[
    ("alloc_empty_file_exit", 2_280, 6_600),
    ("alloc_fd_exit", 2_330, 4_680),
    ("cgroup_attach_task", 1_710, 3_360),
    ("do_inotify_init_exit", 2_290, 6_600),
    ("fd_install_entry", 4_740, 10_420),
    ("inet_sock_set_state", 98_670, 98_670),
    ("inet_twsk_alloc_exit", 30, 30),
    ("sched_process_exec", 1_830, 3_600),
    ("sched_process_exit", 310, 310),
    ("sys_exit_accept", 4_830, 4_830),
    ("sys_exit_connect", 4_790, 4_790),
    ("sys_exit_fd", 4_340, 4_340),
    ("task_file", 10_260, 16_520),
    ("tcp_destroy_sock", 45_830, 45_830),
    ("tcp_receive_reset", 1_500, 3_450),
    ("tcp_retransmit_skb", 3_350, 9_000),
    ("tcp_retransmit_synack", 1_610, 2_920),
    ("tcp_send_reset", 2_170, 2_310),
    ("tcp_v4_connect_exit", 4_460, 4_460),
    ("tcp_v6_connect_exit", 4_460, 4_460),
];

/// The first kernel that tells.
const TOLD_SINCE: (u32, u32) = (5, 16);

fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|word| word.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The programs of the best rungs, and with `--attach` those of others, as far as the kernel takes them.
fn programs(means: &str) -> BTreeMap<String, Value> {
    let arguments = ["doctor", "--format", "json", "--attach", means];
    let output = tcptrace(arguments).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hooks = report["hooks"].as_array().unwrap().iter();
    hooks
        .flat_map(|hook| hook["programs"].as_object().unwrap().clone())
        .collect()
}

#[test]
fn of_each_program_stay_below_their_ceiling() {
    require_root();
    let mut programs = programs("auto");
    assert!(programs.len() > 10, "{programs:?}");
    for means in ["fexit", "kprobe", "tracepoint"] {
        programs.extend(self::programs(means));
    }
    if kernel() < TOLD_SINCE {
        assert!(programs.values().all(Value::is_null), "{programs:?}");
        return;
    }
    let mut wrong = String::new();
    for (program, count) in programs {
        let count = count.as_u64().unwrap();
        let line = CEILINGS.iter().find(|(name, ..)| *name == program);
        let ceiling = line.map(|(_, newer, older)| if kernel() < (6, 12) { older } else { newer });
        if ceiling.is_none_or(|ceiling| count > *ceiling) {
            let allowed = ceiling.map_or_else(|| "no line".to_owned(), u64::to_string);
            wrong += &format!("\n  {program}: {count}, allowed: {allowed}");
        }
    }
    assert!(
        wrong.is_empty(),
        "instructions that the verifier goes through:{wrong}\nIf this is meant, write the count and a quarter more into CEILINGS \
         in {}, and run `cargo xtask vm --all -- instructions` for the other kernels.",
        file!()
    );
}

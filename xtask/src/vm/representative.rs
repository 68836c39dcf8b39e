//! The tests that stand for the suite where there is no time for all of it: one for each hook and rung.

use super::rung::Rung;

/// Hooks with one rung, on whatever the ladder gives.
const ONCE: &[&str] = &[
    // Every function and tracepoint is what the programs take it for.
    "prototypes::of_the_running_kernel_are_known",
    // All of them, in one trace.
    "hooks::every_hook",
    // And each in the traffic of its own test.
    // sched_process_exit and task_file
    "passed_on::fork_and_exit_of_the_parent",
    // task_file's other rung, which --attach does not tell apart
    "sock_diag::a_listener_from_before_passes_on_its_owner",
    // sched_process_exec
    "process_identity::name_after_exec",
    // cgroup_attach_task
    "process_identity::moved_to_another_control_group",
    // The programs with a filter on, which makes more for the verifier to go through.
    "filters::cgroup_of_a_connection_without_an_owner",
    // tcp_retransmit_skb
    "retransmits::ipv4",
    // tcp_retransmit_synack
    "retransmit_cause::synack",
    // tcp_send_reset and tcp_receive_reset
    "resets::by_linger_zero",
    // accept, by a real server
    "prefork::nginx_with_one_listener",
];

/// Hooks with several rungs, on each: accept, connect_failed, fd_exhausted and time_wait_overflow, in one trace, since it is the start
/// that takes long in emulation.
const ON_EACH_RUNG: &[&str] = &["rungs::every_moment"];

/// `inet_sock_set_state` and `tcp_destroy_sock`, and that each hook rests on the rung that was asked for. The other runs once, as the last.
const ALWAYS: &[&str] = &["init::states", "init::lockdown"];

/// Whether a test is one of them on this rung.
pub(super) fn is_one(name: &str, rung: Rung) -> bool {
    let tests = if rung == Rung::Auto {
        ONCE
    } else {
        ON_EACH_RUNG
    };
    ALWAYS.contains(&name) || tests.contains(&name)
}

/// Those that are not among the tests there are: they have been renamed.
pub(super) fn gone<'a>(there_are: impl Iterator<Item = &'a str>) -> Vec<&'static str> {
    let there_are: Vec<&str> = there_are.collect();
    let listed = ONCE.iter().chain(ON_EACH_RUNG).copied();
    listed.filter(|name| !there_are.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_several_rungs_runs_on_each_and_the_rest_once() {
        let (once, each) = (ONCE[0], ON_EACH_RUNG[0]);
        assert!(is_one(once, Rung::Auto) && !is_one(once, Rung::Kprobe));
        assert!(is_one(each, Rung::Kprobe) && !is_one(each, Rung::Auto));
        assert!(is_one(ALWAYS[0], Rung::Auto) && is_one(ALWAYS[0], Rung::Tracepoint));
        assert!(!is_one("states::other", Rung::Auto));
    }

    #[test]
    fn a_renamed_test_is_named() {
        let names = ONCE.iter().chain(ON_EACH_RUNG).copied();
        assert!(gone(names.clone()).is_empty());
        assert_eq!(gone(names.skip(1)), [ONCE[0]]);
    }
}

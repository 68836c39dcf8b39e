//! Processes that run another program, move to another cgroup, and end.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tracer_common::{hook::Hook, process::flag};

use crate::{
    account::{self, Outcome},
    maps::{PROCESSES, field},
    process,
    sock::{probe, probe_bytes},
};

/// `fs/exec.c: exec_binprm`. Prototype on 5.10 to 7.3:
/// `(struct task_struct *, pid_t, struct linux_binprm *)`. The name and the memory are the new ones.
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    describe_again(Hook::Exec, ctx.arg::<*const u8>(0) as u64, true);
    0
}

/// `kernel/cgroup/cgroup.c: cgroup_attach_task`. Prototype on 5.10 to 7.3:
/// `(struct cgroup *, const char *, struct task_struct *, bool)`. The task is in the new group.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    describe_again(Hook::Cgroup, ctx.arg::<*const u8>(2) as u64, false);
    0
}

/// A process that is known is not what it was: judges it by the filters anew, and describes it.
#[inline(always)]
fn describe_again(hook: Hook, task: u64, is_current: bool) {
    let key = process::of_task(task);
    let Some(entry) = PROCESSES.get_ptr_mut(&key) else {
        return;
    };
    let run = account::enter(hook);
    let leader: u64 = probe(task, field!(group_leader));
    let mut comm = [0; 16];
    probe_bytes(leader + u64::from(field!(comm)), &mut comm);
    // SAFETY: `entry` points into the map.
    unsafe {
        (*entry).comm = comm;
        (*entry).flags = if process::passes(leader, &comm) {
            flag::PASSES
        } else {
            0
        };
    }
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let outcome = process::describe(&key, leader, is_current, now);
    account::leave(run, outcome);
}

/// Marks a process that ends; user space sees it in the map. `kernel/exit.c: do_exit`, for each thread. Prototype: 5.10 to 6.15 `(struct task_struct *)`, then
/// also `bool`.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    let task = ctx.arg::<*const u8>(0) as u64;
    let signal: u64 = probe(task, field!(signal));
    if probe::<i32>(signal, field!(live)) != 0 {
        return 0;
    }
    let key = process::of_task(task);
    let Some(entry) = PROCESSES.get_ptr_mut(&key) else {
        return 0;
    };
    let run = account::enter(Hook::Exit);
    // SAFETY: `entry` points into the map.
    unsafe { (*entry).flags |= flag::EXITED };
    account::leave(run, Outcome::Aggregated);
    0
}

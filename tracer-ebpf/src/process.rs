//! Processes: who they are, and what happened to their sockets.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_get_current_pid_tgid};
use tracer_common::{
    config::filter,
    conn::{OwnerSource, Tuple},
    fields::MISSING,
    hook::Hook,
    process::{Process, ProcessKey, TICK, Total, flag},
    record::{ARGS, CGROUP_LEVELS, Kind, ProcessSeen},
};

use crate::{
    account::{self, Outcome, add},
    emit, filter as filters,
    maps::{PROCESSES, config, field},
    sock::{
        current_call, current_flags, current_leader, probe, probe_bytes, probe_str, probe_user_into,
    },
};

/// What the map says when the entry is there already.
const EEXIST: i32 = -17;

/// `include/linux/sched.h`: the task is on its way out, or never was a process's.
const PF_EXITING: u32 = 0x4;
const PF_KTHREAD: u32 = 0x20_0000;

/// The process that runs now; nobody where a kernel thread does, which may run for one (io_uring's did
/// up to 5.11).
#[inline(always)]
pub(crate) fn current() -> ProcessKey {
    if current_flags() & PF_KTHREAD != 0 {
        return ProcessKey::UNKNOWN;
    }
    let (_, start) = current_leader();
    ProcessKey {
        start: cut(start),
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        pad: 0,
    }
}

/// Whether the current task ends, or runs a call that lets go of its own descriptors: shutdown, close,
/// dup2, exit, exit_group, dup3, io_uring_enter, close_range. In others a file may be let go of that the task
/// merely looked at, as a reader of `/proc/PID/fd` does.
#[inline(always)]
pub(crate) fn current_lets_go() -> bool {
    current_flags() & PF_EXITING != 0
        || matches!(current_call(), 48 | 3 | 33 | 60 | 231 | 292 | 426 | 436)
}

/// A start time as keys have it: where user space finds processes in `/proc`, no finer than there.
#[inline(always)]
fn cut(start: u64) -> u64 {
    if config!(sock_diag, u32) == 1 {
        start - start % TICK
    } else {
        start
    }
}

/// The process of a task.
#[inline(always)]
pub(crate) fn of_task(task: u64) -> ProcessKey {
    let leader: u64 = probe(task, field!(group_leader));
    ProcessKey {
        start: cut(probe(leader, field!(start_boottime))),
        tgid: probe(leader, field!(tgid)),
        pad: 0,
    }
}

/// Makes sure that the current process, `key`, has an entry.
#[inline(always)]
pub(crate) fn know_current(key: &ProcessKey, now: u64) {
    if PROCESSES.get_ptr(key).is_none() {
        let (leader, _) = current_leader();
        learn(key, leader, true, now);
    }
}

/// As above, and counts a socket more for it.
#[inline(always)]
pub(crate) fn hold_current(key: &ProcessKey, now: impl FnOnce() -> u64) {
    if let Some(process) = PROCESSES.get_ptr_mut(key) {
        // SAFETY: the verifier has seen the null check; the field is aligned.
        unsafe { add(&raw mut (*process).sockets, 1) }
        return;
    }
    let (leader, _) = current_leader();
    learn(key, leader, true, now());
    hold(key, 1);
}

/// Makes sure that `key`, the process of `task`, has an entry.
#[inline(always)]
pub(crate) fn know(key: &ProcessKey, task: u64, now: u64) {
    if PROCESSES.get_ptr(key).is_none() {
        learn(key, probe(task, field!(group_leader)), false, now);
    }
}

/// Makes an entry and tells user space who it is. `is_current` says whether the process's memory can
/// be read from here.
#[inline(never)]
fn learn(key: &ProcessKey, leader: u64, is_current: bool, now: u64) {
    let mut process = Process::default();
    probe_bytes(leader + u64::from(field!(comm)), &mut process.comm);
    if passes(leader, &process.comm) {
        process.flags = flag::PASSES;
    }
    let run = account::enter(Hook::Process);
    let outcome = match PROCESSES.insert(key, &process, u64::from(BPF_NOEXIST)) {
        Ok(()) => describe(key, leader, is_current, now),
        // Another CPU was quicker.
        Err(EEXIST) => Outcome::Aggregated,
        Err(_) => Outcome::MapFull,
    };
    account::leave(run, outcome);
}

/// Whether `--comm` and `--cgroup` let a process in.
#[inline(always)]
pub(crate) fn passes(leader: u64, comm: &[u8; 16]) -> bool {
    filters::comm_passes(comm) && cgroup_passes(leader)
}

/// Walks up from the process's cgroup (v2) to the one that `--cgroup` names.
#[inline(always)]
fn cgroup_passes(leader: u64) -> bool {
    if config!(filters, u32) & filter::CGROUP == 0 {
        return true;
    }
    is_in_group(cgroup_node(leader)) == 1
}

/// Whether `--cgroup` names the group where the socket, or the listener whose child it is, was made
/// (`include/linux/cgroup-defs.h: struct sock_cgroup_data`). Up to 5.14 its pointer has flags in its low bits:
/// bit 0 says that it is none.
#[inline(always)]
pub(crate) fn made_in_group(sk: u64) -> bool {
    if config!(filters, u32) & filter::CGROUP == 0 || field!(sk_cgrp_data) == MISSING {
        return false;
    }
    let cgroup: u64 = probe(sk, field!(sk_cgrp_data));
    cgroup & 1 == 0 && is_in_group(probe(cgroup & !3, field!(kn))) == 1
}

/// Walks up from a node of the hierarchy to the one that `--cgroup` names; returns 1 when it is there. Exported, and so a global
/// function of BTF: the verifier goes through it once, not once for each path that leads to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn is_in_group(mut node: u64) -> u64 {
    for _ in 0..16 {
        if node == 0 {
            return 0;
        }
        if probe::<u64>(node, field!(kn_id)) == config!(cgroup, u64) {
            return 1;
        }
        node = probe(node, field!(kn_parent));
    }
    0
}

/// `struct kernfs_node *` of a task's cgroup in the default hierarchy.
#[inline(always)]
fn cgroup_node(task: u64) -> u64 {
    let set: u64 = probe(task, field!(cgroups));
    let cgroup: u64 = probe(set, field!(dfl_cgrp));
    probe(cgroup, field!(kn))
}

/// Tells user space who a process is, while it can be seen.
#[inline(always)]
pub(crate) fn describe(key: &ProcessKey, leader: u64, is_current: bool, now: u64) -> Outcome {
    emit::rare::<ProcessSeen>(key, |to| {
        // SAFETY: `to` is a reserved record; every byte that is read later is written here.
        unsafe {
            emit::head_of(
                &raw mut (*to).head,
                Kind::ProcessSeen,
                now,
                key,
                OwnerSource::Current,
                &Tuple::default(),
            );
            let cred: u64 = probe(leader, field!(cred));
            let parent: u64 = probe(leader, field!(real_parent));
            (*to).uid = probe(cred, field!(uid));
            (*to).ppid = probe(parent, field!(tgid));
            (*to).pad = 0;
            (*to).args_len = 0;
            probe_bytes(leader + u64::from(field!(comm)), &mut (*to).comm);
            if is_current {
                let mm: u64 = probe(leader, field!(mm));
                let start: u64 = probe(mm, field!(arg_start));
                let all = probe::<u64>(mm, field!(arg_end)).wrapping_sub(start);
                let len = if all < ARGS as u64 {
                    all as u32
                } else {
                    ARGS as u32
                };
                if probe_user_into(start, len, &mut (*to).args) {
                    (*to).args_len = len;
                }
            }
            let mut node = cgroup_node(leader);
            (*to).cgroup = probe(node, field!(kn_id));
            for level in 0..CGROUP_LEVELS {
                if node == 0 {
                    (*to).cgroups[level][0] = 0;
                } else {
                    let name: u64 = probe(node, field!(kn_name));
                    probe_str(name, &mut (*to).cgroups[level]);
                    node = probe(node, field!(kn_parent));
                }
            }
        }
    })
}

/// Adds to one of a process's totals; what has no entry is added to nobody's.
#[inline(always)]
pub(crate) fn count(key: &ProcessKey, total: Total, by: u64) {
    let process = match PROCESSES.get_ptr_mut(key) {
        Some(process) => process,
        None => match PROCESSES.get_ptr_mut(&ProcessKey::UNKNOWN) {
            Some(process) => process,
            None => return,
        },
    };
    // SAFETY: the verifier has seen the null checks; the fields are aligned.
    unsafe {
        let totals = &raw mut (*process).totals;
        add(
            match total {
                Total::Connections => &raw mut (*totals).connections,
                Total::ConnectFailed => &raw mut (*totals).connect_failed,
                Total::RetransmitSegs => &raw mut (*totals).retransmit_segs,
                Total::ResetsSent => &raw mut (*totals).resets_sent,
                Total::ResetsReceived => &raw mut (*totals).resets_received,
                Total::TimeWaitOverflow => &raw mut (*totals).time_wait_overflow,
                Total::FdExhausted => &raw mut (*totals).fd_exhausted,
                Total::Lost => &raw mut (*totals).lost,
            },
            by,
        );
    }
}

/// Counts what the end of a socket means for its owner: a connection more, when `is_counted`, and a
/// socket less, when it `was_held`.
#[inline(always)]
pub(crate) fn let_go(key: &ProcessKey, is_counted: bool, was_held: bool) {
    match PROCESSES.get_ptr_mut(key) {
        // SAFETY: the verifier has seen the null check; the fields are aligned.
        Some(process) => unsafe {
            if is_counted {
                add(&raw mut (*process).totals.connections, 1);
            }
            if was_held {
                add(&raw mut (*process).sockets, u64::MAX);
            }
        },
        None if is_counted => count(key, Total::Connections, 1),
        None => {}
    }
}

/// Counts a socket more, or less, for its owner: an ended process is forgotten when it has none.
#[inline(always)]
pub(crate) fn hold(key: &ProcessKey, by: i64) {
    if let Some(process) = PROCESSES.get_ptr_mut(key) {
        // SAFETY: the verifier has seen the null check; the field is aligned.
        unsafe { add(&raw mut (*process).sockets, by as u64) }
    }
}

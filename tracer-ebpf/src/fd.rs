//! Calls that fail for want of a descriptor (EMFILE) or a file (ENFILE).

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_ktime_get_boot_ns},
    macros::tracepoint,
    programs::TracePointContext,
};
use tracer_common::{
    conn::{OwnerSource, Tuple},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{FdExhausted, Kind},
    storm::{FdKey, INTERVAL, Storm},
    tcp::errno,
};

use crate::{
    account::{self, Outcome, add},
    emit, filter,
    maps::{FD_STORMS, field},
    process,
    sock::probe,
};

/// Words of a descriptor table's bitmap that are counted: 4,096 descriptors.
const WORDS: u32 = 64;

/// `syscalls:sys_exit_*` of the calls that return descriptors: the number of the call stands at 8, the
/// result at 16.
#[tracepoint]
pub(crate) fn sys_exit_fd(ctx: TracePointContext) -> u32 {
    // SAFETY: inside the tracepoint's record.
    let result: i64 = unsafe { ctx.read_at(16) }.unwrap_or_default();
    if result == -i64::from(errno::EMFILE) || result == -i64::from(errno::ENFILE) {
        // SAFETY: as above.
        let call: i32 = unsafe { ctx.read_at(8) }.unwrap_or(-1);
        exhausted(call, -result as i32);
    }
    0
}

/// Counts a failure of the current process; the first is told at once, then a few a second.
#[inline(always)]
pub(crate) fn exhausted(syscall: i32, err: i32) {
    account::enter(Hook::FdExhausted);
    let outcome = tell(syscall, err);
    account::leave(Hook::FdExhausted, outcome);
}

#[inline(always)]
fn tell(syscall: i32, err: i32) -> Outcome {
    // SAFETY: no argument, no precondition.
    let (task, now) = unsafe { (bpf_get_current_task(), bpf_ktime_get_boot_ns()) };
    let owner = process::current();
    process::know_current(&owner, now);
    let proxy: u64 = probe(task, field!(nsproxy));
    let net: u64 = probe(proxy, field!(net_ns));
    let netns: u32 = probe(net, field!(netns_inum));
    if !filter::passes_process(&owner, netns) {
        return Outcome::Filtered;
    }
    process::count(&owner, Total::FdExhausted, 1);
    let key = FdKey {
        process: owner,
        syscall,
        errno: err,
        netns,
        pad: 0,
    };
    if FD_STORMS.get_ptr(&key).is_none() {
        let _ = FD_STORMS.insert(&key, &Storm::default(), 1);
    }
    let Some(storm) = FD_STORMS.get_ptr_mut(&key) else {
        return Outcome::MapFull;
    };
    // SAFETY: the verifier has seen the null check.
    let total = unsafe {
        add(&raw mut (*storm).total, 1);
        if (*storm).told != 0 && now - (*storm).told < INTERVAL {
            return Outcome::Aggregated;
        }
        (*storm).told = now;
        (*storm).total
    };
    if !filter::wants(Kind::FdExhausted) {
        return Outcome::Filtered;
    }
    record(&owner, task, netns, syscall, err, total, now)
}

#[inline(always)]
fn record(
    owner: &ProcessKey,
    task: u64,
    netns: u32,
    syscall: i32,
    err: i32,
    total: u64,
    now: u64,
) -> Outcome {
    let open = open_fds(task);
    let signal: u64 = probe(task, field!(signal));
    let tuple = Tuple {
        netns,
        ..Tuple::default()
    };
    emit::rare::<FdExhausted>(owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head_of(
                &raw mut (*to).head,
                Kind::FdExhausted,
                now,
                owner,
                OwnerSource::Current,
                &tuple,
            );
            (*to).total = total;
            (*to).limit_soft = probe(signal, field!(rlim_nofile));
            (*to).limit_hard = probe(signal, field!(rlim_nofile) + 8);
            (*to).syscall = syscall;
            (*to).errno = err;
            (*to).open_fds = open;
            (*to).pad = 0;
        }
    })
}

/// Counts the bits of the task's table, `u32::MAX` when it is larger than [`WORDS`].
#[inline(always)]
fn open_fds(task: u64) -> u32 {
    let files: u64 = probe(task, field!(files));
    let table: u64 = probe(files, field!(fdt));
    let words = probe::<u32>(table, field!(max_fds)) / 64;
    if words > WORDS {
        return u32::MAX;
    }
    let bits: u64 = probe(table, field!(open_fds));
    let mut count = 0;
    for word in 0..WORDS {
        if word >= words {
            break;
        }
        count += probe::<u64>(bits + u64::from(word) * 8, 0).count_ones();
    }
    count
}

//! Calls that fail for want of a descriptor (EMFILE) or a file (ENFILE).

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_ktime_get_boot_ns},
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};
use tracer_common::{
    conn::{OwnerSource, Tuple},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{FdExhausted, Kind},
    storm::FdKey,
    tcp::errno,
};

use crate::{
    account::{self, Outcome},
    emit, filter,
    maps::{FD_STORMS, field},
    process,
    sock::{self, current_flags, probe},
    storm::{self, Counted},
};

/// `include/linux/sched.h`: a worker of io_uring.
const PF_IO_WORKER: u32 = 0x10;
/// Numbers of system calls on x86-64.
const RECVMSG: i32 = 47;
const INOTIFY_INIT: i32 = 253;
const INOTIFY_INIT1: i32 = 294;
const RECVMMSG: i32 = 299;
const IO_URING_ENTER: i32 = 426;
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

/// `fs/file.c: alloc_fd`. Prototype on 5.10 to 7.3: `(unsigned int, unsigned int, unsigned int) -> int`.
/// Every descriptor passes, those of io_uring and those passed by SCM_RIGHTS too.
#[fexit(function = "alloc_fd")]
pub(crate) fn alloc_fd_exit(ctx: FExitContext) -> i32 {
    no_descriptor(ctx.arg(3));
    0
}

#[kretprobe(function = "alloc_fd")]
pub(crate) fn alloc_fd_return(ctx: RetProbeContext) -> u32 {
    no_descriptor(ctx.ret());
    0
}

/// `fs/file_table.c: alloc_empty_file`. Prototype on 5.10 to 7.3:
/// `(int, const struct cred *) -> struct file *`, or a negative error.
#[fexit(function = "alloc_empty_file")]
pub(crate) fn alloc_empty_file_exit(ctx: FExitContext) -> i32 {
    no_file(ctx.arg::<*const u8>(2) as i64);
    0
}

#[kretprobe(function = "alloc_empty_file")]
pub(crate) fn alloc_empty_file_return(ctx: RetProbeContext) -> u32 {
    no_file(ctx.ret::<u64>() as i64);
    0
}

/// `fs/notify/inotify/inotify_user.c: do_inotify_init`. Prototype on 5.10 to 7.3: `(int) -> int`. Fails
/// for want of an instance (`fs.inotify.max_user_instances`) where no descriptor was asked for.
#[fexit(function = "do_inotify_init")]
pub(crate) fn do_inotify_init_exit(ctx: FExitContext) -> i32 {
    no_instance(ctx.arg(1));
    0
}

#[kretprobe(function = "do_inotify_init")]
pub(crate) fn do_inotify_init_return(ctx: RetProbeContext) -> u32 {
    no_instance(ctx.ret());
    0
}

#[inline(always)]
fn no_descriptor(result: i32) {
    if result == -errno::EMFILE {
        let call = current_call();
        // Told when inotify's own function returns, whatever it failed for.
        if call != INOTIFY_INIT && call != INOTIFY_INIT1 {
            exhausted(call, errno::EMFILE);
        }
    }
}

#[inline(always)]
fn no_file(result: i64) {
    if result == -i64::from(errno::ENFILE) {
        exhausted(current_call(), errno::ENFILE);
    }
}

#[inline(always)]
fn no_instance(result: i32) {
    if result == -errno::EMFILE {
        exhausted(current_call(), errno::EMFILE);
    }
}

/// Number of the system call that runs; -1 where the descriptor is not what it returns (passed by a
/// message), and for io_uring.
#[inline(always)]
fn current_call() -> i32 {
    if current_flags() & PF_IO_WORKER != 0 {
        return -1;
    }
    match sock::current_call() {
        IO_URING_ENTER | RECVMSG | RECVMMSG => -1,
        call => call,
    }
}

/// Counts a failure of the current process; the first is told at once, then a few a second.
#[inline(always)]
fn exhausted(syscall: i32, err: i32) {
    let run = account::enter(Hook::FdExhausted);
    let outcome = tell(syscall, err);
    account::leave(run, outcome);
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
    let total = match storm::count(&FD_STORMS, &key, now) {
        Counted::Tell(total) => total,
        Counted::Quietly => return Outcome::Aggregated,
        Counted::NoRoom => return Outcome::MapFull,
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

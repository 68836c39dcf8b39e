//! Connects that fail at once: the exit of the system call knows the error, and no SYN was sent.
//!
//! `net/ipv4/af_inet.c: __inet_stream_connect`. A failure that comes later is told by the state change.

use aya_ebpf::{
    helpers::{
        bpf_get_current_task, bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_task_pt_regs,
    },
    macros::tracepoint,
    programs::TracePointContext,
};
use tracer_common::{
    conn::{OwnerSource, Tuple, flag},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{ConnectFailed, Kind, NO_TIME},
    tcp::{AF_INET, AF_INET6, errno},
};

use crate::{
    account::{self, Outcome},
    conn, emit, filter,
    maps::{config, field},
    process,
    sock::{is_tcp, mapped, probe, probe_tuple, probe_user, socket_of_current},
};

/// Errors of a call that did not try: no such descriptor, not a socket, bad address, bad argument,
/// connected, under way, interrupted.
const NOT_TRIED: [i32; 10] = [9, 14, 22, 88, 106, 114, 4, 512, 514, 516];
/// `THREAD_SIZE` of x86-64 without KASAN, `arch/x86/include/asm/page_64_types.h`.
const THREAD_SIZE: u64 = 16_384;
/// Size of `struct pt_regs` on x86-64.
const PT_REGS: u64 = 168;

/// `syscalls:sys_exit_connect`: the result stands at 16.
#[tracepoint]
pub(crate) fn sys_exit_connect(ctx: TracePointContext) -> u32 {
    // SAFETY: inside the tracepoint's record.
    let result: i64 = unsafe { ctx.read_at(16) }.unwrap_or_default();
    if result < 0 && result != -i64::from(errno::EINPROGRESS) {
        failed(-result as i32);
    }
    0
}

#[inline(always)]
fn failed(err: i32) {
    if NOT_TRIED.contains(&err) {
        return;
    }
    let regs = registers();
    let sk = socket_of_current(probe::<u64>(regs, field!(regs_di)) as u32);
    if sk == 0 || !is_tcp(sk) {
        return;
    }
    let mut tuple = Tuple::default();
    let mut id = 0;
    probe_tuple(sk, &mut tuple);
    if let Some(conn) = conn::get(sk) {
        // SAFETY: `conn` points into the map.
        unsafe {
            if (*conn).flags & flag::FAILURE_REPORTED != 0 {
                (*conn).flags &= !flag::FAILURE_REPORTED;
                return;
            }
            if (*conn).flags & flag::FAILED_SILENTLY != 0 {
                (*conn).flags &= !flag::FAILED_SILENTLY;
                tuple = (*conn).tuple;
            }
            id = (*conn).id;
        }
    }
    if tuple.rport == 0 {
        destination(probe(regs, field!(regs_si)), &mut tuple);
    }
    let owner = process::current();
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    process::know_current(&owner, now);
    account::enter(Hook::ConnectFailed);
    let outcome = tell(&owner, &tuple, id, err, now);
    account::leave(Hook::ConnectFailed, outcome);
}

/// The registers that the system call was entered with.
#[inline(always)]
fn registers() -> u64 {
    if config!(task_pt_regs, u32) == 1 {
        // SAFETY: the verifier checks both calls.
        unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
    } else {
        // SAFETY: no argument, no precondition.
        probe::<u64>(unsafe { bpf_get_current_task() }, field!(stack)) + THREAD_SIZE - PT_REGS
    }
}

/// Where the caller wanted to go, from its `struct sockaddr`.
#[inline(always)]
fn destination(at: u64, tuple: &mut Tuple) {
    // Family, port and IPv4 address stand in the first word, an IPv6 address in the second and third.
    let mut words = [0u64; 3];
    if !probe_user(at, &mut words) {
        let mut first = [0u64; 2];
        probe_user(at, &mut first);
        words[0] = first[0];
    }
    let family = words[0] as u16;
    tuple.rport = u16::from_be((words[0] >> 16) as u16);
    if family == AF_INET {
        tuple.raddr = mapped((words[0] >> 32) as u32);
        tuple.laddr = mapped(0);
    } else if family == AF_INET6 {
        tuple.raddr = [words[1], words[2]];
    }
}

#[inline(always)]
fn tell(owner: &ProcessKey, tuple: &Tuple, id: u64, err: i32, now: u64) -> Outcome {
    if !filter::passes(owner, tuple) {
        return Outcome::Filtered;
    }
    process::count(owner, Total::ConnectFailed, 1);
    if !filter::wants(Kind::ConnectFailed) {
        return Outcome::Filtered;
    }
    emit::rare::<ConnectFailed>(owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head_of(
                &raw mut (*to).head,
                Kind::ConnectFailed,
                now,
                owner,
                OwnerSource::Current,
                tuple,
            );
            (*to).head.conn_id = id;
            (*to).connect = NO_TIME;
            (*to).errno = err;
            (*to).syn_sent = 0;
            (*to).pad = [0; 3];
        }
    })
}

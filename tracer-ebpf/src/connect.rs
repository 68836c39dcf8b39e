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
    sock::{map_v4, probe, probe_tuple, probe_user, tcp_of_fd},
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
    // SAFETY: no argument, no precondition.
    let task = unsafe { bpf_get_current_task() };
    let regs = registers(task);
    let sk = tcp_of_fd(task, probe::<u64>(regs, field!(regs_di)) as u32);
    if sk == 0 {
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
    process::know(&owner, task, true, now);
    account::enter(Hook::ConnectFailed);
    let outcome = tell(&owner, &tuple, id, err, now);
    account::leave(Hook::ConnectFailed, outcome);
}

/// The registers that the system call was entered with.
#[inline(always)]
fn registers(task: u64) -> u64 {
    if config!(task_pt_regs, u32) == 1 {
        // SAFETY: the verifier checks both calls.
        unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
    } else {
        probe::<u64>(task, field!(stack)) + THREAD_SIZE - PT_REGS
    }
}

/// Where the caller wanted to go, from its `struct sockaddr`.
#[inline(always)]
fn destination(at: u64, tuple: &mut Tuple) {
    let mut addr = [0u8; 24];
    if !probe_user(at, &mut addr) {
        // Shorter than an IPv6 address at the end of a page.
        probe_user(at, &mut addr[..16]);
    }
    let family = u16::from_ne_bytes([addr[0], addr[1]]);
    tuple.rport = u16::from_be_bytes([addr[2], addr[3]]);
    if family == AF_INET {
        map_v4(
            &mut tuple.raddr,
            u32::from_ne_bytes([addr[4], addr[5], addr[6], addr[7]]),
        );
        map_v4(&mut tuple.laddr, 0);
    } else if family == AF_INET6 {
        for byte in 0..16 {
            tuple.raddr[byte] = addr[8 + byte];
        }
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

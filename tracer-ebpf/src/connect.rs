//! Connects that fail at once: the exit of the system call knows the error, and no SYN was sent.
//!
//! `net/ipv4/af_inet.c: __inet_stream_connect`. A failure that comes later is told by the state change.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns},
    macros::{fexit, kprobe, kretprobe, tracepoint},
    programs::{FExitContext, ProbeContext, RetProbeContext, TracePointContext},
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
    calls, conn, emit, filter,
    maps::field,
    process,
    sock::{is_tcp, mapped, probe, probe_tuple, probe_user, registers, socket_of_current},
};

/// Errors of a call that did not try: no such descriptor, not a socket, bad address, bad argument,
/// connected, under way, interrupted.
const NOT_TRIED: [i32; 10] = [9, 14, 22, 88, 106, 114, 4, 512, 514, 516];

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
    let regs = registers();
    let sk = socket_of_current(probe::<u64>(regs, field!(regs_di)) as u32);
    if sk == 0 || !is_tcp(sk) {
        return;
    }
    // Family, port and IPv4 address stand in the first word, an IPv6 address in the second and third.
    let at: u64 = probe(regs, field!(regs_si));
    let mut address = [0u64; 3];
    if !probe_user(at, &mut address) {
        let mut short = [0u64; 2];
        probe_user(at, &mut short);
        address[0] = short[0];
    }
    failed_to(sk, &address, err);
}

/// Tells of a connect of the current process that failed at once, unless its state change did.
#[inline(always)]
fn failed_to(sk: u64, address: &[u64; 3], err: i32) {
    if NOT_TRIED.contains(&err) {
        return;
    }
    let mut tuple = Tuple::default();
    let mut id = 0;
    probe_tuple(sk, &mut tuple);
    if let Some(conn) = conn::find(sk) {
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
        destination(address, &mut tuple);
    }
    let owner = process::current();
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    process::know_current(&owner, now);
    let run = account::enter(Hook::ConnectFailed);
    let outcome = tell(&owner, &tuple, id, err, now);
    account::leave(run, outcome);
}

/// Where the caller wanted to go, from its `struct sockaddr`.
#[inline(always)]
fn destination(address: &[u64; 3], tuple: &mut Tuple) {
    let family = address[0] as u16;
    tuple.rport = u16::from_be((address[0] >> 16) as u16);
    if family == AF_INET {
        tuple.raddr = mapped((address[0] >> 32) as u32);
        tuple.laddr = mapped(0);
    } else if family == AF_INET6 {
        tuple.raddr = [address[1], address[2]];
    }
}

/// `net/ipv4/tcp_ipv4.c: tcp_v4_connect`. Prototype: 5.10 to 6.18 `(struct sock *, struct sockaddr *, int) -> int`,
/// from 6.19 with `struct sockaddr_unsized *`.
#[fexit(function = "tcp_v4_connect")]
pub(crate) fn tcp_v4_connect_exit(ctx: FExitContext) -> i32 {
    let sk = ctx.arg::<*const u8>(0) as u64;
    returned(
        sk,
        AF_INET,
        ctx.arg::<*const u8>(1) as u64,
        ctx.arg::<i32>(3),
    );
    0
}

/// `net/ipv6/tcp_ipv6.c: tcp_v6_connect`. Prototype as above.
#[fexit(function = "tcp_v6_connect")]
pub(crate) fn tcp_v6_connect_exit(ctx: FExitContext) -> i32 {
    let sk = ctx.arg::<*const u8>(0) as u64;
    returned(
        sk,
        AF_INET6,
        ctx.arg::<*const u8>(1) as u64,
        ctx.arg::<i32>(3),
    );
    0
}

#[kprobe(function = "tcp_v4_connect")]
pub(crate) fn tcp_v4_connect_entry(ctx: ProbeContext) -> u32 {
    called(AF_INET, &ctx);
    0
}

#[kprobe(function = "tcp_v6_connect")]
pub(crate) fn tcp_v6_connect_entry(ctx: ProbeContext) -> u32 {
    called(AF_INET6, &ctx);
    0
}

#[kretprobe(function = "tcp_v4_connect")]
pub(crate) fn tcp_v4_connect_return(ctx: RetProbeContext) -> u32 {
    if let Some([sk, address]) = calls::finished(bpf_get_current_pid_tgid(), AF_INET) {
        returned(sk, AF_INET, address, ctx.ret());
    }
    0
}

#[kretprobe(function = "tcp_v6_connect")]
pub(crate) fn tcp_v6_connect_return(ctx: RetProbeContext) -> u32 {
    if let Some([sk, address]) = calls::finished(bpf_get_current_pid_tgid(), AF_INET6) {
        returned(sk, AF_INET6, address, ctx.ret());
    }
    0
}

#[inline(always)]
fn called(family: u16, ctx: &ProbeContext) {
    if let (Some(sk), Some(address)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) {
        calls::began(bpf_get_current_pid_tgid(), family, [sk, address]);
    }
}

/// A connect function of a family is through. That of IPv6 calls that of IPv4 for a mapped address, and
/// tells of the failure itself.
#[inline(always)]
fn returned(sk: u64, function: u16, address: u64, result: i32) {
    if result < 0 && probe::<u16>(sk, field!(family)) == function {
        failed_to(sk, &probe(address, 0), -result);
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

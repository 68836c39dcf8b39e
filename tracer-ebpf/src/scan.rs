//! Sockets that exist already: a walk over the open files of all tasks, and the end of a socket.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tracer_common::{
    conn::{Conn, OwnerSource},
    hook::Hook,
    process::{self as shared, ProcessKey},
    tcp::state,
};

use crate::{
    account::{self, Outcome, Run},
    conn, filter,
    maps::{CONNS, COOKIES, PROCESSES, config, field},
    process,
    sock::{Sock, probe, tcp_of_file},
    state::let_go,
};

/// What `iter/task_file` passes, `kernel/bpf/task_iter.c: struct bpf_iter__task_file`; each member is
/// eight bytes wide.
#[repr(C)]
pub(crate) struct TaskFile {
    meta: u64,
    task: u64,
    fd: u64,
    file: u64,
}

/// Runs once per open file of each task, when user space reads the iterator. At the start it finds
/// owners, later it gives the sockets of processes that ended to those that hold them now, and it
/// settles what retransmits were missed.
#[unsafe(link_section = "iter/task_file")]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn task_file(ctx: *const TaskFile) -> i32 {
    // SAFETY: the kernel passes a context of this shape.
    let (task, file) = unsafe { ((*ctx).task, (*ctx).file) };
    if task == 0 || file == 0 {
        return 0;
    }
    let sk = tcp_of_file(file);
    if sk == 0 {
        return 0;
    }
    let owner = process::of_task(task);
    let now_in: u8 = probe(sk, field!(state));
    if now_in != state::CLOSE {
        let run = account::enter(Hook::TaskFile);
        let outcome = found(sk, now_in, task, &owner, run);
        account::leave(run, outcome);
    }
    0
}

#[inline(always)]
fn found(sk: u64, now_in: u8, task: u64, owner: &ProcessKey, run: Run) -> Outcome {
    if !filter::watches(sk) {
        return Outcome::Filtered;
    }
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    process::know(owner, task, now);
    let known = conn::find(sk);
    let entry = match known {
        Some(conn) => Some(conn),
        None => {
            let counted = probe(sk, field!(total_retrans));
            conn::adopt(sk, now_in, conn::new_id(run), counted, now)
        }
    };
    let Some(conn) = entry else {
        return Outcome::MapFull;
    };
    // SAFETY: `conn` points into the map.
    unsafe {
        if takes_over(conn, owner) {
            process::hold(owner, 1);
            conn::own(conn, owner, OwnerSource::Iter);
            if known.is_some() && now_in == state::LISTEN {
                conn::pass_on(conn, owner);
            }
        }
        if known.is_none() && now_in == state::LISTEN {
            conn::listen(&(*conn).tuple, owner);
        }
        if now_in != state::LISTEN {
            conn::settle(conn, sk, now);
        }
    }
    Outcome::Aggregated
}

/// Whether a holder is the owner from now on: where there was none, where the owner has ended, where
/// the connection was accepted unseen, and among several found holders the one that started first.
#[inline(always)]
unsafe fn takes_over(conn: *const Conn, holder: &ProcessKey) -> bool {
    // SAFETY: guaranteed by the caller.
    let (owner, source) = unsafe { ((*conn).owner, (*conn).owner_source) };
    if !owner.is_known() || source == OwnerSource::Inherited as u8 {
        return true;
    }
    if source == OwnerSource::Iter as u8 && holder.start < owner.start {
        return true;
    }
    has_ended(&owner)
}

/// Whether a process is over, or not known any more.
#[inline(always)]
pub(crate) fn has_ended(process: &ProcessKey) -> bool {
    match PROCESSES.get_ptr(process) {
        // SAFETY: the verifier has seen the null check.
        Some(process) => unsafe { (*process).flags & shared::flag::EXITED != 0 },
        None => true,
    }
}

/// Who holds a socket, as user space found it with sock_diag and `/proc`; `None` on the other rung.
#[inline(always)]
pub(crate) fn holder(sk: u64) -> Option<ProcessKey> {
    if config!(sock_diag, u32) == 0 {
        return None;
    }
    // Set by `net/core/sock_diag.c: __sock_gen_cookie` when user space saw the socket.
    let cookie: u64 = probe(sk, field!(cookie));
    // SAFETY: the value is copied; user space replaces it as a whole.
    unsafe { COOKIES.get(&cookie) }.copied()
}

/// What a walk with the iterator does for each socket, on the rung `sock_diag` done when the socket is
/// met: gives it to the process that was found to hold it. A function of its own, for it is called in
/// many places.
#[inline(never)]
pub(crate) fn renew(conn: *mut Conn, sk: u64) {
    if conn.is_null() {
        return;
    }
    let Some(holder) = holder(sk) else {
        return;
    };
    // SAFETY: `conn` points into the map.
    unsafe {
        if (*conn).owner != holder && takes_over(conn, &holder) && !has_ended(&holder) {
            process::hold(&holder, 1);
            conn::own(conn, &holder, OwnerSource::Iter);
            if (*conn).state == state::LISTEN {
                conn::pass_on(conn, &holder);
            }
        }
    }
}

/// `net/ipv4/tcp_ipv4.c: tcp_v4_destroy_sock`. Prototype on 5.10 to 7.3: `(struct sock *)`. Frees what
/// is kept of a socket that closed while a descriptor stood for it, or whose close was skipped: that is told
/// now.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub(crate) fn tcp_destroy_sock(ctx: BtfTracePointContext) -> i32 {
    let Some(sk) = Sock::from_arg(ctx.arg(0)) else {
        return 0;
    };
    let Some(conn) = conn::get(sk.addr()) else {
        return 0;
    };
    let run = account::enter(Hook::Destroy);
    // SAFETY: `conn` points into the map.
    unsafe {
        let last = (*conn).state;
        if last != state::CLOSE && last != state::TIME_WAIT {
            account::unseen(Hook::State);
            let_go(sk, conn, last, bpf_ktime_get_boot_ns());
        }
    }
    let _ = CONNS.remove(&sk.addr());
    account::leave(run, Outcome::Aggregated);
    0
}

//! Who takes a connection from a listener's queue.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns,
    macros::{fentry, kprobe, tracepoint},
    programs::{FEntryContext, ProbeContext, TracePointContext},
};
use tracer_common::{
    conn::{Conn, OwnerSource, flag},
    hook::Hook,
    tcp::state,
};

use crate::{
    account::{self, Outcome},
    conn, filter,
    maps::field,
    process,
    sock::{is_tcp, probe, socket_of_current, socket_of_file},
};

/// `syscalls:sys_exit_accept` and `sys_exit_accept4`: the descriptor that is returned, at 16, stands for
/// the socket in the caller's table.
#[tracepoint]
pub(crate) fn sys_exit_accept(ctx: TracePointContext) -> u32 {
    // SAFETY: inside the tracepoint's record.
    let result: i64 = unsafe { ctx.read_at(16) }.unwrap_or(-1);
    if result >= 0 {
        accepted(result as u32);
    }
    0
}

/// `fs/file.c: fd_install`. Prototype on 5.10 to 7.3: `(unsigned int, struct file *)`. Every new
/// descriptor passes, whatever call made it, io_uring's too; that of a socket that is connected and
/// has no holder yet was accepted.
#[fentry(function = "fd_install")]
pub(crate) fn fd_install_entry(ctx: FEntryContext) -> i32 {
    installed(ctx.arg::<*const u8>(1) as u64);
    0
}

#[kprobe(function = "fd_install")]
pub(crate) fn fd_install_probe(ctx: ProbeContext) -> u32 {
    if let Some(file) = ctx.arg::<u64>(1) {
        installed(file);
    }
    0
}

#[inline(always)]
fn installed(file: u64) {
    let sk = socket_of_file(file);
    if sk == 0 {
        return;
    }
    match conn::find(sk) {
        // SAFETY: `conn` points into the map.
        Some(conn) => unsafe {
            // A socket that has a holder is passed on.
            if !conn::is_held((*conn).owner_source) && (*conn).flags & flag::ACTIVE == 0 {
                taken(sk, Some(conn));
            }
        },
        None if is_tcp(sk) && probe::<u8>(sk, field!(state)) == state::ESTABLISHED => {
            taken(sk, None)
        }
        None => {}
    }
}

#[inline(always)]
fn accepted(descriptor: u32) {
    let sk = socket_of_current(descriptor);
    let known = conn::find(sk);
    // What is known is a TCP socket.
    if sk != 0 && (known.is_some() || is_tcp(sk)) {
        taken(sk, known);
    }
}

/// The current process takes a socket from a listener's queue.
#[inline(always)]
fn taken(sk: u64, known: Option<*mut Conn>) {
    let run = account::enter(Hook::Accept);
    if !filter::watches(sk) {
        return account::leave(run, Outcome::Filtered);
    }
    let owner = process::current();
    if !owner.is_known() {
        // For whom a kernel thread accepts is not known.
        return account::leave(run, Outcome::Aggregated);
    }
    // SAFETY: no argument, no precondition.
    let clock = || unsafe { bpf_ktime_get_boot_ns() };
    process::hold_current(&owner, clock);
    let entry = match known {
        Some(conn) => Some(conn),
        None => {
            let counted = probe(sk, field!(total_retrans));
            conn::adopt(
                sk,
                probe(sk, field!(state)),
                conn::new_id(run),
                counted,
                clock(),
            )
        }
    };
    let outcome = match entry {
        Some(conn) => {
            // SAFETY: `conn` points into the map.
            unsafe {
                if (*conn).flags & flag::UNSEEN != 0 {
                    // An event came between the kernel's accept and this.
                    conn::count_unseen(-1);
                }
                if known.is_some() || !conn::is_held((*conn).owner_source) {
                    (*conn).flags |= flag::PASSIVE;
                    conn::own(conn, &owner, OwnerSource::Accept);
                } else {
                    // It turns out to have a holder, so it was passed on.
                    process::hold(&owner, -1);
                }
            }
            Outcome::Aggregated
        }
        None => {
            process::hold(&owner, -1);
            Outcome::MapFull
        }
    };
    account::leave(run, outcome);
}

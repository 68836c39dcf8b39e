//! Who takes a connection from a listener's queue.

use aya_ebpf::{helpers::bpf_ktime_get_boot_ns, macros::tracepoint, programs::TracePointContext};
use tracer_common::{conn::OwnerSource, hook::Hook, tcp::errno};

use crate::{
    account::{self, Outcome},
    conn, fd,
    maps::field,
    process,
    sock::{is_tcp, probe, socket_of_current},
};

/// `syscalls:sys_exit_accept` and `sys_exit_accept4`: the descriptor that is returned stands for the
/// socket in the caller's table. The number of the call stands at 8, the result at 16.
#[tracepoint]
pub(crate) fn sys_exit_accept(ctx: TracePointContext) -> u32 {
    // SAFETY: inside the tracepoint's record.
    let result: i64 = unsafe { ctx.read_at(16) }.unwrap_or_default();
    if result >= 0 {
        accepted(result as u32);
    } else if result == -i64::from(errno::EMFILE) || result == -i64::from(errno::ENFILE) {
        // SAFETY: as above.
        let call: i32 = unsafe { ctx.read_at(8) }.unwrap_or(-1);
        fd::exhausted(call, -result as i32);
    }
    0
}

#[inline(always)]
fn accepted(descriptor: u32) {
    let sk = socket_of_current(descriptor);
    let known = conn::get(sk);
    // What is known is a TCP socket.
    if sk == 0 || (known.is_none() && !is_tcp(sk)) {
        return;
    }
    let run = account::enter(Hook::Accept);
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let owner = process::current();
    process::know_current(&owner, now);
    let entry = match known {
        Some(conn) => Some(conn),
        None => {
            let counted = probe(sk, field!(total_retrans));
            conn::adopt(
                sk,
                probe(sk, field!(state)),
                conn::new_id(Hook::Accept, run),
                counted,
                now,
            )
        }
    };
    let outcome = match entry {
        Some(conn) => {
            // SAFETY: `conn` points into the map.
            unsafe { conn::own(conn, &owner, OwnerSource::Accept) };
            Outcome::Aggregated
        }
        None => Outcome::MapFull,
    };
    account::leave(Hook::Accept, outcome);
}

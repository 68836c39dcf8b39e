//! What became of a socket that leaves FIN_WAIT2 or CLOSING: the kernel's tracepoint says CLOSE for
//! all of them.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id},
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use tracer_common::{
    conn::{Conn, Tuple, flag},
    fields::MISSING,
    hook::Hook,
    process::Total,
    record::{Kind, TimeWaitOverflow},
    storm::TwKey,
};

use crate::{
    account::{self, Outcome},
    calls, conn, emit, filter,
    maps::{TW_EXACT, TW_STORMS, field},
    process,
    sock::{Sock, SockCommon, probe},
    storm::{self, Counted},
};

/// Longest chain that is walked; chains of the established table hold one or two sockets.
const LONGEST_CHAIN: u32 = 32;

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is closed: a reset, an abort, a timeout of FIN_WAIT2.
    Closed,
    /// It entered the time-wait table.
    TimeWait,
    /// The table was full, says the function.
    Refused,
    /// The table must have been full.
    Overflow,
}

/// What became of it, and the table it met. The numbers stand beside the end, not inside it: the compiler
/// would copy them where there are none, and the verifier refuses that.
#[derive(Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) end: End,
    /// Sockets in the table.
    count: u32,
    /// How many it may hold.
    max: u32,
}

impl Fate {
    /// Of a socket that needs no time-wait.
    pub(crate) const CLOSED: Self = Self::of(End::Closed);

    const fn of(end: End) -> Self {
        Self {
            end,
            count: 0,
            max: 0,
        }
    }

    /// Whether the socket found the table full.
    #[inline(always)]
    pub(crate) fn is_overflow(self) -> bool {
        matches!(self.end, End::Refused | End::Overflow)
    }
}

/// Tells the fate: `net/ipv4/tcp_minisocks.c: tcp_time_wait` asks for a time-wait socket
/// (`net/ipv4/inet_timewait_sock.c: inet_twsk_alloc`), puts it into the table, and closes the socket;
/// it closes the socket all the same when it got none.
///
/// # Safety
///
/// `conn` points into the map and belongs to `sk`.
#[inline(always)]
pub(crate) unsafe fn fate(sk: Sock, conn: *const Conn) -> Fate {
    // SAFETY: guaranteed by the caller.
    let (flags, tuple) = unsafe { ((*conn).flags, &(*conn).tuple) };
    if flags & flag::TIME_WAIT != 0 {
        return Fate::of(End::TimeWait);
    }
    if flags & flag::TIME_WAIT_REFUSED != 0 {
        let (count, max) = table(sk);
        return Fate {
            end: End::Refused,
            count,
            max,
        };
    }
    if sk.err() != 0 || field!(hashinfo) == MISSING || field!(tw_max) == MISSING {
        return Fate::CLOSED;
    }
    if is_in_table(sk, tuple) {
        return Fate::of(End::TimeWait);
    }
    // The function would have told of an overflow, unless its probe was missed.
    if TW_EXACT.get(0).is_some_and(|is_exact| *is_exact == 1) {
        return Fate::CLOSED;
    }
    let (count, max) = table(sk);
    let end = if count >= max {
        End::Overflow
    } else {
        End::Closed
    };
    Fate { end, count, max }
}

/// Sockets in the time-wait table of the socket's namespace, and how many it may hold.
#[inline(always)]
fn table(sk: Sock) -> (u32, u32) {
    let net = sk.net();
    let count = if field!(tw_refcount) != MISSING {
        probe::<u32>(net, field!(tw_refcount)).wrapping_sub(1)
    } else if field!(tw_count) != MISSING {
        probe(net, field!(tw_count))
    } else {
        0
    };
    let max = if field!(tw_max) == MISSING {
        0
    } else {
        probe(net, field!(tw_max))
    };
    (count, max)
}

/// Whether a time-wait socket of these ends is in the table of established sockets. A function of its
/// own, with a stack of its own: verifiers up to 6.12 add up a call chain's frames.
#[inline(never)]
fn is_in_table(sk: Sock, tuple: &Tuple) -> bool {
    let mut node: u64 = probe(sk.bucket(), 0);
    for _ in 0..LONGEST_CHAIN {
        // The end of a chain is marked by an odd value.
        if node & 1 == 1 || node == 0 {
            return false;
        }
        let other = SockCommon::read(node - u64::from(field!(nulls_node)));
        if other.is_time_wait_of(sk, tuple) {
            return true;
        }
        node = probe(node, 0);
    }
    false
}

/// `net/ipv4/inet_timewait_sock.c: inet_twsk_alloc`. Prototype on 5.10 to 7.3:
/// `(const struct sock *, struct inet_timewait_death_row *, const int) -> struct inet_timewait_sock *`,
/// NULL when the table is full.
#[fexit(function = "inet_twsk_alloc")]
pub(crate) fn inet_twsk_alloc_exit(ctx: FExitContext) -> i32 {
    allocated(
        ctx.arg::<*const u8>(0) as u64,
        ctx.arg::<*const u8>(3) as u64,
    );
    0
}

#[kprobe(function = "inet_twsk_alloc")]
pub(crate) fn inet_twsk_alloc_entry(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg::<u64>(0) {
        calls::began(this_cpu(), INET_TWSK_ALLOC, [sk, 0]);
    }
    0
}

#[kretprobe(function = "inet_twsk_alloc")]
pub(crate) fn inet_twsk_alloc_return(ctx: RetProbeContext) -> u32 {
    if let Some([sk, _]) = calls::finished(this_cpu(), INET_TWSK_ALLOC) {
        allocated(sk, ctx.ret());
    }
    0
}

/// Names a call in [`calls`].
const INET_TWSK_ALLOC: u16 = 1;

/// The CPU and the task on it: the function does not sleep.
#[inline(always)]
fn this_cpu() -> u64 {
    // SAFETY: no argument, no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    (u64::from(cpu) << 32) | (bpf_get_current_pid_tgid() & 0xffff_ffff)
}

#[inline(always)]
fn allocated(sk: u64, socket: u64) {
    if let Some(conn) = conn::find(sk) {
        let flag = if socket == 0 {
            flag::TIME_WAIT_REFUSED
        } else {
            flag::TIME_WAIT
        };
        // SAFETY: `conn` points into the map; the socket is locked.
        unsafe { (*conn).flags |= flag };
    }
}

/// Counts an overflow for the socket's owner and tells of it, at once and then now and then.
///
/// # Safety
///
/// `conn` points into the map.
#[inline(always)]
pub(crate) unsafe fn overflow(conn: *const Conn, fate: Fate, now: u64) {
    let run = account::enter(Hook::TimeWaitOverflow);
    // SAFETY: guaranteed by the caller.
    let outcome = unsafe { tell(conn, fate, now) };
    account::leave(run, outcome);
}

#[inline(always)]
unsafe fn tell(conn: *const Conn, fate: Fate, now: u64) -> Outcome {
    // SAFETY: guaranteed by the caller.
    let (owner, tuple) = unsafe { (&(*conn).owner, &(*conn).tuple) };
    // SAFETY: as above.
    if !unsafe { filter::passes_of(conn) } {
        return Outcome::Filtered;
    }
    process::count(owner, Total::TimeWaitOverflow, 1);
    let key = TwKey {
        process: *owner,
        netns: tuple.netns,
        // SAFETY: guaranteed by the caller.
        owner_source: u32::from(unsafe { (*conn).owner_source }),
    };
    let total = match storm::count(&TW_STORMS, &key, now) {
        Counted::Tell(total) => total,
        Counted::Quietly => return Outcome::Aggregated,
        Counted::NoRoom => return Outcome::MapFull,
    };
    if !filter::wants(Kind::TimeWaitOverflow) {
        return Outcome::Filtered;
    }
    emit::rare::<TimeWaitOverflow>(owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head(&raw mut (*to).head, Kind::TimeWaitOverflow, now, conn);
            (*to).total = total;
            (*to).tw_count = fate.count;
            (*to).tw_max = fate.max;
            (*to).inferred = u8::from(fate.end == End::Overflow);
            (*to).pad = [0; 7];
        }
    })
}

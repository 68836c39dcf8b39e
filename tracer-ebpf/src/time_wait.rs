//! What became of a socket that leaves FIN_WAIT2 or CLOSING: the kernel's tracepoint says CLOSE for
//! all of them.

use tracer_common::{
    conn::{Conn, Tuple},
    fields::MISSING,
    hook::Hook,
    process::{ProcessKey, Total},
    record::{Kind, TimeWaitOverflow},
    storm::{INTERVAL, Storm, TwKey},
    tcp::state,
};

use crate::{
    account::{self, Outcome, add},
    emit, filter,
    maps::{TW_STORMS, field},
    process,
    sock::{Sock, probe, probe_tuple},
};

/// Longest chain that is walked; chains of the established table hold one or two sockets.
const LONGEST_CHAIN: u32 = 32;

/// What became of it.
pub(crate) enum Fate {
    /// It entered the time-wait table.
    TimeWait,
    /// The table was full.
    Overflow { count: u32, max: u32 },
    /// It is closed: a reset, an abort, a timeout of FIN_WAIT2.
    Closed,
}

/// Tells the fate from the socket and the table: `net/ipv4/tcp_minisocks.c: tcp_time_wait` puts the
/// time-wait socket into the table before it closes the socket, or finds the table full
/// (`net/ipv4/inet_timewait_sock.c: inet_twsk_alloc`) and closes it all the same.
#[inline(always)]
pub(crate) fn fate(sk: Sock, tuple: &Tuple) -> Fate {
    if sk.err() != 0 || field!(hashinfo) == MISSING || field!(tw_max) == MISSING {
        return Fate::Closed;
    }
    if is_in_table(sk, tuple) {
        return Fate::TimeWait;
    }
    let net = sk.net() as u64;
    let count = if field!(tw_refcount) == MISSING {
        probe(net, field!(tw_count))
    } else {
        probe::<u32>(net, field!(tw_refcount)).wrapping_sub(1)
    };
    let max: u32 = probe(net, field!(tw_max));
    if count >= max {
        Fate::Overflow { count, max }
    } else {
        Fate::Closed
    }
}

/// Whether a time-wait socket of these ends is in the table of established sockets.
#[inline(always)]
fn is_in_table(sk: Sock, tuple: &Tuple) -> bool {
    let hash = sk.hash();
    let mut node: u64 = probe(sk.bucket(), 0);
    for _ in 0..LONGEST_CHAIN {
        // The end of a chain is marked by an odd value.
        if node & 1 == 1 || node == 0 {
            return false;
        }
        let other = node - u64::from(field!(nulls_node));
        if probe::<u32>(other, field!(hash)) == hash
            && probe::<u8>(other, field!(state)) == state::TIME_WAIT
        {
            let mut ends = Tuple::default();
            probe_tuple(other, &mut ends);
            if ends == *tuple {
                return true;
            }
        }
        node = probe(node, 0);
    }
    false
}

/// Counts an overflow for the socket's owner and tells of it, at once and then now and then.
///
/// # Safety
///
/// `conn` points into the map.
#[inline(always)]
pub(crate) unsafe fn overflow(conn: *const Conn, count: u32, max: u32, now: u64) {
    account::enter(Hook::TimeWaitOverflow);
    // SAFETY: guaranteed by the caller.
    let outcome = unsafe { tell(conn, count, max, now) };
    account::leave(Hook::TimeWaitOverflow, outcome);
}

#[inline(always)]
unsafe fn tell(conn: *const Conn, count: u32, max: u32, now: u64) -> Outcome {
    // SAFETY: guaranteed by the caller.
    let (owner, tuple) = unsafe { (&(*conn).owner, &(*conn).tuple) };
    if !filter::passes(owner, tuple) {
        return Outcome::Filtered;
    }
    process::count(owner, Total::TimeWaitOverflow, 1);
    let key = TwKey {
        process: ProcessKey {
            start: owner.start,
            tgid: owner.tgid,
            pad: 0,
        },
        netns: tuple.netns,
        pad: 0,
    };
    if TW_STORMS.get_ptr(&key).is_none() {
        let _ = TW_STORMS.insert(&key, &Storm::default(), 1);
    }
    let Some(storm) = TW_STORMS.get_ptr_mut(&key) else {
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
    if !filter::wants(Kind::TimeWaitOverflow) {
        return Outcome::Filtered;
    }
    emit::rare::<TimeWaitOverflow>(owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head(&raw mut (*to).head, Kind::TimeWaitOverflow, now, conn);
            (*to).total = total;
            (*to).tw_count = count;
            (*to).tw_max = max;
            (*to).inferred = 1;
            (*to).pad = [0; 7];
        }
    })
}

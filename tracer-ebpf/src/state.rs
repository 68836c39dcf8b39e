//! `inet_sock_set_state`: every state change of every TCP socket, and what follows from it.
//!
//! `net/ipv4/af_inet.c: inet_sk_set_state`, called by `net/ipv4/tcp.c: tcp_set_state`.
//! Prototype on 5.10 to 7.3: `(const struct sock *sk, int oldstate, int newstate)`.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_common::{
    conn::{Conn, OwnerSource, Tuple, flag},
    hook::Hook,
    process::ProcessKey,
    record::{Kind, NO_TIME, State},
    tcp::state::*,
};

use crate::{
    account::{self, Outcome, Run},
    close::closed,
    conn::{self, settle},
    emit, filter,
    maps::field,
    process,
    sock::{Sock, probe},
    time_wait::{self, Fate},
};

#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let Some(sk) = Sock::from_arg(ctx.arg(0)) else {
        return 0;
    };
    if sk.is_tcp() {
        let run = account::enter(Hook::State);
        let outcome = changed(
            &ctx,
            sk,
            ctx.arg::<i32>(1) as u8,
            ctx.arg::<i32>(2) as u8,
            run,
        );
        account::leave(run, outcome);
    }
    0
}

#[inline(always)]
fn changed(ctx: &BtfTracePointContext, sk: Sock, old: u8, new: u8, run: Run) -> Outcome {
    if !filter::watches(sk.addr()) {
        return Outcome::Filtered;
    }
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if (old == CLOSE && (new == SYN_SENT || new == LISTEN)) || (old == LISTEN && new == SYN_RECV) {
        return opened(ctx, sk, old, new, run, now);
    }
    let known = if old == SYN_RECV {
        // Not in the listener's queue yet, so nobody accepted it.
        conn::find(sk.addr())
    } else {
        conn::get(sk.addr())
    };
    let entry = match known {
        Some(conn) => Some(conn),
        None => {
            let counted = probe(sk.addr(), field!(total_retrans));
            conn::adopt(sk.addr(), old, conn::new_id(run), counted, now)
        }
    };
    let Some(conn) = entry else {
        return no_room(ctx);
    };
    // SAFETY: `conn` points into the map, the verifier has seen the null check; changes of one
    // socket's state are serialised by its lock.
    unsafe {
        if old == SYN_SENT || old == SYN_RECV || (new == CLOSE && (*conn).tuple.lport == 0) {
            sk.read_tuple(&mut (*conn).tuple);
        }
        if (*conn).flags & flag::UNSEEN != 0 && is_let_go(sk, old, new) {
            closed_by_holder(conn, now);
        }
        let known = (*conn).state;
        if known != old && !(known == TIME_WAIT && old == CLOSE) {
            account::unseen(Hook::State);
        }
        let fate = if new == CLOSE {
            fate(sk, conn, old)
        } else {
            Fate::CLOSED
        };
        let shown = shown(new, fate);
        let in_old = step(conn, old, shown, now);
        if new == ESTABLISHED && old == SYN_RECV && (*conn).segs_retrans == 0 {
            // A child starts with the retransmits of its SYN-ACK, which were counted as such:
            // `net/ipv4/tcp_minisocks.c: tcp_create_openreq_child`.
            (*conn).retrans_counted = probe(sk.addr(), field!(total_retrans));
        }
        let outcome = tell_state(conn, old, shown, in_old, now);
        if new == CLOSE {
            closed(sk, conn, old, fate, now);
        }
        outcome
    }
}

/// Whether a holder of the socket closes it or shuts it down, so runs now: no segment and no timer brings
/// about these changes. Where close resets (`net/ipv4/tcp.c: __tcp_close`) both directions are shut down and
/// there is no error.
#[inline(always)]
fn is_let_go(sk: Sock, old: u8, new: u8) -> bool {
    let is_reset = new == CLOSE
        && (old == ESTABLISHED || old == CLOSE_WAIT)
        && sk.is_shut_down()
        && sk.err() == 0;
    sk.has_socket() && (new == FIN_WAIT1 || new == LAST_ACK || is_reset)
}

/// Gives a socket that was accepted unseen to the process that closes it. A function of its own, for the
/// stack.
#[inline(never)]
fn closed_by_holder(conn: *mut Conn, now: u64) {
    let owner = process::current();
    if conn.is_null() || !owner.is_known() || !process::current_lets_go() {
        return;
    }
    process::hold_current(&owner, || now);
    // SAFETY: `conn` points into the map.
    unsafe { conn::own(conn, &owner, OwnerSource::Iter) }
}

/// A socket leaves CLOSE, or is made for a peer's SYN.
#[inline(always)]
fn opened(ctx: &BtfTracePointContext, sk: Sock, old: u8, new: u8, run: Run, now: u64) -> Outcome {
    let mut owner = ProcessKey::UNKNOWN;
    if new != SYN_RECV {
        // connect and listen run in the caller's context.
        owner = process::current();
        process::hold_current(&owner, || now);
    }
    let id = conn::new_id(run);
    let mut conn = born(sk, new, id, &owner, now);
    if conn.is_null() && conn::forget(sk.addr()) {
        conn = born(sk, new, id, &owner, now);
    }
    if conn.is_null() {
        process::hold(&owner, -1);
        return no_room(ctx);
    }
    // SAFETY: `conn` points into the map.
    unsafe { tell_state(conn, old, new, NO_TIME, now) }
}

#[inline(always)]
fn no_room(ctx: &BtfTracePointContext) -> Outcome {
    debug!(ctx, "no room for a socket: raise --max-sockets");
    Outcome::MapFull
}

/// An entry for a socket that leaves CLOSE, or NULL where there is no room, or an entry already. A function of
/// its own, for the stack.
#[inline(never)]
fn born(sk: Sock, new: u8, id: u64, owner: &ProcessKey, now: u64) -> *mut Conn {
    let conn = conn::put(sk.addr());
    if conn.is_null() {
        return conn;
    }
    let mut tuple = Tuple::default();
    sk.read_ends(&mut tuple);
    let (owner, source, flags) = match new {
        SYN_RECV => {
            let (owner, source) = conn::inherit(&tuple);
            (owner, source, flag::PASSIVE)
        }
        LISTEN => {
            conn::listen(&tuple, owner);
            (*owner, OwnerSource::Listen, 0)
        }
        _ => (*owner, OwnerSource::Connect, flag::ACTIVE),
    };
    // SAFETY: `conn` points into the map.
    unsafe {
        (*conn).tuple = tuple;
        (*conn).id = id;
        (*conn).born = now;
        (*conn).since = now;
        (*conn).state = new;
        (*conn).flags = flags;
        (*conn).owner = owner;
        (*conn).owner_source = if owner.is_known() {
            source as u8
        } else {
            OwnerSource::Unknown as u8
        };
        conn::note_group(conn, sk.addr());
    }
    conn
}

/// What became of a socket that leaves `old` for CLOSE.
#[inline(always)]
unsafe fn fate(sk: Sock, conn: *const Conn, old: u8) -> Fate {
    if old == FIN_WAIT2 || old == CLOSING {
        // SAFETY: guaranteed by the caller.
        unsafe { time_wait::fate(sk, conn) }
    } else {
        Fate::CLOSED
    }
}

/// The state as it is told.
#[inline(always)]
fn shown(new: u8, fate: Fate) -> u8 {
    if fate.end == time_wait::End::TimeWait {
        TIME_WAIT
    } else {
        new
    }
}

/// Closes an entry whose socket is freed though no change to CLOSE was seen. Where the last state does not
/// tell how it ended, nothing is told: the connection is counted for its owner alone.
///
/// # Safety
///
/// `conn` points into the map and belongs to `sk`.
#[inline(always)]
pub(crate) unsafe fn let_go(sk: Sock, conn: *mut Conn, last: u8, now: u64) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if (*conn).tuple.lport == 0 {
            sk.read_tuple(&mut (*conn).tuple);
        }
        if matches!(last, FIN_WAIT2 | CLOSING | LAST_ACK) {
            let fate = fate(sk, conn, last);
            step(conn, last, shown(CLOSE, fate), now);
            closed(sk, conn, last, fate, now);
            return;
        }
        if last != LISTEN {
            settle(conn, sk.addr(), now);
        }
        conn::count_out(conn);
    }
}

/// Moves the entry into its new state. Returns the time spent in the old one, ns.
#[inline(always)]
unsafe fn step(conn: *mut Conn, old: u8, new: u8, now: u64) -> u64 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        // A walk on another CPU may have found it a moment later than this.
        let spent = now.saturating_sub((*conn).since);
        (*conn).in_state[old as usize % COUNT] += spent;
        (*conn).since = now;
        (*conn).state = new;
        match new {
            ESTABLISHED if (*conn).flags & flag::FOUND == 0 => (*conn).established = now,
            FIN_WAIT1 => (*conn).flags |= flag::CLOSED_LOCAL,
            CLOSE_WAIT => (*conn).flags |= flag::CLOSED_REMOTE,
            _ => {}
        }
        // Found at this very event: the state before was not watched.
        if spent == 0 { NO_TIME } else { spent }
    }
}

#[inline(always)]
unsafe fn tell_state(conn: *const Conn, old: u8, new: u8, in_old: u64, now: u64) -> Outcome {
    if !filter::wants(Kind::State) {
        return Outcome::Aggregated;
    }
    // SAFETY: guaranteed by the caller.
    unsafe {
        if !filter::passes_of(conn) {
            return Outcome::Filtered;
        }
        emit::event::<State>(&(*conn).owner, |to| {
            emit::head(&raw mut (*to).head, Kind::State, now, conn);
            (*to).in_old = in_old;
            (*to).old = old;
            (*to).new = new;
            (*to).pad = [0; 6];
        })
    }
}

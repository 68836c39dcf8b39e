//! `inet_sock_set_state`: every state change of every TCP socket, and what follows from it.
//!
//! `net/ipv4/af_inet.c: inet_sk_set_state`, called by `net/ipv4/tcp.c: tcp_set_state`.
//! Prototype on 5.10 to 7.3: `(const struct sock *sk, int oldstate, int newstate)`.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_ktime_get_boot_ns, bpf_skc_to_tcp_sock},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_common::{
    conn::{Conn, OwnerSource, Tuple, flag},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{ConnectFailed, Connection, End, Kind, NO_TIME, State},
    tcp::{errno, state::*},
};

use crate::{
    account::{self, Outcome, Run},
    conn::{self, settle},
    emit, filter,
    maps::{CONNS, field},
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

/// An entry for a socket that leaves CLOSE, or NULL where there is no room, or an entry already. A function of its own, for the
/// stack.
#[inline(never)]
fn born(sk: Sock, new: u8, id: u64, owner: &ProcessKey, now: u64) -> *mut Conn {
    let conn = conn::put(sk.addr(), BPF_NOEXIST);
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
        if last == LISTEN {
            conn::unlisten(&(*conn).tuple);
        } else {
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
        let spent = now - (*conn).since;
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
        if !filter::passes(&(*conn).owner, &(*conn).tuple) {
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

/// Tells what a close means, and lets go of the entry.
#[inline(always)]
unsafe fn closed(sk: Sock, conn: *mut Conn, old: u8, fate: Fate, now: u64) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let err = sk.err();
        let mut is_counted = false;
        if old == LISTEN {
            conn::unlisten(&(*conn).tuple);
        } else if old == SYN_SENT && err == 0 && !sk.is_shut_down() {
            // connect fails in the caller's context before a SYN left; its exit knows the error.
            (*conn).flags |= flag::FAILED_SILENTLY;
        } else if old == SYN_RECV && err == 0 && (*conn).flags & flag::RESET_RECEIVED == 0 {
            // No connection: two segments at once may each make a child of one SYN, and the kernel drops the
            // second, `net/ipv4/inet_connection_sock.c: inet_csk_complete_hashdance`.
        } else if old != CLOSE {
            settle(conn, sk.addr(), now);
            if old == SYN_SENT && err != 0 {
                connect_failed(conn, err, now);
            }
            let end = end(conn, old, err, fate);
            if fate.is_overflow() {
                time_wait::overflow(conn, fate, now);
            }
            is_counted = filter::passes(&(*conn).owner, &(*conn).tuple);
            let run = account::enter(Hook::Connection);
            let outcome = if is_counted && filter::wants(Kind::Connection) {
                tell_connection(sk, conn, end, err, now)
            } else {
                Outcome::Filtered
            };
            account::leave(run, outcome);
        }
        process::let_go(
            &(*conn).owner,
            is_counted,
            conn::is_held((*conn).owner_source),
        );
        // After an orderly end nothing follows; else a reset may, which needs the owner: then, and
        // where a descriptor is left, the entry goes when the socket is freed.
        let is_orderly = old == LAST_ACK || (*conn).state == TIME_WAIT;
        if is_orderly && !sk.has_socket() {
            let _ = CONNS.remove(&sk.addr());
        }
    }
}

#[inline(always)]
unsafe fn connect_failed(conn: *mut Conn, err: i32, now: u64) {
    let run = account::enter(Hook::ConnectFailed);
    // SAFETY: guaranteed by the caller.
    let outcome = unsafe {
        (*conn).flags |= flag::FAILURE_REPORTED;
        tell_connect_failed(conn, err, now)
    };
    account::leave(run, outcome);
}

#[inline(always)]
unsafe fn tell_connect_failed(conn: *const Conn, err: i32, now: u64) -> Outcome {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let owner: &ProcessKey = &(*conn).owner;
        if !filter::passes(owner, &(*conn).tuple) {
            return Outcome::Filtered;
        }
        process::count(owner, Total::ConnectFailed, 1);
        if !filter::wants(Kind::ConnectFailed) {
            return Outcome::Filtered;
        }
        emit::rare::<ConnectFailed>(owner, |to| {
            emit::head(&raw mut (*to).head, Kind::ConnectFailed, now, conn);
            (*to).connect = if (*conn).flags & flag::FOUND == 0 {
                now - (*conn).born
            } else {
                NO_TIME
            };
            (*to).errno = err;
            (*to).syn_sent = 1;
            (*to).pad = [0; 3];
        })
    }
}

/// How a connection ended, from its last state, its error and what was seen of it.
#[inline(always)]
unsafe fn end(conn: *const Conn, old: u8, err: i32, fate: Fate) -> End {
    // SAFETY: guaranteed by the caller.
    let flags = unsafe { (*conn).flags };
    if fate.is_overflow() {
        return End::TimeWaitOverflow;
    }
    if old == SYN_SENT && err == errno::ECONNREFUSED {
        return End::Refused;
    }
    if flags & flag::RESET_RECEIVED != 0 || err == errno::ECONNRESET || err == errno::EPIPE {
        return End::ResetRemote;
    }
    if err == errno::ETIMEDOUT {
        return End::TimedOut;
    }
    if err != 0 {
        return End::Failed;
    }
    if fate.end == time_wait::End::TimeWait || old == LAST_ACK || old == SYN_SENT {
        return if flags & flag::CLOSED_REMOTE != 0 {
            End::ClosedRemote
        } else {
            End::ClosedLocal
        };
    }
    End::ResetLocal
}

#[inline(always)]
unsafe fn tell_connection(sk: Sock, conn: *const Conn, end: End, err: i32, now: u64) -> Outcome {
    // SAFETY: guaranteed by the caller; `tp` is of the type the verifier knows.
    unsafe {
        let tp: *const u8 = bpf_skc_to_tcp_sock(sk.addr() as *mut _).cast();
        let (mut sent, mut received, mut srtt) = (0, 0, 0);
        if !tp.is_null() {
            let load =
                |offset: u32| core::ptr::read_volatile(tp.add(offset as usize).cast::<u64>());
            sent = load(field!(bytes_sent)) - load(field!(bytes_retrans));
            // The peer's FIN takes a sequence number, and is counted as a byte.
            received = load(field!(bytes_received)) - u64::from(sk.fin_received());
            srtt = core::ptr::read_volatile(tp.add(field!(srtt_us) as usize).cast::<u32>()) >> 3;
        }
        emit::event::<Connection>(&(*conn).owner, |to| {
            emit::head(&raw mut (*to).head, Kind::Connection, now, conn);
            (*to).duration = now - (*conn).born;
            (*to).connect = if (*conn).established == 0 {
                NO_TIME
            } else {
                (*conn).established - (*conn).born
            };
            (*to).bytes_sent = sent;
            (*to).bytes_received = received;
            (*to).in_state = (*conn).in_state;
            (*to).segs_retrans = (*conn).segs_retrans;
            (*to).srtt_us = srtt;
            (*to).errno = err;
            (*to).end = end as u8;
            (*to).flags = (*conn).flags;
            (*to).pad = 0;
        })
    }
}

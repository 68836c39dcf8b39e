//! The end of a socket: how it ended, what it was, and the failure of an active open that it may be.

use aya_ebpf::helpers::bpf_skc_to_tcp_sock;
use tracer_common::{
    conn::{Conn, flag},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{ConnectFailed, Connection, End, Kind, NO_TIME},
    tcp::{errno, state::*},
};

use crate::{
    account::{self, Outcome},
    conn::{self, settle},
    emit, filter,
    maps::{CONNS, field},
    process,
    sock::Sock,
    time_wait::{self, Fate},
};

/// Tells what a change from `old` to CLOSE means, and lets go of the entry.
///
/// # Safety
///
/// `conn` points into the map and belongs to `sk`.
#[inline(always)]
pub(crate) unsafe fn closed(sk: Sock, conn: *mut Conn, old: u8, fate: Fate, now: u64) {
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
            is_counted = filter::passes_of(conn);
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
        if !filter::passes_of(conn) {
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
        let (mut sent, mut received, mut segs, mut srtt) = (0, 0, 0, 0);
        if !tp.is_null() {
            let load =
                |offset: u32| core::ptr::read_volatile(tp.add(offset as usize).cast::<u64>());
            sent = load(field!(bytes_sent)) - load(field!(bytes_retrans));
            // The peer's FIN takes a sequence number, and is counted as a byte.
            received = load(field!(bytes_received)) - u64::from(sk.fin_received());
            let load =
                |offset: u32| core::ptr::read_volatile(tp.add(offset as usize).cast::<u32>());
            segs = load(field!(segs_out));
            srtt = load(field!(srtt_us)) >> 3;
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
            (*to).segs_out = segs;
            (*to).segs_retrans = (*conn).segs_retrans;
            (*to).srtt_us = srtt;
            (*to).errno = err;
            (*to).end = end as u8;
            (*to).flags = (*conn).flags;
            (*to).pad = [0; 5];
        })
    }
}

//! Segments sent again.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tracer_common::{
    conn::{OwnerSource, Tuple, flag},
    fields::MISSING,
    hook::Hook,
    process::{ProcessKey, Total},
    record::{Cause, Kind, Retransmit},
    tcp::{ICSK_TIME_LOSS_PROBE, ca, errno, state},
};

use crate::{
    account::{self, Outcome, Run},
    conn, emit, filter,
    maps::{config, field},
    process,
    sock::{Sock, probe, probe_tuple},
};

/// `net/ipv4/tcp_output.c: __tcp_retransmit_skb`, after `total_retrans` has grown. Prototype:
/// 5.10 to 6.16 `(const struct sock *, const struct sk_buff *)`, from 6.17 also `int err`, and from
/// then on it fires for refused transmissions too.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub(crate) fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    let Some(sk) = Sock::from_arg(ctx.arg(0)) else {
        return 0;
    };
    let err = if config!(retransmit_err, u32) == 1 {
        ctx.arg::<i32>(2)
    } else {
        0
    };
    let run = account::enter(Hook::Retransmit);
    let outcome = segment(sk, ctx.arg::<*const u8>(1) as u64, err, run);
    account::leave(run, outcome);
    0
}

#[inline(always)]
fn segment(sk: Sock, skb: u64, err: i32, run: Run) -> Outcome {
    if !filter::watches(sk.addr()) {
        return Outcome::Filtered;
    }
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let total: u32 = probe(sk.addr(), field!(total_retrans));
    let control = skb + u64::from(field!(cb));
    let entry = match conn::get(sk.addr()) {
        Some(conn) => Some(conn),
        None => {
            // Not known before: only this buffer's segments are ours to count, if they were counted.
            let segs = if is_counted(err) {
                u32::from(probe::<u16>(control, field!(cb_gso_segs)))
            } else {
                0
            };
            let id = conn::new_id(run);
            conn::adopt(sk.addr(), sk.state(), id, total.wrapping_sub(segs), now)
        }
    };
    let Some(conn) = entry else {
        return Outcome::MapFull;
    };
    // SAFETY: `conn` points into the map; the socket is locked.
    unsafe {
        if (*conn).tuple.lport == 0 || (*conn).state == state::SYN_SENT {
            sk.read_tuple(&mut (*conn).tuple);
        }
        let counted = (*conn).retrans_counted;
        // Less than before: it is another connection, whose birth was skipped.
        let segs = if total < counted {
            total
        } else {
            total - counted
        };
        (*conn).retrans_counted = total;
        (*conn).segs_retrans += segs;
        let seq = probe(control, field!(cb_seq));
        let is_active = (*conn).flags & flag::ACTIVE != 0;
        let cause = cause(sk, is_active, total);
        conn::tell_retransmit(conn, sk.addr(), segs, seq, err, cause, now)
    }
}

/// Whether `__tcp_retransmit_skb` went so far as to count the segments: they were sent, or refused by the local firewall
/// (EPERM, as 1) or a full queue (ENOBUFS). With other errors it may have given up before.
#[inline(always)]
fn is_counted(err: i32) -> bool {
    matches!(-err, 0 | errno::EPERM | errno::ENOBUFS)
}

/// Why, from the socket's state, its congestion state and its timer, see
/// `net/ipv4/tcp_timer.c: tcp_write_timer_handler` (clears `icsk_pending` before an RTO),
/// `net/ipv4/tcp_output.c: tcp_send_loss_probe`, `tcp_simple_retransmit`.
#[inline(always)]
fn cause(sk: Sock, is_active: bool, total: u32) -> Cause {
    match sk.state() {
        state::SYN_SENT => return Cause::Syn,
        state::SYN_RECV => return Cause::Synack,
        _ => {}
    }
    if field!(ca_state) == MISSING || field!(pending) == MISSING {
        return Cause::Unknown;
    }
    // Nothing was sent before but one SYN, with its repeats: these are its data, which the peer of a fast open did not
    // take, and no loss. `net/ipv4/tcp_input.c: tcp_rcv_fastopen_synack` sends them in whatever state it has.
    if is_active && probe::<u32>(sk.addr(), field!(segs_out)).wrapping_sub(total) <= 1 {
        return Cause::Unknown;
    }
    let ca_state = probe::<u8>(sk.addr(), field!(ca_state)) & 0x1f;
    let pending: u8 = probe(sk.addr(), field!(pending));
    match (ca_state, pending) {
        // A probe is armed and sent before recovery only; while its timer is armed, ACKs may clock
        // retransmits of a recovery that begins.
        (..ca::RECOVERY, ICSK_TIME_LOSS_PROBE) => Cause::Tlp,
        (ca::LOSS, 0) => Cause::Rto,
        // Loss without a timeout: nothing to undo, no threshold to restore.
        (ca::LOSS, _)
            if field!(undo_marker) != MISSING
                && field!(prior_ssthresh) != MISSING
                && probe::<u32>(sk.addr(), field!(undo_marker)) == 0
                && probe::<u32>(sk.addr(), field!(prior_ssthresh)) == 0 =>
        {
            Cause::Pmtu
        }
        (ca::LOSS, _) => Cause::LossRecovery,
        (ca::RECOVERY, 1..) => Cause::Fast,
        _ => Cause::Unknown,
    }
}

/// `net/ipv4/tcp_output.c: tcp_rtx_synack`. Prototype on 5.10 to 7.3:
/// `(const struct sock *, const struct request_sock *)`. The socket is the listener, or the child of
/// a fast open, whose `total_retrans` grows with it.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub(crate) fn tcp_retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    let Some(sk) = Sock::from_arg(ctx.arg(0)) else {
        return 0;
    };
    let run = account::enter(Hook::RetransmitSynack);
    let outcome = synack(sk, ctx.arg::<*const u8>(1) as u64, run);
    account::leave(run, outcome);
    0
}

#[inline(always)]
fn synack(sk: Sock, request: u64, run: Run) -> Outcome {
    if !filter::watches(sk.addr()) {
        return Outcome::Filtered;
    }
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let mut owner = ProcessKey::UNKNOWN;
    let mut source = OwnerSource::Unknown as u8;
    let entry = match conn::get(sk.addr()) {
        Some(conn) => Some(conn),
        None => conn::adopt(sk.addr(), sk.state(), conn::new_id(run), 0, now),
    };
    if let Some(conn) = entry {
        // SAFETY: `conn` points into the map.
        unsafe {
            owner = (*conn).owner;
            source = (*conn).owner_source;
            if sk.state() != state::LISTEN {
                (*conn).retrans_counted = probe(sk.addr(), field!(total_retrans));
                (*conn).segs_retrans += 1;
            }
        }
    }
    let mut tuple = Tuple::default();
    probe_tuple(request, &mut tuple);
    if !filter::passes(&owner, &tuple) {
        return Outcome::Filtered;
    }
    process::count(&owner, Total::RetransmitSegs, 1);
    if !filter::wants(Kind::Retransmit) {
        return Outcome::Filtered;
    }
    emit::rare::<Retransmit>(&owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head_of(
                &raw mut (*to).head,
                Kind::Retransmit,
                now,
                &owner,
                OwnerSource::Unknown,
                &tuple,
            );
            (*to).head.owner_source = source;
            (*to).segs = 1;
            (*to).seq = probe(request, field!(snt_isn));
            (*to).rto_jiffies = 0;
            (*to).srtt_us = 0;
            (*to).unacked = 0;
            (*to).notsent = 0;
            (*to).err = 0;
            (*to).cause = Cause::Synack as u8;
            (*to).backoff = if field!(num_timeout) == MISSING {
                0
            } else {
                probe::<u8>(request, field!(num_timeout)) >> 1
            };
            (*to).pad = [0; 2];
        }
    })
}

//! Resets, sent and received.

use aya_ebpf::{
    helpers::bpf_ktime_get_boot_ns, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use tracer_common::{
    conn::{Conn, OwnerSource, Tuple, flag},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{Kind, Reset},
    tcp::state,
};

use crate::{
    account::{self, Outcome, Run},
    conn, emit, filter,
    maps::{config, field},
    process,
    sock::{Sock, mapped, probe, probe_tuple, sport},
};

/// Number of a request socket's state, `TCP_NEW_SYN_RECV`.
const NEW_SYN_RECV: u8 = 12;
/// No reason is given.
const NO_REASON: u32 = u32::MAX;

/// `net/ipv4/tcp_ipv4.c: tcp_v4_send_reset`, `net/ipv6/tcp_ipv6.c: tcp_v6_send_reset` (the buffer is
/// the segment answered) and `net/ipv4/tcp_output.c: tcp_send_active_reset` (the buffer is the reset,
/// or NULL). Prototype: 5.10 to 6.9 `(const struct sock *, const struct sk_buff *)`, then also
/// `const enum sk_rst_reason`; the socket may be NULL.
#[btf_tracepoint(function = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    let reason = if config!(reset_reason, u32) == 1 {
        ctx.arg::<u32>(2)
    } else {
        NO_REASON
    };
    let run = account::enter(Hook::SendReset);
    let outcome = sent(
        ctx.arg::<*const u8>(0),
        ctx.arg::<*const u8>(1) as u64,
        reason,
        run,
    );
    account::leave(run, outcome);
    0
}

#[inline(always)]
fn sent(sk: *const u8, skb: u64, reason: u32, run: Run) -> Outcome {
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let mut tuple = Tuple::default();
    let Some(sk) = Sock::from_arg(sk) else {
        answered(skb, &mut tuple);
        return tell(None, &tuple, 1, reason, now);
    };
    let state = sk.state();
    // A listener resets on behalf of a connection it does not have.
    if state != state::LISTEN
        && state != state::TIME_WAIT
        && state != NEW_SYN_RECV
        && let Some(conn) = met(sk, run, now)
    {
        return tell(Some(conn), &tuple, 1, reason, now);
    }
    if state == state::LISTEN {
        answered(skb, &mut tuple);
        tuple.netns = probe(sk.net(), field!(netns_inum));
        return match met(sk, run, now) {
            // SAFETY: the verifier has seen the null check.
            Some(conn) if unsafe { filter::passes(&(*conn).owner, &tuple) } => unsafe {
                tell_as(
                    &(*conn).owner,
                    (*conn).owner_source,
                    0,
                    &tuple,
                    1,
                    reason,
                    now,
                )
            },
            Some(_) => Outcome::Filtered,
            None => tell(None, &tuple, 1, reason, now),
        };
    }
    probe_tuple(sk.addr(), &mut tuple);
    if tuple.lport == 0 {
        tuple.lport = sport(sk.addr());
    }
    tell(None, &tuple, 1, reason, now)
}

/// The socket's entry. On the rung `sock_diag` one that was there before the trace may not have been
/// met yet.
#[inline(always)]
fn met(sk: Sock, run: Run, now: u64) -> Option<*mut Conn> {
    let known = conn::get(sk.addr());
    if known.is_some() || config!(sock_diag, u32) == 0 || sk.state() == state::CLOSE {
        return known;
    }
    let counted = probe(sk.addr(), field!(total_retrans));
    let id = conn::new_id(run);
    conn::adopt(sk.addr(), sk.state(), id, counted, now)
}

/// The ends of the segment that is answered, seen from here; the namespace of the device it came in by.
#[inline(always)]
pub(crate) fn answered(skb: u64, tuple: &mut Tuple) {
    if skb == 0 {
        return;
    }
    let head: u64 = probe(skb, field!(skb_head));
    let ip = head + u64::from(probe::<u16>(skb, field!(network_header)));
    let tcp = head + u64::from(probe::<u16>(skb, field!(transport_header)));
    tuple.rport = u16::from_be(probe(tcp, 0));
    tuple.lport = u16::from_be(probe(tcp, 2));
    if probe::<u8>(ip, 0) >> 4 == 4 {
        tuple.raddr = mapped(probe(ip, 12));
        tuple.laddr = mapped(probe(ip, 16));
    } else {
        tuple.raddr = probe(ip + 8, 0);
        tuple.laddr = probe(ip + 24, 0);
    }
    let dev: u64 = probe(skb, field!(skb_dev));
    let net: u64 = probe(dev, field!(dev_net));
    tuple.netns = probe(net, field!(netns_inum));
}

/// `net/ipv4/tcp_input.c: tcp_reset`. Prototype on 5.10 to 7.3: `(struct sock *)`.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    let Some(sk) = Sock::from_arg(ctx.arg(0)) else {
        return 0;
    };
    let run = account::enter(Hook::ReceiveReset);
    let outcome = received(sk, run);
    account::leave(run, outcome);
    0
}

#[inline(always)]
fn received(sk: Sock, run: Run) -> Outcome {
    if !filter::watches(sk.addr()) {
        return Outcome::Filtered;
    }
    // SAFETY: no argument, no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let entry = match conn::get(sk.addr()) {
        Some(conn) => Some(conn),
        None => {
            let counted = probe(sk.addr(), field!(total_retrans));
            conn::adopt(sk.addr(), sk.state(), conn::new_id(run), counted, now)
        }
    };
    let Some(conn) = entry else {
        return Outcome::MapFull;
    };
    // SAFETY: `conn` points into the map; the socket is locked.
    unsafe {
        (*conn).flags |= flag::RESET_RECEIVED;
        if (*conn).state == state::SYN_SENT {
            sk.read_tuple(&mut (*conn).tuple);
        }
    }
    tell(Some(conn), &Tuple::default(), 0, NO_REASON, now)
}

#[inline(always)]
fn tell(conn: Option<*mut Conn>, tuple: &Tuple, sent: u8, reason: u32, now: u64) -> Outcome {
    match conn {
        // SAFETY: `conn` points into the map.
        Some(conn) if unsafe { filter::passes_of(conn) } => unsafe {
            tell_as(
                &(*conn).owner,
                (*conn).owner_source,
                (*conn).id,
                &(*conn).tuple,
                sent,
                reason,
                now,
            )
        },
        None if filter::passes(&ProcessKey::UNKNOWN, tuple) => tell_as(
            &ProcessKey::UNKNOWN,
            OwnerSource::Unknown as u8,
            0,
            tuple,
            sent,
            reason,
            now,
        ),
        _ => Outcome::Filtered,
    }
}

/// Counts a reset that is wanted for its owner and sends the record.
#[inline(always)]
fn tell_as(
    owner: &ProcessKey,
    source: u8,
    id: u64,
    tuple: &Tuple,
    sent: u8,
    reason: u32,
    now: u64,
) -> Outcome {
    process::count(
        owner,
        if sent == 1 {
            Total::ResetsSent
        } else {
            Total::ResetsReceived
        },
        1,
    );
    if !filter::wants(Kind::Reset) {
        return Outcome::Filtered;
    }
    emit::rare::<Reset>(owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head_of(
                &raw mut (*to).head,
                Kind::Reset,
                now,
                owner,
                OwnerSource::Unknown,
                tuple,
            );
            (*to).head.conn_id = id;
            (*to).head.owner_source = source;
            (*to).reason = reason;
            (*to).sent = sent;
            (*to).pad = [0; 3];
        }
    })
}

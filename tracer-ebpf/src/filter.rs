//! The filters of the command line.

use aya_ebpf::maps::lpm_trie::Key;
use tracer_common::{
    config::filter,
    conn::{self, Address, Conn, Tuple},
    process::{ProcessKey, TICK, flag},
    record::Kind,
};

use crate::{
    maps::{CIDRS, COMMS, NETNS, PIDS, PORTS, PROCESSES, config, field},
    sock::probe,
};

/// Whether `--events` names this kind.
#[inline(always)]
pub(crate) fn wants(kind: Kind) -> bool {
    config!(events, u32) & (1 << kind as u32) != 0
}

/// Whether a socket, given by address, is in a namespace that is watched: of others nothing is kept.
#[inline(always)]
pub(crate) fn watches(sk: u64) -> bool {
    if config!(filters, u32) & filter::NETNS == 0 {
        return true;
    }
    let net: u64 = probe(sk, field!(net));
    NETNS.get_ptr(&probe(net, field!(netns_inum))).is_some()
}

/// Whether an event of this connection is wanted.
///
/// # Safety
///
/// `conn` points into the map.
#[inline(always)]
pub(crate) unsafe fn passes_of(conn: *const Conn) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { passes_as(&(*conn).owner, &(*conn).tuple, (*conn).flags) }
}

/// Whether an event with this owner and these ends is wanted.
#[inline(always)]
pub(crate) fn passes(owner: &ProcessKey, tuple: &Tuple) -> bool {
    passes_as(owner, tuple, 0)
}

#[inline(always)]
fn passes_as(owner: &ProcessKey, tuple: &Tuple, flags: u16) -> bool {
    let set = config!(filters, u32);
    if set == 0 {
        return true;
    }
    (set & filter::NETNS == 0 || NETNS.get_ptr(&tuple.netns).is_some())
        && (set & filter::PORT == 0
            || PORTS.get_ptr(&tuple.lport).is_some()
            || PORTS.get_ptr(&tuple.rport).is_some())
        && (set & filter::CIDR == 0 || in_cidr(tuple.laddr) || in_cidr(tuple.raddr))
        && (owner_passes(set, owner)
            || (set & filter::OWNERS == filter::CGROUP && flags & conn::flag::OF_GROUP != 0))
}

/// Whether an event that is no connection's is wanted: a filter on ports or addresses excludes it.
#[inline(always)]
pub(crate) fn passes_process(owner: &ProcessKey, netns: u32) -> bool {
    let set = config!(filters, u32);
    if set == 0 {
        return true;
    }
    set & (filter::PORT | filter::CIDR) == 0
        && (set & filter::NETNS == 0 || NETNS.get_ptr(&netns).is_some())
        && owner_passes(set, owner)
}

#[inline(always)]
fn in_cidr(addr: Address) -> bool {
    CIDRS.get(&Key::new(128, addr)).is_some()
}

#[inline(always)]
fn owner_passes(set: u32, owner: &ProcessKey) -> bool {
    if set & filter::PID != 0 && !is_named(owner) {
        return false;
    }
    if set & (filter::COMM | filter::CGROUP) == 0 {
        return true;
    }
    match PROCESSES.get_ptr(owner) {
        // SAFETY: the verifier has seen the null check.
        Some(process) => unsafe { (*process).flags & flag::PASSES != 0 },
        None => false,
    }
}

/// Whether `--pid` names this process, not one that has its pid later.
#[inline(always)]
fn is_named(owner: &ProcessKey) -> bool {
    match PIDS.get_ptr(&owner.tgid) {
        // SAFETY: the verifier has seen the null check.
        Some(start) => unsafe { owner.start - owner.start % TICK == *start },
        None => false,
    }
}

/// Whether `--comm` lets this name in.
#[inline(always)]
pub(crate) fn comm_passes(comm: &[u8; 16]) -> bool {
    config!(filters, u32) & filter::COMM == 0 || COMMS.get_ptr(comm).is_some()
}

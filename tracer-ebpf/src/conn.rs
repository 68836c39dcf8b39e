//! Sockets: what is kept of each from birth until it is freed.

use aya_ebpf::bindings::BPF_NOEXIST;
use tracer_common::{
    conn::{Conn, Listener, ListenerKey, OwnerSource, Tuple, flag},
    hook::Hook,
    process::{ProcessKey, Total},
    record::{Cause, Kind, Retransmit},
    tcp::state,
};

use crate::{
    account::{self, Outcome, Run},
    emit, filter,
    maps::{CONNS, LISTENERS, UNSEEN, config, field},
    process, scan,
    sock::{self, probe},
};

/// Names a connection: the number of this run of this hook on this CPU is unique.
#[inline(always)]
pub(crate) fn new_id(run: Run) -> u64 {
    // SAFETY: no argument, no precondition.
    let cpu = unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() };
    (run.number << 20) | (u64::from(cpu) << 5) | run.hook as u64
}

/// The entry of a socket, with an owner that can be told.
#[inline(always)]
pub(crate) fn get(sk: u64) -> Option<*mut Conn> {
    let conn = find(sk)?;
    // SAFETY: `conn` points into the map.
    let (source, flags) = unsafe { ((*conn).owner_source, (*conn).flags) };
    if !is_held(source) && flags & flag::UNSEEN == 0 {
        disown_accepted(conn, sk);
    }
    Some(conn)
}

/// The entry of a socket, whose owner may be that of its listener though it was accepted.
#[inline(always)]
pub(crate) fn find(sk: u64) -> Option<*mut Conn> {
    let conn = CONNS.get_ptr_mut(&sk)?;
    if config!(sock_diag, u32) == 1 {
        scan::renew(conn, sk);
    }
    Some(conn)
}

/// Whether an owner known this way holds the socket: the entry of an ended process stays as long as it
/// holds one.
#[inline(always)]
pub(crate) const fn is_held(source: u8) -> bool {
    source == OwnerSource::Connect as u8
        || source == OwnerSource::Accept as u8
        || source == OwnerSource::Listen as u8
        || source == OwnerSource::Iter as u8
}

/// Takes a socket without a known holder from its listener's owner when a descriptor stands for it, or
/// stood: then it was accepted, and nobody saw by whom. `net/ipv4/af_inet.c: inet_accept` sets `sk_socket`;
/// close clears it and sets `SOCK_DEAD`, bit 0 of `enum sock_flags`.
#[inline(never)]
fn disown_accepted(conn: *mut Conn, sk: u64) {
    if conn.is_null() {
        return;
    }
    let socket: u64 = probe(sk, field!(socket));
    if socket == 0 && probe::<u64>(sk, field!(flags)) & 1 == 0 {
        return;
    }
    // SAFETY: `conn` points into the map.
    unsafe {
        (*conn).owner = ProcessKey::UNKNOWN;
        (*conn).owner_source = OwnerSource::Unknown as u8;
        (*conn).flags |= flag::UNSEEN;
        note_group(conn, sk);
    }
    // Not so for the kernel's own sockets and subflows of MPTCP: no walk finds a holder.
    let has_descriptor = probe::<u64>(socket, field!(socket_file)) != 0
        && probe::<u64>(socket, field!(socket_sk)) == sk;
    if has_descriptor {
        count_unseen(1);
    }
}

/// Counts a connection more, or less, that was accepted unseen.
#[inline(always)]
pub(crate) fn count_unseen(by: i64) {
    if let Some(number) = UNSEEN.get_ptr_mut(0) {
        // SAFETY: the verifier has seen the null check; the value is aligned.
        unsafe { account::add(number, by as u64) }
    }
}

/// An empty entry, or NULL where there is an entry already, or no room.
#[inline(always)]
pub(crate) fn put(sk: u64) -> *mut Conn {
    /// In memory that is not the stack.
    static EMPTY: Conn = Conn::EMPTY;
    if CONNS.insert(&sk, &EMPTY, u64::from(BPF_NOEXIST)).is_err() {
        return core::ptr::null_mut();
    }
    CONNS.get_ptr_mut(&sk).unwrap_or(core::ptr::null_mut())
}

/// Removes the entry of a socket that had this address before, and tells whether there was one. Where its end
/// was not seen it is counted now. A function of its own, for the stack.
#[inline(never)]
pub(crate) fn forget(sk: u64) -> bool {
    let Some(conn) = CONNS.get_ptr_mut(&sk) else {
        return false;
    };
    // SAFETY: `conn` points into the map.
    unsafe {
        let last = (*conn).state;
        if last != state::CLOSE && last != state::TIME_WAIT {
            account::unseen(Hook::State);
            count_out(conn);
        }
    }
    let _ = CONNS.remove(&sk);
    true
}

/// Lets go of a listener, or counts, for its owner, a connection that is over though nothing can be told of it.
///
/// # Safety
///
/// `conn` points into the map.
#[inline(always)]
pub(crate) unsafe fn count_out(conn: *const Conn) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let is_listener = (*conn).state == state::LISTEN;
        if is_listener {
            unlisten(&(*conn).tuple);
        }
        let is_counted = !is_listener && filter::passes_of(conn);
        process::let_go(&(*conn).owner, is_counted, is_held((*conn).owner_source));
    }
}

/// An entry for a socket that was there before the trace: its birth and its owner are not known.
/// `counted` is its `total_retrans` from which on segments are ours to count.
#[inline(always)]
pub(crate) fn adopt(sk: u64, state: u8, id: u64, counted: u32, now: u64) -> Option<*mut Conn> {
    let conn = adopted(sk, state, id, counted, now);
    if conn.is_null() { None } else { Some(conn) }
}

/// A function of its own, for it is called in many places.
#[inline(never)]
fn adopted(sk: u64, state: u8, id: u64, counted: u32, now: u64) -> *mut Conn {
    let conn = put(sk);
    if conn.is_null() {
        // Another CPU was quicker, or there is no room.
        return CONNS.get_ptr_mut(&sk).unwrap_or(core::ptr::null_mut());
    }
    let mut tuple = Tuple::default();
    sock::probe_tuple(sk, &mut tuple);
    if tuple.lport == 0 {
        tuple.lport = sock::sport(sk);
    }
    let (owner, source) = match scan::holder(sk) {
        Some(holder) => (holder, OwnerSource::Iter),
        None => inherit(&tuple),
    };
    if source as u8 == OwnerSource::Iter as u8 {
        process::hold(&owner, 1);
    }
    // SAFETY: `conn` points into the map.
    unsafe {
        (*conn).id = id;
        (*conn).tuple = tuple;
        (*conn).born = now;
        (*conn).since = now;
        (*conn).state = state;
        (*conn).flags = flag::FOUND;
        (*conn).retrans_counted = counted;
        (*conn).owner = owner;
        (*conn).owner_source = source as u8;
    }
    if source as u8 != OwnerSource::Iter as u8 {
        // SAFETY: as above.
        unsafe { note_group(conn, sk) };
        disown_accepted(conn, sk);
    }
    conn
}

/// Remembers of a socket without a known owner whether it was made in the cgroup that is traced.
///
/// # Safety
///
/// `conn` points into the map.
#[inline(always)]
pub(crate) unsafe fn note_group(conn: *mut Conn, sk: u64) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if !(*conn).owner.is_known() && process::made_in_group(sk) {
            (*conn).flags |= flag::OF_GROUP;
        }
    }
}

/// Gives a socket to a process that was counted as holding one more, see [`process::hold`].
///
/// # Safety
///
/// `conn` points into the map.
#[inline(always)]
pub(crate) unsafe fn own(conn: *mut Conn, owner: &ProcessKey, source: OwnerSource) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if is_held((*conn).owner_source) {
            process::hold(&(*conn).owner, -1);
        }
        (*conn).flags &= !(flag::UNSEEN | flag::OF_GROUP);
        (*conn).owner = *owner;
        (*conn).owner_source = source as u8;
    }
}

/// Where a listener stands in the map.
#[inline(always)]
fn listener_key(tuple: &Tuple) -> ListenerKey {
    ListenerKey {
        laddr: tuple.laddr,
        netns: tuple.netns,
        lport: tuple.lport,
        pad: 0,
    }
}

/// Remembers who listens. Returns whether there was room.
#[inline(always)]
pub(crate) fn listen(tuple: &Tuple, owner: &ProcessKey) -> bool {
    let key = listener_key(tuple);
    if let Some(listener) = LISTENERS.get_ptr_mut(&key) {
        // SAFETY: the verifier has seen the null check.
        unsafe {
            (*listener).sockets += 1;
            if (*listener).owner != *owner {
                (*listener).shared = 1;
            }
        }
        return true;
    }
    let listener = Listener {
        owner: *owner,
        sockets: 1,
        shared: 0,
    };
    LISTENERS.insert(&key, &listener, 0).is_ok()
}

/// Gives a listener whose holder changed to the new one, for what its children inherit.
///
/// # Safety
///
/// `conn` points into the map, and is a listener's.
#[inline(always)]
pub(crate) unsafe fn pass_on(conn: *const Conn, owner: &ProcessKey) {
    // SAFETY: guaranteed by the caller.
    let key = listener_key(unsafe { &(*conn).tuple });
    if let Some(listener) = LISTENERS.get_ptr_mut(&key) {
        // SAFETY: the verifier has seen the null check.
        unsafe {
            if (*listener).shared == 0 {
                (*listener).owner = *owner;
            }
        }
    }
}

/// Forgets one listener.
#[inline(always)]
pub(crate) fn unlisten(tuple: &Tuple) {
    let key = listener_key(tuple);
    if let Some(listener) = LISTENERS.get_ptr_mut(&key) {
        // SAFETY: the verifier has seen the null check.
        unsafe {
            if (*listener).sockets > 1 {
                (*listener).sockets -= 1;
                return;
            }
        }
    }
    let _ = LISTENERS.remove(&key);
}

/// Who owns a child that nobody has accepted: the owner of the listener at its address, else of the
/// one at a wildcard address that takes it, when that is one process and has not ended.
#[inline(always)]
pub(crate) fn inherit(tuple: &Tuple) -> (ProcessKey, OwnerSource) {
    let mut key = listener_key(tuple);
    let mut found = LISTENERS.get_ptr(&key);
    if found.is_none() && sock::is_mapped(&key.laddr) {
        key.laddr = sock::mapped(0);
        found = LISTENERS.get_ptr(&key);
    }
    if found.is_none() {
        key.laddr = [0; 2];
        found = LISTENERS.get_ptr(&key);
    }
    if let Some(listener) = found {
        // SAFETY: the verifier has seen the null check.
        unsafe {
            let owner = &(*listener).owner;
            if (*listener).shared == 0 && owner.is_known() && !scan::has_ended(owner) {
                return (*owner, OwnerSource::Inherited);
            }
        }
    }
    (ProcessKey::UNKNOWN, OwnerSource::Unknown)
}

/// Tells of segments that were sent again though no event said so: the kernel skipped the program, or
/// the socket was not known then. Its `total_retrans` (`net/ipv4/tcp_output.c: __tcp_retransmit_skb`)
/// knows.
///
/// # Safety
///
/// `conn` points into the map and belongs to `sk`.
#[inline(always)]
pub(crate) unsafe fn settle(conn: *mut Conn, sk: u64, now: u64) {
    let total: u32 = probe(sk, field!(total_retrans));
    // SAFETY: guaranteed by the caller.
    unsafe {
        let segs = total.wrapping_sub((*conn).retrans_counted);
        // A disconnected socket starts from zero again.
        if segs == 0 || total < (*conn).retrans_counted {
            return;
        }
        (*conn).retrans_counted = total;
        (*conn).segs_retrans += segs;
        let run = account::enter(Hook::Settled);
        let outcome = tell_retransmit(conn, sk, segs, 0, 0, Cause::Unknown, now);
        account::leave(run, outcome);
    }
}

/// Counts segments for the owner and sends the record.
///
/// # Safety
///
/// `conn` points into the map and belongs to `sk`.
#[inline(always)]
pub(crate) unsafe fn tell_retransmit(
    conn: *mut Conn,
    sk: u64,
    segs: u32,
    seq: u32,
    err: i32,
    cause: Cause,
    now: u64,
) -> Outcome {
    // SAFETY: guaranteed by the caller.
    let (owner, passes) = unsafe { (&(*conn).owner, filter::passes_of(conn)) };
    if !passes {
        return Outcome::Filtered;
    }
    process::count(owner, Total::RetransmitSegs, u64::from(segs));
    if !filter::wants(Kind::Retransmit) {
        return Outcome::Filtered;
    }
    let next: u32 = probe(sk, field!(snd_nxt));
    let unacked = next.wrapping_sub(probe(sk, field!(snd_una)));
    let notsent = probe::<u32>(sk, field!(write_seq)).wrapping_sub(next);
    emit::rare::<Retransmit>(owner, |to| {
        // SAFETY: `to` is a reserved record.
        unsafe {
            emit::head(&raw mut (*to).head, Kind::Retransmit, now, conn);
            (*to).segs = segs;
            (*to).seq = seq;
            (*to).rto_jiffies = probe(sk, field!(rto));
            (*to).srtt_us = probe::<u32>(sk, field!(srtt_us)) >> 3;
            (*to).unacked = unacked;
            // Negative in the moment between a FIN's queueing and its sending.
            (*to).notsent = if notsent > i32::MAX as u32 {
                0
            } else {
                notsent
            };
            (*to).err = err;
            (*to).cause = cause as u8;
            (*to).backoff = probe(sk, field!(backoff));
            (*to).pad = [0; 2];
        }
    })
}

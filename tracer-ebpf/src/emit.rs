//! The only writer of the ring buffers.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::RingBuf,
};
use tracer_common::{
    conn::{Conn, OwnerSource, Tuple},
    process::{ProcessKey, Total},
    record::{Head, Kind},
};

use crate::{
    account::Outcome,
    maps::{EVENTS, RARE, config},
    process,
};

/// Bytes that the ring puts before a record, `kernel/bpf/ringbuf.c: struct bpf_ringbuf_hdr`.
const HEADER: u64 = 8;

/// Reserves room for a `T`, lets `fill` write all of it, and hands it over. A refusal is counted for
/// `owner`; the caller counts it for its hook.
///
/// The reader is woken only by the record that passes the mark, since a wake-up costs more than the
/// record; else it looks by itself every few milliseconds.
#[inline(always)]
fn emit<T: 'static>(
    ring: &RingBuf,
    mark: u32,
    owner: &ProcessKey,
    fill: impl FnOnce(*mut T),
) -> Outcome {
    let Some(mut entry) = ring.reserve::<T>(0) else {
        process::count(owner, Total::Lost, 1);
        return Outcome::RingFull;
    };
    fill(entry.as_mut_ptr());
    let waiting = ring.query(u64::from(BPF_RB_AVAIL_DATA));
    let is_passing = waiting.wrapping_sub(u64::from(mark)) < size_of::<T>() as u64 + HEADER;
    entry.submit(u64::from(if is_passing {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }));
    Outcome::Emitted
}

/// Into the ring of states and connections.
#[inline(always)]
pub(crate) fn event<T: 'static>(owner: &ProcessKey, fill: impl FnOnce(*mut T)) -> Outcome {
    emit(&EVENTS, config!(ring_mark, u32), owner, fill)
}

/// Into the ring of everything else.
#[inline(always)]
pub(crate) fn rare<T: 'static>(owner: &ProcessKey, fill: impl FnOnce(*mut T)) -> Outcome {
    emit(&RARE, config!(rare_mark, u32), owner, fill)
}

/// Fills the common part for a connection.
///
/// # Safety
///
/// `to` points into a reserved record, `conn` into the map.
#[inline(always)]
pub(crate) unsafe fn head(to: *mut Head, kind: Kind, ts: u64, conn: *const Conn) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*to).ts = ts;
        (*to).conn_id = (*conn).id;
        (*to).owner = (*conn).owner;
        (*to).tuple = (*conn).tuple;
        (*to).kind = kind as u8;
        (*to).owner_source = (*conn).owner_source;
        (*to).pad = [0; 6];
    }
}

/// Fills the common part where there is no entry for a connection.
///
/// # Safety
///
/// `to` points into a reserved record.
#[inline(always)]
pub(crate) unsafe fn head_of(
    to: *mut Head,
    kind: Kind,
    ts: u64,
    owner: &ProcessKey,
    source: OwnerSource,
    tuple: &Tuple,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        (*to).ts = ts;
        (*to).conn_id = 0;
        (*to).owner = *owner;
        (*to).tuple = *tuple;
        (*to).kind = kind as u8;
        (*to).owner_source = if owner.is_known() {
            source as u8
        } else {
            OwnerSource::Unknown as u8
        };
        (*to).pad = [0; 6];
    }
}

//! How each run of a hook is accounted for.

use tracer_common::hook::{Counters, Hook};

use crate::maps::{COUNTERS, config};

/// What became of a run. A record that was built yields `Emitted` or `RingFull`.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Emitted,
    Filtered,
    Aggregated,
    RingFull,
    MapFull,
}

/// A run of a hook, and where it is counted.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) hook: Hook,
    /// Its number on this CPU.
    pub(crate) number: u64,
    /// This CPU's row, or NULL.
    row: *mut Counters,
}

/// Counts `hook` as entered.
#[inline(always)]
pub(crate) fn enter(hook: Hook) -> Run {
    match COUNTERS.get_ptr_mut(hook as u32) {
        // SAFETY: the verifier has seen the null check; the row is this CPU's.
        Some(row) => unsafe {
            bump(hook, &raw mut (*row).entered);
            Run {
                hook,
                number: (*row).entered,
                row,
            }
        },
        None => Run {
            hook,
            number: 0,
            row: core::ptr::null_mut(),
        },
    }
}

/// Counts what became of it.
#[inline(always)]
pub(crate) fn leave(run: Run, outcome: Outcome) {
    let row = run.row;
    if row.is_null() {
        return;
    }
    // SAFETY: as above.
    unsafe {
        bump(
            run.hook,
            match outcome {
                Outcome::Emitted => &raw mut (*row).emitted,
                Outcome::Filtered => &raw mut (*row).filtered,
                Outcome::Aggregated => &raw mut (*row).aggregated,
                Outcome::RingFull => &raw mut (*row).ring_full,
                Outcome::MapFull => &raw mut (*row).map_full,
            },
        );
    }
}

/// Counts a run of `hook` that never was.
#[inline(always)]
pub(crate) fn unseen(hook: Hook) {
    if let Some(row) = COUNTERS.get_ptr_mut(hook as u32) {
        // SAFETY: the verifier has seen the null check; the field is aligned.
        unsafe { add(&raw mut (*row).unseen, 1) }
    }
}

/// Adds one. A row that one program alone writes is never written twice at once on a CPU where the
/// kernel skips a program that interrupts itself.
#[inline(always)]
unsafe fn bump(hook: Hook, to: *mut u64) {
    let has_one_writer = matches!(hook, Hook::State | Hook::Destroy | Hook::Accept);
    // SAFETY: guaranteed by the caller.
    unsafe {
        if has_one_writer && config!(guarded, u32) == 1 {
            *to += 1;
        } else {
            add(to, 1);
        }
    }
}

/// Adds atomically. The sum is not asked for: a fetching add does not exist on 5.10.
///
/// # Safety
///
/// `to` points at an aligned `u64` of a map's value.
#[inline(always)]
pub(crate) unsafe fn add(to: *mut u64, by: u64) {
    // SAFETY: guaranteed by the caller. One instruction, `BPF_ATOMIC | BPF_ADD`, on every kernel.
    unsafe {
        core::arch::asm!("lock *(u64 *)({to} + 0) += {by}", to = in(reg) to, by = in(reg) by, options(nostack));
    }
}

/// A [`Counters`] row is what [`leave`] writes to.
const _: () = assert!(size_of::<Counters>() == 56);

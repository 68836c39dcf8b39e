//! Carries the arguments of a function from the probe at its entry to the one at its return.

use crate::maps::CALLS;

/// Remembers a call: `who` calls `function`, a number of ours.
#[inline(always)]
pub(crate) fn began(who: u64, function: u16, args: [u64; 2]) {
    let _ = CALLS.insert(&[who, u64::from(function)], &args, 0);
}

/// Takes the arguments of the call that returns now.
#[inline(always)]
pub(crate) fn finished(who: u64, function: u16) -> Option<[u64; 2]> {
    let key = [who, u64::from(function)];
    // SAFETY: nobody else writes this entry: it belongs to one task or one CPU.
    let args = unsafe { CALLS.get(&key) }.copied();
    let _ = CALLS.remove(&key);
    args
}

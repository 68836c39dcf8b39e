//! Failures that come by the hundred thousand a second: all are counted, few are told.

use aya_ebpf::maps::HashMap;
use tracer_common::storm::{INTERVAL, Storm};

use crate::account::add;

/// What counting one more failure comes to.
pub(crate) enum Counted {
    /// It is time to tell, and this is the total.
    Tell(u64),
    /// One was told a moment ago.
    Quietly,
    /// The map is full.
    NoRoom,
}

/// Counts a failure: the first is told at once, then one in each [`INTERVAL`].
#[inline(always)]
pub(crate) fn count<K>(storms: &HashMap<K, Storm>, key: &K, now: u64) -> Counted {
    const BPF_NOEXIST: u64 = aya_ebpf::bindings::BPF_NOEXIST as u64;
    if storms.get_ptr(key).is_none() {
        // Another CPU may have been quicker, which is as good.
        let _ = storms.insert(key, &Storm::default(), BPF_NOEXIST);
    }
    let Some(storm) = storms.get_ptr_mut(key) else {
        return Counted::NoRoom;
    };
    // SAFETY: the verifier has seen the null check; the fields are aligned.
    unsafe {
        add(&raw mut (*storm).total, 1);
        if (*storm).told != 0 && now - (*storm).told < INTERVAL {
            return Counted::Quietly;
        }
        (*storm).told = now;
        Counted::Tell((*storm).total)
    }
}

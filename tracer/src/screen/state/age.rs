//! Since when.

use super::SECOND;
use crate::time::Time;

/// How long something has lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// As far as was seen, ns.
    pub ns: u64,
    /// It was there when the trace began, and so it is older.
    pub is_longer: bool,
}

impl Age {
    /// Of what was first seen at `since`, in a trace that began at `started`. What is there in the trace's
    /// first second is taken to have been there before.
    #[must_use]
    pub const fn new(started: Time, since: Time, now: Time) -> Self {
        Self {
            ns: now.since(since),
            is_longer: since.0 < started.0.saturating_add(SECOND),
        }
    }
}

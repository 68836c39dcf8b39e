//! The kernel's clock, and what its instants are in civil time.

use jiff::Timestamp;
use nix::time::{ClockId, clock_getres, clock_gettime};

use crate::time::Time;

/// Nanoseconds of `CLOCK_BOOTTIME` now, 0 where there is no such clock.
#[must_use]
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
            + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

/// Microseconds of a jiffy: the coarse clocks move once in one, and say so,
/// `kernel/time/posix-timers.c: posix_get_coarse_res`.
#[must_use]
pub fn us_per_jiffy() -> Option<f64> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).ok()?;
    Some(tick.tv_nsec() as f64 / 1e3)
}

/// When the machine was booted: what an instant of `CLOCK_BOOTTIME` is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Nanoseconds since 1970.
    pub boot: u64,
}

impl Epoch {
    /// Taken from both clocks now.
    #[must_use]
    pub fn now() -> Self {
        let civil = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
        Self {
            boot: civil.saturating_sub(now()),
        }
    }

    /// An instant of `CLOCK_BOOTTIME`, ns, in civil time.
    #[must_use]
    pub const fn time(&self, ns: u64) -> Time {
        Time(self.boot.saturating_add(ns))
    }
}

//! The kernel's clock, and what its instants are in civil time.

use jiff::Timestamp;
use nix::time::{ClockId, clock_getres, clock_gettime};

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
    pub boot: i128,
}

impl Epoch {
    /// Taken from both clocks now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            boot: Timestamp::now().as_nanosecond() - i128::from(now()),
        }
    }

    /// An instant of `CLOCK_BOOTTIME`, ns, as RFC 3339 with nanoseconds.
    #[must_use]
    pub fn format(&self, ns: u64) -> String {
        Timestamp::from_nanosecond(self.boot + i128::from(ns))
            .map_or_else(|_| String::from("invalid"), |time| format!("{time:.9}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_shown_with_nine_digits() {
        let epoch = Epoch {
            boot: 1_700_000_000_000_000_000,
        };
        assert_eq!(
            epoch.format(5_000_000_001),
            "2023-11-14T22:13:25.000000001Z"
        );
    }
}

//! When the kernel will give up a connection on which nothing is acknowledged: the arithmetic of
//! `net/ipv4/tcp_timer.c`.

use crate::time::Time;

/// `TCP_RTO_MIN`, which `retransmits_timed_out` counts with whatever the path's round-trip time is, ms.
const RTO_MIN_MS: u64 = 200;
/// `TCP_RTO_MAX`, and the default of `net.ipv4.tcp_rto_max_ms` where there is that (from 6.15), ms.
pub(super) const RTO_MAX_MS: u64 = 120_000;
const NS_PER_MS: u64 = 1_000_000;

/// What decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// `net.ipv4.tcp_retries2`, or for an orphan `tcp_orphan_retries`.
    pub(super) retries: u64,
    /// `net.ipv4.tcp_rto_max_ms`.
    pub(super) rto_max_ms: u64,
    /// TCP_USER_TIMEOUT; 0 for none. With one the retries do not count.
    pub(super) user_timeout_ms: u64,
}

impl Limits {
    /// How long after the first timeout a connection may go on, ns: `tcp_model_timeout`.
    pub(super) const fn allowed(&self) -> u64 {
        if self.user_timeout_ms > 0 {
            return self.user_timeout_ms.saturating_mul(NS_PER_MS);
        }
        let doublings = match (self.rto_max_ms / RTO_MIN_MS).checked_ilog2() {
            Some(doublings) => doublings as u64,
            None => 0,
        };
        let doubled = if self.retries < doublings {
            self.retries
        } else {
            doublings
        };
        let rest = self.retries.saturating_sub(doublings);
        let doubling = ((2_u64 << doubled) - 1).saturating_mul(RTO_MIN_MS);
        doubling
            .saturating_add(rest.saturating_mul(self.rto_max_ms))
            .saturating_mul(NS_PER_MS)
    }

    /// When it gives up: at the first timeout after what is allowed. The timer that runs expires at `next`
    /// and was set to `rto` ns; the first timeout was at `first`.
    pub(super) fn give_up(&self, first: Time, next: Time, rto: u64) -> Time {
        let end = Time(first.0.saturating_add(self.allowed()));
        if self.user_timeout_ms > 0 {
            // `tcp_clamp_rto_to_user_timeout`: the last timer is cut short.
            return end.max(next);
        }
        let longest = self.longest();
        let (mut at, mut rto) = (next, rto.max(NS_PER_MS));
        while at < end && rto < longest {
            rto = rto.saturating_mul(2).min(longest);
            at = Time(at.0.saturating_add(rto));
        }
        // From here on each timer is as long as the one before.
        let more = end.since(at).div_ceil(longest);
        Time(at.0.saturating_add(more.saturating_mul(longest)))
    }

    /// When the first timeout was, from the timer that runs: `retransmits` timeouts so far, the next at
    /// `next`, after a timer of `rto` ns; `base` is the timer that the path's round-trip time asks for.
    pub(super) fn first_timeout(&self, retransmits: u64, next: Time, rto: u64, base: u64) -> Time {
        let longest = self.longest();
        // The timer before the k-th timeout after the first was `base` doubled k times.
        let between = (1..retransmits.min(64))
            .map(|doublings| base.saturating_mul(1 << doublings).min(longest))
            .fold(0, u64::saturating_add);
        Time(next.0.saturating_sub(rto).saturating_sub(between))
    }

    /// The longest timer, ns.
    fn longest(&self) -> u64 {
        self.rto_max_ms.max(1).saturating_mul(NS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn limits(retries: u64) -> Limits {
        Limits {
            retries,
            rto_max_ms: RTO_MAX_MS,
            user_timeout_ms: 0,
        }
    }

    #[test]
    fn what_is_allowed_is_what_the_kernel_documents() {
        // Documentation/networking/ip-sysctl.rst: 15 retries are a hypothetical 924.6 seconds.
        assert_eq!(limits(15).allowed(), 924_600 * MS);
        assert_eq!(limits(5).allowed(), 12_600 * MS);
        let short = Limits {
            rto_max_ms: 1_000,
            ..limits(15)
        };
        assert_eq!(short.allowed(), (7 * 200 + 13 * 1_000) * MS);
    }

    #[test]
    fn it_gives_up_at_the_first_timeout_after_that() {
        // Timeouts at 0, 0.44, 1.32, 3.08, 6.6, 13.64 s: the last is the first past 12.6 s.
        let at = limits(5).give_up(Time(0), Time(440 * MS), 440 * MS);
        assert_eq!(at, Time(13_640 * MS));
        let with_timeout = Limits {
            user_timeout_ms: 5_000,
            ..limits(15)
        };
        let at = with_timeout.give_up(Time(0), Time(3_080 * MS), 1_760 * MS);
        assert_eq!(at, Time(5_000 * MS));
    }

    #[test]
    fn the_first_timeout_is_found_from_the_running_timer() {
        // Three timeouts at 0, 0.44 and 1.32 s, the next at 3.08 s.
        let first = limits(15).first_timeout(3, Time(3_080 * MS), 1_760 * MS, 220 * MS);
        assert_eq!(first, Time(0));
        assert_eq!(
            limits(15).first_timeout(1, Time(440 * MS), 440 * MS, 220 * MS),
            Time(0)
        );
    }
}

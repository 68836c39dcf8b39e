//! How a client waits between attempts to connect: for [`connect_refused`](super::connect_refused).

use super::phrase;

/// Failures this close, ms, are one attempt: libraries try each address, or twice at once.
const BURST_MS: u64 = 20;
/// A client that tries again within this time, ms, does not back off.
const NO_BACKOFF_MS: u64 = 250;

/// The gaps between attempts, ms, from those between failures.
pub(super) fn attempts(gaps_ms: &[u64]) -> Vec<u64> {
    let mut attempts = Vec::new();
    let mut since = 0;
    for gap in gaps_ms {
        since += gap;
        if since > BURST_MS {
            attempts.push(since);
            since = 0;
        }
    }
    attempts
}

/// How a client waits between attempts, from the gaps between its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackOff {
    /// Twice as long each time; the last wait, ms.
    Doubling(u64),
    /// Always about so long, ms.
    Fixed(u64),
    /// Hardly at all, ms.
    None(u64),
    /// In no order, or too few attempts to say.
    Unclear,
}

impl BackOff {
    pub(super) fn of(gaps_ms: &[u64]) -> Self {
        let mut sorted = gaps_ms.to_vec();
        sorted.sort_unstable();
        let Some(median) = sorted
            .get(sorted.len() / 2)
            .copied()
            .filter(|_| sorted.len() >= 2)
        else {
            return Self::Unclear;
        };
        let doubles = gaps_ms
            .windows(2)
            .filter(|pair| pair[0] > 0 && (15..=30).contains(&(pair[1] * 10 / pair[0])))
            .count();
        // Half of the steps, as a back-off is capped at some time, or starts anew.
        if doubles >= 2 && doubles * 2 >= gaps_ms.len() - 1 {
            return Self::Doubling(gaps_ms.last().copied().unwrap_or(median));
        }
        if median <= NO_BACKOFF_MS {
            return Self::None(median);
        }
        let near = gaps_ms
            .iter()
            .filter(|gap| gap.abs_diff(median) * 4 <= median)
            .count();
        if near * 4 >= gaps_ms.len() * 3 {
            Self::Fixed(median)
        } else {
            Self::Unclear
        }
    }
}

impl std::fmt::Display for BackOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |ms: u64| phrase::duration(ms * 1_000_000);
        match *self {
            Self::Doubling(ms) => {
                write!(f, "it waits twice as long each time, last {}", time(ms))
            }
            Self::Fixed(ms) => write!(f, "it tries again every {}", time(ms)),
            Self::None(ms) => write!(
                f,
                "it does not back off at all, and tries again every {}",
                time(ms)
            ),
            Self::Unclear => f.write_str("its attempts follow no plain back-off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaps_tell_the_back_off() {
        assert_eq!(
            BackOff::of(&[402, 801, 1601, 3201]),
            BackOff::Doubling(3201)
        );
        assert_eq!(
            BackOff::of(&[500, 1000, 2000, 4000, 4000, 4001]),
            BackOff::Doubling(4001)
        );
        assert_eq!(BackOff::of(&[1000, 1001, 1002, 999]), BackOff::Fixed(1001));
        assert_eq!(BackOff::of(&[200, 201, 202, 200]), BackOff::None(201));
        assert_eq!(BackOff::of(&[900, 3000, 400, 7000]), BackOff::Unclear);
        assert_eq!(BackOff::of(&[900]), BackOff::Unclear);
    }
}

//! How long a program's connections took.

use hdrhistogram::Histogram;
use tracer_common::tcp::state;

use crate::event::{State, UsInState};

/// How long a program's connections took to open and lived, us.
#[derive(Debug)]
pub struct Latency {
    /// Handshakes.
    pub connect_us: Histogram<u64>,
    /// From the first state to the last.
    pub duration_us: Histogram<u64>,
    /// The longest handshake, exactly.
    pub longest_connect_us: u64,
    /// The longest life, exactly.
    pub longest_duration_us: u64,
    us_in_state: [u64; state::COUNT],
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            connect_us: histogram(),
            duration_us: histogram(),
            longest_connect_us: 0,
            longest_duration_us: 0,
            us_in_state: [0; state::COUNT],
        }
    }
}

impl Latency {
    /// The states that its connections were in, and for how long altogether, us.
    pub fn us_in_state(&self) -> impl Iterator<Item = (State, u64)> {
        (0u8..)
            .zip(self.us_in_state)
            .filter(|(_, us)| *us > 0)
            .map(|(number, us)| (State(number), us))
    }

    /// Adds another program's.
    pub fn merge(&mut self, other: &Self) {
        // What grows to any 64-bit number has room for what another one has.
        let _ = self.connect_us.add(&other.connect_us);
        let _ = self.duration_us.add(&other.duration_us);
        self.longest_connect_us = self.longest_connect_us.max(other.longest_connect_us);
        self.longest_duration_us = self.longest_duration_us.max(other.longest_duration_us);
        for (sum, us) in self.us_in_state.iter_mut().zip(other.us_in_state) {
            *sum = sum.saturating_add(us);
        }
    }

    pub(super) fn add(
        &mut self,
        connect_us: Option<u64>,
        duration_us: Option<u64>,
        us_in_state: &UsInState,
    ) {
        for (histogram, longest, us) in [
            (
                &mut self.connect_us,
                &mut self.longest_connect_us,
                connect_us,
            ),
            (
                &mut self.duration_us,
                &mut self.longest_duration_us,
                duration_us,
            ),
        ] {
            if let Some(us) = us {
                *longest = us.max(*longest);
                // It grows to any 64-bit number; only `saturating_record` would not let it.
                let _ = histogram.record(us);
            }
        }
        for (state, us) in us_in_state.iter() {
            if let Some(sum) = self.us_in_state.get_mut(usize::from(state.0)) {
                *sum = sum.saturating_add(us);
            }
        }
    }
}

/// Two significant digits; it grows with what it holds.
#[expect(
    clippy::expect_used,
    reason = "two digits are within the library's bounds, 0 to 5"
)]
fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new(2).expect("two digits");
    histogram.auto(true);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_has_its_place() {
        let mut latency = Latency::default();
        let times = [0, 3, 2_000, 90_000_000, u64::MAX];
        for us in times {
            latency.add(Some(us), None, &UsInState::default());
        }
        let histogram = &latency.connect_us;
        assert_eq!((histogram.len(), histogram.min()), (5, 0));
        let median = histogram.value_at_quantile(0.5);
        assert!(histogram.equivalent(median, 2_000), "{median}");
        assert!(
            histogram.equivalent(histogram.max(), u64::MAX),
            "{}",
            histogram.max()
        );
    }
}

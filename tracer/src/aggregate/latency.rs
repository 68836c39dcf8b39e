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
    us_in_state: [u64; state::COUNT],
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            connect_us: histogram(),
            duration_us: histogram(),
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

    pub(super) fn add(
        &mut self,
        connect_us: Option<u64>,
        duration_us: Option<u64>,
        us_in_state: &UsInState,
    ) {
        if let Some(us) = connect_us {
            self.connect_us.saturating_record(us);
        }
        if let Some(us) = duration_us {
            self.duration_us.saturating_record(us);
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

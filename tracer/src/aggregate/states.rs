//! Sockets in each state over time, from the state changes.

use std::collections::BTreeMap;

use tracer_common::tcp::state;

use crate::{
    event::{Detail, Event, State},
    time::Time,
};

/// Buckets that are kept; when there are more, they become twice as wide.
const BUCKETS: usize = 3_600;

/// States that are counted, in the order of a connection's life. CLOSE is where every socket is before
/// and after, and nobody tells when one leaves the time-wait table.
pub const COUNTED: [State; 8] = [
    State(state::SYN_SENT),
    State(state::SYN_RECV),
    State(state::ESTABLISHED),
    State(state::FIN_WAIT1),
    State(state::FIN_WAIT2),
    State(state::CLOSE_WAIT),
    State(state::CLOSING),
    State(state::LAST_ACK),
];

/// Sockets that entered each state less those that left it, by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct States {
    width: u64,
    changes: BTreeMap<u64, [i64; state::COUNT]>,
}

impl Default for States {
    fn default() -> Self {
        Self {
            width: 1,
            changes: BTreeMap::new(),
        }
    }
}

impl States {
    /// Whether the trace has any state change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Sockets in a state at the end of each bucket in which any changed: the second since 1970 in which
    /// the bucket begins, and the number. Sockets that were there before the trace are counted as far as
    /// they were seen to leave the state.
    #[must_use]
    pub fn sockets(&self, state: State) -> Vec<(u64, u64)> {
        let mut sum = 0_i64;
        let sums: Vec<(u64, i64)> = self
            .changes
            .iter()
            .map(|(second, changes)| {
                sum += changes.get(usize::from(state.0)).copied().unwrap_or(0);
                (*second, sum)
            })
            .collect();
        let before = sums.iter().map(|(_, sum)| -sum).max().unwrap_or(0).max(0);
        sums.into_iter()
            .map(|(second, sum)| (second, u64::try_from(sum + before).unwrap_or(0)))
            .collect()
    }

    pub(super) fn add(&mut self, event: &Event) {
        let Detail::State { old, new, .. } = event.detail else {
            return;
        };
        let changes = self.changes.entry(self.bucket(event.ts)).or_default();
        for (state, change) in [(old, -1), (new, 1)] {
            if let Some(sum) = changes.get_mut(usize::from(state.0)) {
                *sum += change;
            }
        }
        if self.changes.len() > BUCKETS {
            self.widen();
        }
    }

    const fn bucket(&self, ts: Time) -> u64 {
        ts.second() - ts.second() % self.width
    }

    fn widen(&mut self) {
        self.width *= 2;
        for (second, changes) in std::mem::take(&mut self.changes) {
            let bucket = self
                .changes
                .entry(second - second % self.width)
                .or_default();
            for (sum, change) in bucket.iter_mut().zip(changes) {
                *sum += change;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTABLISHED: State = State(state::ESTABLISHED);

    fn change(states: &mut States, second: u64, old: u8, new: u8) {
        let detail = Detail::State {
            old: State(old),
            new: State(new),
            in_old_us: None,
        };
        states.add(&Event::nobody(Time(second * 1_000_000_000), None, detail));
    }

    #[test]
    fn sockets_of_before_the_trace_are_counted_when_they_leave() {
        let mut states = States::default();
        change(&mut states, 10, state::ESTABLISHED, state::CLOSE);
        change(&mut states, 11, state::SYN_SENT, state::ESTABLISHED);
        change(&mut states, 11, state::SYN_SENT, state::ESTABLISHED);
        change(&mut states, 12, state::ESTABLISHED, state::FIN_WAIT1);
        assert_eq!(states.sockets(ESTABLISHED), [(10, 0), (11, 2), (12, 1)]);
        change(&mut states, 13, state::ESTABLISHED, state::CLOSE);
        change(&mut states, 13, state::ESTABLISHED, state::CLOSE);
        assert_eq!(
            states.sockets(ESTABLISHED),
            [(10, 1), (11, 3), (12, 2), (13, 0)],
            "one more was there before"
        );
    }

    #[test]
    fn a_long_trace_ends_with_the_same_number() {
        let mut states = States::default();
        for second in 0..10_000 {
            change(&mut states, second, state::SYN_SENT, state::ESTABLISHED);
        }
        let sockets = states.sockets(ESTABLISHED);
        assert!(sockets.len() <= BUCKETS);
        assert_eq!(sockets.last(), Some(&(9_996, 10_000)));
    }
}

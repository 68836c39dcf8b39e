//! How many events come in a second.

use super::{
    SECOND,
    recent::{Recent, Tally},
};
use crate::time::Time;

/// Events of the last minute. Those of a second are counted alone and added when it is over: this runs
/// for every event.
#[derive(Debug, Default)]
pub(super) struct Pace {
    recent: Recent,
    /// The second that is counted, from the trace's start, and when it begins.
    second: u64,
    begins: Option<Time>,
    events: u32,
}

impl Pace {
    /// Counts an event of a trace that began at `started`.
    pub(super) fn add(&mut self, ts: Time, started: Time) {
        // Also when time goes back.
        let is_within = |begins: Time| ts.0.wrapping_sub(begins.0) < SECOND;
        if !self.begins.is_some_and(is_within) {
            self.settle();
            let second = ts.since(started) / SECOND;
            self.second = second + 1;
            self.begins = Some(Time(started.0 + second * SECOND));
        }
        self.events = self.events.saturating_add(1);
    }

    /// Adds what was counted to the last minute.
    pub(super) fn settle(&mut self) {
        let events = std::mem::take(&mut self.events);
        if events > 0 {
            let tally = Tally {
                events,
                ..Tally::default()
            };
            self.recent.add(self.second, &tally);
        }
    }

    /// The last minute, as far as it was settled.
    #[must_use]
    pub(super) const fn recent(&self) -> &Recent {
        &self.recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_in_their_second() {
        let mut pace = Pace::default();
        let started = 7 * SECOND + 5;
        // The third goes back, the last is before the start.
        for after in [0, SECOND - 1, SECOND, 2, 3 * SECOND] {
            pace.add(Time(started + after), Time(started));
        }
        pace.add(Time(started - 1), Time(started));
        pace.settle();
        let minute = pace.recent().minute(4, |tally| tally.events.into());
        assert_eq!(minute[56..], [4, 1, 0, 1]);
    }
}

//! Events over time.

use std::collections::BTreeMap;

use crate::event::{Detail, Direction, Event};

/// Buckets that are kept; when there are more, they become twice as wide.
const BUCKETS: usize = 3_600;

/// Counts in buckets of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    width: u64,
    buckets: BTreeMap<u64, Counts>,
}

/// What happened in a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of any kind.
    pub events: u32,
    /// Connections that ended.
    pub connections: u32,
    /// Connects that failed.
    pub connect_failed: u32,
    /// Segments sent again.
    pub retransmit_segs: u32,
    /// Resets sent.
    pub resets_sent: u32,
    /// Resets received.
    pub resets_received: u32,
    /// Time-wait overflows.
    pub time_wait_overflow: u32,
    /// Calls that found no descriptor.
    pub fd_exhausted: u32,
}

impl Counts {
    /// Everything but plain connections.
    #[must_use]
    pub const fn trouble(&self) -> u64 {
        self.connect_failed as u64
            + self.retransmit_segs as u64
            + self.resets_sent as u64
            + self.resets_received as u64
            + self.time_wait_overflow as u64
            + self.fd_exhausted as u64
    }

    const fn plus(&mut self, more: &Self) {
        self.events = self.events.saturating_add(more.events);
        self.connections = self.connections.saturating_add(more.connections);
        self.connect_failed = self.connect_failed.saturating_add(more.connect_failed);
        self.retransmit_segs = self.retransmit_segs.saturating_add(more.retransmit_segs);
        self.resets_sent = self.resets_sent.saturating_add(more.resets_sent);
        self.resets_received = self.resets_received.saturating_add(more.resets_received);
        self.time_wait_overflow = self
            .time_wait_overflow
            .saturating_add(more.time_wait_overflow);
        self.fd_exhausted = self.fd_exhausted.saturating_add(more.fd_exhausted);
    }
}

impl Default for Series {
    fn default() -> Self {
        Self {
            width: 1,
            buckets: BTreeMap::new(),
        }
    }
}

impl Series {
    /// Seconds of a bucket.
    #[must_use]
    pub const fn width(&self) -> u64 {
        self.width
    }

    /// Buckets in which anything happened: the second since 1970 in which one begins, and its counts.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Counts)> {
        self.buckets
            .iter()
            .map(|(second, counts)| (*second, counts))
    }

    /// What happened in the `seconds` before and including `last`.
    #[must_use]
    pub fn recent(&self, last: u64, seconds: u64) -> Counts {
        let mut sum = Counts::default();
        let from = (last + 1).saturating_sub(seconds);
        let from = from - from % self.width;
        for (_, counts) in self.buckets.range(from..=last) {
            sum.plus(counts);
        }
        sum
    }

    pub(super) fn add(&mut self, event: &Event) {
        let mut more = Counts {
            events: 1,
            ..Counts::default()
        };
        let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        match event.detail {
            Detail::Connection { .. } => more.connections = 1,
            Detail::ConnectFailed { .. } => more.connect_failed = 1,
            Detail::Retransmit { segs, .. } => more.retransmit_segs = segs,
            Detail::Reset { direction, .. } => match direction {
                Direction::Sent => more.resets_sent = 1,
                Direction::Received => more.resets_received = 1,
            },
            Detail::TimeWaitOverflow { count, .. } => more.time_wait_overflow = clamp(count),
            Detail::FdExhausted { count, .. } => more.fd_exhausted = clamp(count),
            Detail::State { .. } | Detail::Lost { .. } => {}
        }
        let second = event.ts.second();
        let bucket = second - second % self.width;
        self.buckets.entry(bucket).or_default().plus(&more);
        if self.buckets.len() > BUCKETS {
            self.widen();
        }
    }

    /// Adds another's.
    pub(super) fn merge(&mut self, other: &Self) {
        while self.width < other.width {
            self.widen();
        }
        for (second, counts) in &other.buckets {
            let bucket = second - second % self.width;
            self.buckets.entry(bucket).or_default().plus(counts);
        }
        while self.buckets.len() > BUCKETS {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.width *= 2;
        let narrow = std::mem::take(&mut self.buckets);
        for (second, counts) in narrow {
            let bucket = second - second % self.width;
            self.buckets.entry(bucket).or_default().plus(&counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    #[test]
    fn a_long_trace_has_wider_buckets_and_the_same_sum() {
        let mut series = Series::default();
        let seconds = 10_000;
        for second in 0..seconds {
            let detail = Detail::TimeWaitOverflow {
                tw_count: None,
                tw_max: None,
                inferred: true,
                count: 2,
            };
            series.add(&Event::nobody(Time(second * 1_000_000_000), None, detail));
        }
        assert!(series.iter().count() <= BUCKETS);
        assert_eq!(series.width(), 4);
        let sum: u64 = series
            .iter()
            .map(|(_, counts)| u64::from(counts.time_wait_overflow))
            .sum();
        assert_eq!(sum, 2 * seconds);
        assert_eq!(series.recent(seconds, 8).time_wait_overflow, 16);
    }
}

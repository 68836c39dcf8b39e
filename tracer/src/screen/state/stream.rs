//! The newest events.

use std::collections::VecDeque;

use crate::event::Event;

/// Events that are kept: what one may scroll back over.
const KEPT: usize = 10_000;

/// The newest events, and those that were the newest when it was paused.
#[derive(Debug, Default)]
pub struct Stream {
    events: VecDeque<Event>,
    paused: Option<VecDeque<Event>>,
    since_pause: u64,
}

impl Stream {
    /// Takes an event; the oldest makes room for it.
    pub fn push(&mut self, event: &Event) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        if self.paused.is_some() {
            self.since_pause += 1;
        }
    }

    /// Holds what is shown, or lets it go on.
    pub fn toggle_pause(&mut self) {
        self.paused = match self.paused {
            Some(_) => None,
            None => Some(self.events.clone()),
        };
        self.since_pause = 0;
    }

    /// Events that came since it was paused; `None` while it runs.
    #[must_use]
    pub fn paused(&self) -> Option<u64> {
        self.paused.as_ref().map(|_| self.since_pause)
    }

    /// What is shown, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Event> {
        self.paused.as_ref().unwrap_or(&self.events).iter().rev()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Detail, time::Time};

    fn event(ts: u64) -> Event {
        let detail = Detail::TimeWaitOverflow {
            tw_count: None,
            tw_max: None,
            inferred: false,
            count: 1,
        };
        Event::nobody(Time(ts), None, detail)
    }

    #[test]
    fn a_paused_stream_stays_whatever_comes() {
        let mut stream = Stream::default();
        stream.push(&event(1));
        stream.toggle_pause();
        for ts in 2..=2 * KEPT as u64 {
            stream.push(&event(ts));
        }
        assert_eq!(stream.paused(), Some(2 * KEPT as u64 - 1));
        let shown: Vec<_> = stream.newest().map(|event| event.ts.0).collect();
        assert_eq!(shown, [1]);
        stream.toggle_pause();
        assert_eq!(stream.newest().count(), KEPT);
        assert_eq!(stream.newest().next().unwrap().ts.0, 2 * KEPT as u64);
    }
}

//! The newest events.
//!
//! Nobody reads half a million lines a second. Of a flood only as much is kept as can be looked at, and the
//! rest is counted: each kind has a quota for each moment of the trace, so that plain connections do not
//! push out what is wrong, and what the view hides does not push out what it shows.

use std::collections::VecDeque;

use super::view::Kinds;
use crate::{event::Event, time::Time};

/// Events that are kept: what one may scroll back over.
const KEPT: usize = 10_000;
/// A quota is for this long, about the time between two frames, ns.
const MOMENT: u64 = 200_000_000;
/// Events of one kind that are kept of a moment, of those that are shown and of those that are hidden.
const QUOTA: u16 = 500;

/// The newest events, and those that were the newest when it was paused.
#[derive(Debug, Default)]
pub struct Stream {
    events: Newest,
    paused: Option<Newest>,
    since_pause: u64,
    moment: Time,
    /// Of this moment, by the kind's place and whether it is shown.
    kept: [[u16; 2]; Kinds::NAMES.len()],
}

/// Events in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Newest {
    kept: VecDeque<Kept>,
    /// Events that came after the oldest of these, would be shown, and were not kept.
    left_out: u64,
    /// Of those, the ones that came after the newest.
    pending: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    event: Event,
    is_shown: bool,
    /// Events that were left out just before it.
    left_out: u64,
}

impl Newest {
    fn push(&mut self, event: &Event, is_shown: bool) {
        if self.kept.len() == KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.left_out -= oldest.left_out;
        }
        self.kept.push_back(Kept {
            event: event.clone(),
            is_shown,
            left_out: std::mem::take(&mut self.pending),
        });
    }
}

impl Stream {
    /// Takes an event, and whether the view shows it; the oldest makes room for it. Beyond its kind's quota
    /// it is counted only.
    pub fn push(&mut self, event: &Event, is_shown: bool) {
        if self.paused.is_some() {
            self.since_pause += 1;
        }
        // Also when time goes back.
        if event.ts.0.wrapping_sub(self.moment.0) >= MOMENT {
            self.moment = event.ts;
            self.kept = Default::default();
        }
        let kept = &mut self.kept[Kinds::place(&event.detail)][usize::from(is_shown)];
        if *kept < QUOTA {
            *kept += 1;
            self.events.push(event, is_shown);
        } else if is_shown {
            self.events.left_out += 1;
            self.events.pending += 1;
        }
    }

    /// Judges anew which events are shown.
    pub fn judge(&mut self, is_shown: impl Fn(&Event) -> bool) {
        let paused = self.paused.iter_mut().flat_map(|paused| &mut paused.kept);
        for kept in self.events.kept.iter_mut().chain(paused) {
            kept.is_shown = is_shown(&kept.event);
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

    fn seen(&self) -> &Newest {
        self.paused.as_ref().unwrap_or(&self.events)
    }

    /// What is shown, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Event> {
        let kept = self.seen().kept.iter().rev();
        kept.filter(|kept| kept.is_shown).map(|kept| &kept.event)
    }

    /// Events that belong between these, and came too fast to be kept.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.seen().left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Detail, Direction};

    fn event(ts: u64) -> Event {
        let detail = Detail::TimeWaitOverflow {
            tw_count: None,
            tw_max: None,
            inferred: false,
            count: 1,
        };
        Event::nobody(Time(ts), None, detail)
    }

    fn reset(ts: u64) -> Event {
        let detail = Detail::Reset {
            direction: Direction::Sent,
            reason: None,
        };
        Event::nobody(Time(ts), None, detail)
    }

    #[test]
    fn a_paused_stream_stays_whatever_comes() {
        let mut stream = Stream::default();
        stream.push(&event(1), true);
        stream.toggle_pause();
        for ts in 2..=2 * KEPT as u64 {
            stream.push(&event(ts * MOMENT), true);
        }
        assert_eq!(stream.paused(), Some(2 * KEPT as u64 - 1));
        let shown: Vec<_> = stream.newest().map(|event| event.ts.0).collect();
        assert_eq!(shown, [1]);
        stream.toggle_pause();
        assert_eq!(stream.newest().count(), KEPT);
        let newest = stream.newest().next().unwrap();
        assert_eq!(newest.ts.0, 2 * KEPT as u64 * MOMENT);
    }

    #[test]
    fn of_a_flood_a_part_is_kept_and_the_rest_is_counted() {
        let mut stream = Stream::default();
        let flood = 50 * u64::from(QUOTA);
        for ts in 0..flood {
            stream.push(&event(ts), true);
        }
        // What is rare is seen beside it.
        stream.push(&reset(flood), true);
        assert_eq!(stream.newest().count(), usize::from(QUOTA) + 1);
        assert_eq!(stream.newest().next(), Some(&reset(flood)));
        assert_eq!(stream.left_out(), flood - u64::from(QUOTA));
        // The next moment has its own quota, and time that goes back is another moment.
        for ts in [flood + MOMENT, 7] {
            stream.push(&event(ts), true);
            assert_eq!(stream.newest().next(), Some(&event(ts)));
        }
        // A gap is forgotten with the event behind it.
        let mut ts = flood + MOMENT;
        let mut push = |stream: &mut Stream| {
            ts += MOMENT;
            stream.push(&event(ts), true);
        };
        for _ in 3..KEPT {
            push(&mut stream);
        }
        assert!(stream.left_out() > 0);
        push(&mut stream);
        assert_eq!(stream.left_out(), 0);
    }

    #[test]
    fn what_is_hidden_does_not_push_out_what_is_shown() {
        let mut stream = Stream::default();
        for ts in 0..50 * u64::from(QUOTA) {
            stream.push(&event(ts), false);
        }
        stream.push(&event(7), true);
        assert_eq!(stream.newest().count(), 1);
        assert_eq!(stream.left_out(), 0);
        stream.judge(|_| true);
        assert_eq!(stream.newest().count(), usize::from(QUOTA) + 1);
    }
}

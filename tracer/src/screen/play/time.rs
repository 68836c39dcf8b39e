//! A recorded trace's time: from when to when it is, and when its things come here.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    event::Event,
    screen::state::{Player, Speed},
    sink::Sink,
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// A trace's first and last instant.
#[derive(Debug, Default)]
pub(super) struct Span {
    pub(super) first: Option<Time>,
    pub(super) last: Time,
}

impl Span {
    fn note(&mut self, ts: Time) -> io::Result<()> {
        self.first = Some(self.first.map_or(ts, |first| first.min(ts)));
        self.last = self.last.max(ts);
        Ok(())
    }
}

impl Sink for Span {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.note(start.ts)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.note(event.ts)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.note(sums.ts)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.note(end.ts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// When things of a recorded trace come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// An instant of the trace, and when that was here.
    pub(super) trace: Time,
    pub(super) here: Instant,
}

impl Clock {
    /// When an instant of the trace comes; `None` while time stands.
    pub(super) fn due(&self, ts: Time, player: &Player) -> Option<Instant> {
        if player.is_paused {
            return None;
        }
        let ahead = match player.speed {
            Speed::Real => ts.since(self.trace),
            Speed::Ten => ts.since(self.trace) / 10,
            Speed::Max => 0,
        };
        Some(self.here + Duration::from_nanos(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_as_fast_as_was_asked_or_stands() {
        let here = Instant::now();
        let clock = Clock {
            trace: Time(1_000_000_000),
            here,
        };
        let mut player = Player {
            first: Time(0),
            last: Time(0),
            speed: Speed::Real,
            is_paused: false,
        };
        let ts = Time(6_000_000_000);
        let seconds = |seconds| Some(here + Duration::from_secs_f64(seconds));
        assert_eq!(clock.due(ts, &player), seconds(5.0));
        player.speed = Speed::Ten;
        assert_eq!(clock.due(ts, &player), seconds(0.5));
        player.speed = Speed::Max;
        assert_eq!(clock.due(ts, &player), seconds(0.0));
        player.is_paused = true;
        assert_eq!(clock.due(ts, &player), None);
    }
}

//! A recorded trace at the speed at which it happened, or a multiple of it.

use std::{
    io,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use super::Sink;
use crate::{
    event::Event,
    fact::Fact,
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// How fast a trace is fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it can be read.
    Max,
    /// So many times as fast as it happened.
    Times(f64),
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ if text == "max" => Ok(Self::Max),
            _ => Err("not a speed; write 1 for as it happened, 10 for ten times as fast, or max"),
        }
    }
}

impl Speed {
    /// How long so many ns of a trace take.
    fn takes(self, ns: u64) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            Self::Times(times) => {
                Duration::try_from_secs_f64(ns as f64 / 1e9 / times).unwrap_or(Duration::MAX)
            }
        }
    }
}

/// Waits before it feeds what happened later.
pub struct Paced<'a> {
    sink: &'a mut dyn Sink,
    speed: Speed,
    /// When the trace began, and when feeding it did.
    begun: Option<(Time, Instant)>,
}

impl<'a> Paced<'a> {
    /// Feeds `sink`.
    pub const fn new(sink: &'a mut dyn Sink, speed: Speed) -> Self {
        Self {
            sink,
            speed,
            begun: None,
        }
    }

    fn wait(&mut self, ts: Time) -> io::Result<()> {
        if self.speed == Speed::Max {
            return Ok(());
        }
        let (first, begun) = *self.begun.get_or_insert_with(|| (ts, Instant::now()));
        let at = self.speed.takes(ts.since(first));
        let left = at.saturating_sub(begun.elapsed());
        if !left.is_zero() {
            self.sink.flush()?;
            thread::sleep(left);
        }
        Ok(())
    }
}

impl Sink for Paced<'_> {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.wait(start.ts)?;
        self.sink.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.wait(event.ts)?;
        self.sink.event(event)
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.sink.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.wait(sums.ts)?;
        self.sink.sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.wait(end.ts)?;
        self.sink.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("1".parse(), Ok(Speed::Times(1.0)));
        assert_eq!("0.5".parse(), Ok(Speed::Times(0.5)));
        for wrong in ["0", "-1", "inf", "nan", "fast"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
        let second = 1_000_000_000;
        assert_eq!(Speed::Times(0.5).takes(second), Duration::from_secs(2));
        assert_eq!(Speed::Times(1e-19).takes(u64::MAX), Duration::MAX);
    }
}

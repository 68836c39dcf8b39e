//! Feeds a trace to several sinks.

use std::io;

use super::Sink;
use crate::{
    event::Event,
    fact::Fact,
    trace::frame::{End, Start, Sums},
};

/// Each gets everything, in order; the first failure ends it.
pub struct Tee<'a>(pub Vec<&'a mut dyn Sink>);

impl Tee<'_> {
    fn each(&mut self, feed: impl Fn(&mut dyn Sink) -> io::Result<()>) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|sink| feed(*sink))
    }
}

impl Sink for Tee<'_> {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.each(|sink| sink.start(start))
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.each(|sink| sink.event(event))
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.each(|sink| sink.fact(fact))
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.each(|sink| sink.sums(sums))
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.each(|sink| sink.end(end))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.each(|sink| sink.flush())
    }
}

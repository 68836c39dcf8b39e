//! Feeds a sink whose reader may leave, as `head` does, beside others that go on.

use std::io::{self, ErrorKind};

use super::Sink;
use crate::{
    event::Event,
    fact::Fact,
    trace::frame::{End, Start, Sums},
};

/// Feeds a sink until its reader has left, which is no failure.
pub struct Piped<'a> {
    sink: &'a mut dyn Sink,
    /// Whether it has.
    pub has_left: bool,
}

impl<'a> Piped<'a> {
    /// Feeds `sink`.
    pub const fn new(sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            has_left: false,
        }
    }

    fn feed(&mut self, feed: impl FnOnce(&mut dyn Sink) -> io::Result<()>) -> io::Result<()> {
        if self.has_left {
            return Ok(());
        }
        match feed(self.sink) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.has_left = true;
                Ok(())
            }
            result => result,
        }
    }
}

impl Sink for Piped<'_> {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.feed(|sink| sink.start(start))
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.feed(|sink| sink.event(event))
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.feed(|sink| sink.fact(fact))
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.feed(|sink| sink.sums(sums))
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.feed(|sink| sink.end(end))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.feed(|sink| sink.flush())
    }
}

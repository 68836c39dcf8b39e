//! Where events go: a sink per format.

pub mod json;
pub mod lines;
pub mod summary;

pub mod only;
pub mod paced;
pub mod piped;
pub mod tee;

use std::io;

use crate::{
    event::Event,
    fact::Fact,
    trace::frame::{End, Start, Sums},
};

/// Takes a trace from its start to its end, live or recorded.
pub trait Sink {
    /// Everything is attached.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    fn start(&mut self, start: &Start) -> io::Result<()>;

    /// An event happened.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Something was read beside the events.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    fn fact(&mut self, _: &Fact) -> io::Result<()> {
        Ok(())
    }

    /// Sums so far, at least once a second: those rows that have changed.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    fn sums(&mut self, _: &Sums) -> io::Result<()> {
        Ok(())
    }

    /// The trace is over.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    fn end(&mut self, end: &End) -> io::Result<()>;

    /// Nothing more comes for a while.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    fn flush(&mut self) -> io::Result<()>;
}

//! Where events go: a sink per format.

pub mod json;
pub mod lines;
pub mod summary;

use std::io;

use crate::{
    event::Event,
    trace::frame::{End, Start},
};

/// Takes a trace from its start to its end.
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

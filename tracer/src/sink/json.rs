//! One JSON object a line.

use std::io::{self, Write};

use serde::Serialize;

use super::Sink;
use crate::{
    event::Event,
    trace::frame::{End, Start},
};

/// Writes JSON lines.
pub struct Json<W>(pub W);

impl<W: Write> Json<W> {
    fn line(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, object)?;
        self.0.write_all(b"\n")
    }
}

impl<W: Write> Sink for Json<W> {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.line(start)?;
        self.0.flush()
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line(event)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.line(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

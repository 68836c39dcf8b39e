//! One JSON object a line.

use std::io::{self, Write};

use serde::Serialize;

use super::Sink;
use crate::{
    event::Event,
    trace::frame::{End, Start},
};

/// Writes JSON lines.
pub struct Json<W> {
    to: W,
    /// A line under way.
    line: Vec<u8>,
}

impl<W: Write> Json<W> {
    /// Writes to `to`.
    pub const fn new(to: W) -> Self {
        Self {
            to,
            line: Vec::new(),
        }
    }

    fn line(&mut self, object: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, object)?;
        self.line.push(b'\n');
        self.to.write_all(&self.line)
    }
}

impl<W: Write> Sink for Json<W> {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.line(start)?;
        self.to.flush()
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line(event)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.line(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

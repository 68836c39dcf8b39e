//! One JSON object a line, the lines of `watch --format json`.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use crate::{
    error::Result,
    event::Event,
    file::write,
    sink::{Sink, json::Json},
    trace::frame::{End, Start},
};

/// Writes the lines into a file.
pub struct Jsonl(Json<BufWriter<File>>);

impl Jsonl {
    /// Makes the file.
    ///
    /// # Errors
    ///
    /// When it exists and `force` is not given, or can't be made.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let out = BufWriter::with_capacity(64 << 10, write::create(path, force)?);
        Ok(Self(Json::new(out)))
    }
}

impl Sink for Jsonl {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.0.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.0.event(event)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.0.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

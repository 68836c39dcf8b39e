//! One JSON object a line, the lines of `watch --format json`.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use super::Exporter;
use crate::{
    error::Result,
    event::Event,
    file::place::{self, Place},
    sink::{Sink, json::Json},
    trace::frame::{End, Start},
};

/// Writes the lines into a file.
pub struct Jsonl {
    out: Json<BufWriter<File>>,
    place: Place,
}

impl Jsonl {
    /// Makes the file.
    ///
    /// # Errors
    ///
    /// When it exists and `force` is not given, or can't be made.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let (file, place) = place::create(path, force)?;
        let out = Json::new(BufWriter::with_capacity(64 << 10, file));
        Ok(Self { out, place })
    }
}

impl Exporter for Jsonl {
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out
            .flush()
            .map_err(|error| super::failed(self.place.path(), error))?;
        self.place.keep()
    }
}

impl Sink for Jsonl {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.out.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.out.event(event)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.out.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

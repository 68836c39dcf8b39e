//! Where a command's result goes: a file, or stdout.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use anyhow::Context as _;
use serde::Serialize;

use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Output {
    /// Columns of the terminal that it goes to; `None` where it goes elsewhere.
    pub(super) fn width(&self) -> Option<u16> {
        if self.output.is_some() || !io::stdout().is_terminal() {
            return None;
        }
        let (columns, _) = crossterm::terminal::size().ok()?;
        // Some terminals do not say.
        (columns > 0).then_some(columns)
    }

    /// Writes all of it. A new file can be read by its owner only, as it holds addresses.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        match &self.output {
            Some(path) => OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", path.display()))?,
            None => match io::stdout().lock().write_all(text.as_bytes()) {
                // The reader of our output has gone, as `head` does.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                result => result.context("cannot write to stdout")?,
            },
        }
        Ok(())
    }
}

/// A value as JSON for a file.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string(value).context("cannot make JSON")?;
    text.push('\n');
    Ok(text)
}

//! Where a command's result goes: a file, or stdout.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::error::{Error, Result};

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

    /// That it is none of the files that are read for it.
    ///
    /// # Errors
    ///
    /// Names the one that it is.
    pub(super) fn is_apart<'a>(&self, read: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
        match &self.output {
            Some(path) => is_apart(path, read),
            None => Ok(()),
        }
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

/// That what is written to `path` goes into none of the files that are read, by whatever name.
///
/// # Errors
///
/// Names the one that it is.
pub(super) fn is_apart<'a>(path: &Path, read: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
    let id = |path: &Path| {
        fs::metadata(path)
            .ok()
            .map(|found| (found.dev(), found.ino()))
    };
    let Some(written) = id(path) else {
        return Ok(());
    };
    match read.into_iter().find(|path| id(path) == Some(written)) {
        Some(read) => Err(Error::usage(
            format!(
                "{} is {} itself, which is read",
                path.display(),
                read.display()
            ),
            "name another file for what is made of it",
        )),
        None => Ok(()),
    }
}

/// A value as JSON for a file.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string(value).context("cannot make JSON")?;
    text.push('\n');
    Ok(text)
}

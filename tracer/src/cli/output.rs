//! Where a command's result goes: a file, or stdout.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    os::unix::fs::{MetadataExt as _, fchown},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    file::place,
};

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

    /// Writes all of it, or leaves the file as it was. A new one can be read by its owner only, as it holds addresses.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        match &self.output {
            Some(path) => replace(path, text)?,
            None => match io::stdout().lock().write_all(text.as_bytes()) {
                // The reader of our output has gone, as `head` does.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                result => result.context("cannot write to stdout")?,
            },
        }
        Ok(())
    }
}

/// Writes a file that takes its name, and the place of one that is there, once all of it is written.
fn replace(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    // A link stays, and what it points to is replaced.
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&whole).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        // A device or a pipe cannot be replaced.
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .with_context(cannot)?;
        return Ok(file.write_all(text.as_bytes()).with_context(cannot)?);
    }
    let (mut file, place) = place::create(&whole, true)?;
    if let Some(before) = before {
        // Without the right to do so it belongs to who made it.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        file.set_permissions(before.permissions())
            .with_context(cannot)?;
    }
    file.write_all(text.as_bytes()).with_context(cannot)?;
    place.keep()
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

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    /// Whoever reads the file meanwhile has the old one or the new one, never a part.
    #[test]
    fn a_file_is_replaced_at_once_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("r"), folder.path().join("link"));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        replace(&path, "first").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        symlink("r", &link).unwrap();
        let reader = File::open(&path).unwrap();
        replace(&link, "second").unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), "first");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(mode(), 0o644);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_plain_file_is_written_to() {
        replace(Path::new("/dev/null"), "text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let full = replace(Path::new("/dev/full"), "text").unwrap_err();
        assert!(
            full.to_string().contains("cannot write /dev/full"),
            "{full}"
        );
    }
}

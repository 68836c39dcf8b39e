//! A new file takes its name once it is worth it; until then what has that name stays.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use tempfile::TempPath;

use crate::error::{Error, Result};

/// The name that a file is to have. Where the file is not [kept](Self::keep) it is removed.
#[derive(Debug)]
pub(crate) struct Place {
    part: TempPath,
    path: PathBuf,
    force: bool,
}

/// Makes a file that only its owner may read, beside `path` and under another name. Under sudo the file
/// belongs to who called it.
///
/// # Errors
///
/// When `path` exists and `force` is not given, is no file that could be replaced, or nothing can be made
/// beside it.
pub(crate) fn create(path: &Path, force: bool) -> Result<(File, Place)> {
    match fs::symlink_metadata(path) {
        Ok(_) if !force => return Err(exists(path)),
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            return Err(Error::usage(
                format!("{} is not a plain file", path.display()),
                "--force replaces a file; name another",
            ));
        }
        _ => {}
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let make = |part: &Path| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(part)
    };
    // No pattern for traces or data sets finds such a name.
    let (file, part) = tempfile::Builder::new()
        .prefix(".tcptrace-")
        .suffix(".part")
        .make_in(folder, make)
        .map_err(|error| broken(path, &error))?
        .into_parts();
    let id = |name| env::var(name).ok().and_then(|id| id.parse::<u32>().ok());
    if let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID")) {
        // Without the right to do so it belongs to who made it.
        let _ = fchown(&file, Some(uid), Some(gid));
    }
    let path = path.to_owned();
    Ok((file, Place { part, path, force }))
}

impl Place {
    /// The name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name. With `force` it replaces what has that name, a link itself and not what it
    /// points to.
    ///
    /// # Errors
    ///
    /// When somebody else has made a file of that name since, and without `force`.
    pub(crate) fn keep(self) -> Result<()> {
        let kept = match self.force {
            true => self.part.persist(&self.path),
            false => self.part.persist_noclobber(&self.path),
        };
        kept.map_err(|failed| match failed.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path),
            _ => broken(&self.path, &failed.error),
        })
    }
}

fn exists(path: &Path) -> Error {
    Error::usage(
        format!("{} exists", path.display()),
        "name another file, or replace it with --force",
    )
}

pub(super) fn broken(path: &Path, error: &io::Error) -> Error {
    Error::from(anyhow::anyhow!("{}: {error}", path.display()))
}

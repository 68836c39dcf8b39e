//! The Python programs and clients that the tests run, in a virtual environment of their own: `venv` in the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{need::Need, step};
use crate::process;

/// The system's own, since the tests also run it as another user, who may not read this user's.
const PYTHON: &str = "/usr/bin/python3";
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// What makes virtual environments, when it is missing.
pub(super) fn missing() -> Option<Need> {
    let there = Command::new(PYTHON)
        .args(["-c", "import ensurepip, venv"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (!there).then(|| Need {
        packages: &["python3-venv"],
        services: &[],
        by_hand: format!(
            "{PYTHON} with its modules venv and ensurepip (on Debian in python3-venv)"
        ),
    })
}

/// Makes the environment where there is none, or one with other versions.
///
/// # Errors
///
/// When a package cannot be installed.
pub(super) fn ensure() -> Result<()> {
    let release = process::release_dir()?;
    let folder = release.with_file_name("venv");
    // Written last, so an environment that was left half made is made again.
    let made_with = folder.join("requirements.txt");
    if fs::read_to_string(&made_with).ok().as_deref() != Some(REQUIREMENTS) {
        step("python", "installing the packages that the tests run");
        make(&folder)?;
        fs::write(&made_with, REQUIREMENTS)
            .with_context(|| format!("cannot write {}", made_with.display()))?;
    }
    let packages: Vec<_> = REQUIREMENTS.lines().collect();
    step(
        "python",
        &format!("{}, {}", packages.join(" "), folder.display()),
    );
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    process::run(
        Command::new(PYTHON)
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )?;
    let pip: PathBuf = folder.join("bin/pip");
    process::run(
        Command::new(pip)
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(REQUIREMENTS.lines()),
    )
}

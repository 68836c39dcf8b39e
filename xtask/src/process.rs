//! Child processes: cargo, and what has to run as root.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{setup::ebpf_toolchain::find_program, workspace};

/// The cargo that runs this program, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace());
    command
}

/// Runs the command to its end. What it prints goes to stderr: stdout belongs to tcptrace.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the error shows the whole command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .stdout(Stdio::from(io::stderr()))
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words: Vec<_> = program
        .file_name()
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

/// The program, run through sudo when this user is not root.
///
/// # Errors
///
/// When this user is not root and there is no sudo.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    let Some(sudo) = sudo()? else {
        return Ok(Command::new(program));
    };
    let mut command = Command::new(sudo);
    command.arg("--").arg(program);
    Ok(command)
}

/// What to put before a command so that it runs as root; `None` when this user is root.
///
/// # Errors
///
/// When this user is not root and there is no sudo.
pub(crate) fn sudo() -> Result<Option<PathBuf>> {
    if is_root()? {
        return Ok(None);
    }
    find_program("sudo")
        .map(Some)
        .context("this needs root, and there is no sudo; run the same command as root")
}

fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("-u")
        .output()
        .context("cannot run `id -u`")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Where this build of the workspace puts its release binaries, whatever the target folder is.
///
/// # Errors
///
/// When the path of this program cannot be read.
pub(crate) fn release_dir() -> Result<PathBuf> {
    let xtask = std::env::current_exe().context("cannot find the path of xtask itself")?;
    let target = xtask.parent().and_then(|debug| debug.parent());
    Ok(target
        .context("xtask lies outside a target folder")?
        .join("release"))
}

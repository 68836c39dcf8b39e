//! Programs whose output is read.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::shown;

/// Runs the command and returns what it printed.
///
/// # Errors
///
/// When it cannot be started, does not succeed (the error holds what it said) or prints something other than text.
pub(super) fn stdout(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .output()
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{shown}` printed something other than text"))
}

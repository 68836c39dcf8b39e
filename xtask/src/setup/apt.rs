//! Debian packages.

use std::{io, process::Stdio};

use anyhow::{Context as _, Result, bail};

use super::{
    ebpf_toolchain::find_program,
    need::{self, Need},
    step,
};
use crate::process;

const SCRIPT: &str = include_str!("apt.sh");

/// Installs what `needs` names.
///
/// # Errors
///
/// When there is no apt-get, or it fails; the error says what to install by hand.
pub(super) fn install(needs: &[Need]) -> Result<()> {
    let by_hand = need::by_hand(needs);
    if find_program("apt-get").is_none() {
        bail!(
            "some things are missing and there is no apt-get to install them; install:\n{by_hand}"
        );
    }
    let packages = need::packages(needs);
    let services: Vec<_> = needs
        .iter()
        .flat_map(|need| need.services)
        .copied()
        .collect();
    step("packages", &format!("installing {}", packages.join(" ")));
    // The script is an argument, so that sudo need not keep the environment.
    let status = process::as_root("sh")?
        .args(["-c", SCRIPT, "apt.sh", &services.join(" ")])
        .args(&packages)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .context("cannot run sh as root")?;
    if !status.success() {
        bail!(
            "apt-get could not install {} (its messages are above); \
             install them, or else:\n{by_hand}",
            packages.join(" ")
        );
    }
    Ok(())
}

//! QEMU: the machine's own, else Debian's, unpacked below the target folder. It is not installed, for that can mean that other
//! packages of QEMU's have to go.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{apt, command::stdout};
use crate::{
    process::{as_root, run},
    setup::ebpf_toolchain::find_program,
};

const QEMU: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// Where Debian's packages put libraries.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
/// And QEMU its parts.
const MODULES: &str = "usr/lib/x86_64-linux-gnu/qemu";
/// Where they put firmware.
const FIRMWARE: &[&str] = &["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// QEMU, ready to run.
pub(super) struct Emulator {
    /// Where it is unpacked; `None` where the machine has it.
    unpacked: Option<PathBuf>,
}

impl Emulator {
    /// Finds it, or fetches and unpacks it below `folder`.
    ///
    /// # Errors
    ///
    /// When it is not there and this is no Debian machine, or the packages can't be had.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        if find_program(QEMU).is_some() {
            return Ok(Self { unpacked: None });
        }
        let root = folder.join("qemu");
        if !root.is_dir() {
            unpack(folder, &root).context("getting QEMU: install qemu-system-x86_64")?;
        }
        Ok(Self {
            unpacked: Some(root),
        })
    }

    /// The command, without arguments.
    pub(super) fn command(&self) -> Command {
        let Some(root) = &self.unpacked else {
            return Command::new(QEMU);
        };
        let libraries = LIBRARIES.map(|folder| root.join(folder).display().to_string());
        let mut command = Command::new(root.join("usr/bin").join(QEMU));
        command.env("QEMU_MODULE_DIR", root.join(MODULES));
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        for firmware in FIRMWARE {
            command.arg("-L").arg(root.join(firmware));
        }
        command
    }
}

/// Fetches the package and all that it needs and the machine has not, and unpacks them into `root`.
fn unpack(folder: &Path, root: &Path) -> Result<()> {
    eprintln!(
        "QEMU is not installed: unpacking Debian's into {}",
        root.display()
    );
    run(as_root("apt-get")?.args(["-qq", "update"]))?;
    let plan = stdout(Command::new("apt-get").args([
        "install",
        "--simulate",
        "--no-install-recommends",
        PACKAGE,
    ]))?;
    let downloads = folder.join("qemu-packages");
    fs::create_dir_all(&downloads)
        .with_context(|| format!("making the folder {}", downloads.display()))?;
    run(Command::new("apt-get")
        // The folder is not apt's own user's.
        .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
        .args(to_install(&plan))
        .current_dir(&downloads))?;
    // What is unpacked in part is not taken for whole.
    let partial = folder.join("qemu-partial");
    for package in apt::packages_in(&downloads)? {
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(&package)
            .arg(&partial))?;
    }
    fs::rename(&partial, root).with_context(|| format!("making {}", root.display()))?;
    fs::remove_dir_all(&downloads).with_context(|| format!("removing {}", downloads.display()))
}

/// The packages that apt would install.
fn to_install(plan: &str) -> Vec<&str> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split(' ').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_removed_is_not_fetched() {
        let plan = "Remv qemu-utils [1:10.0.2]\nInst seabios (1.16.2-1 Debian:12.15/oldstable [all])\n\
            Inst qemu-system-x86 (1:7.2 Debian:12.15/oldstable [amd64])\nConf seabios (1.16.2-1)\n";
        assert_eq!(to_install(plan), ["seabios", "qemu-system-x86"]);
    }
}

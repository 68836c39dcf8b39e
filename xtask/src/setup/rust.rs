//! The Rust that builds the kernel programs.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    ebpf_toolchain::{LINKED, Rust, SYSTEM_SYSROOT, TARGET, find_program, has_core},
    need::Need,
    step,
};
use crate::process;

/// Debian's Rust for browsers and kernels: new enough, and with `core` for eBPF.
const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

pub(super) fn missing() -> Option<Need> {
    let there = Rust::find().is_some() || has_core(Path::new(SYSTEM_SYSROOT));
    (!there).then(|| Need {
        packages: PACKAGES,
        services: &[],
        by_hand: format!(
            "a Rust that builds for {TARGET}, either a nightly that compiles `core` itself:\n      \
             rustup toolchain install nightly --component rust-src\n    \
             or any Rust from 1.95 on that has `core` for {TARGET} compiled, in the folder DIR:\n      \
             rustup toolchain link {LINKED} DIR"
        ),
    })
}

/// Makes a Rust that is on the machine known to rustup, and says which Rust is used.
pub(super) fn ensure() -> Result<()> {
    if Rust::find().is_none()
        && let Some(rustup) = find_program("rustup")
    {
        step("rust", "naming the system's Rust as a toolchain of rustup");
        process::run(Command::new(rustup).args(["toolchain", "link", LINKED, SYSTEM_SYSROOT]))?;
    }
    let rust = Rust::find().with_context(|| {
        format!(
            "the Rust in {SYSTEM_SYSROOT} does not build for {TARGET}, though it has its `core`"
        )
    })?;
    step("rust", &rust.to_string());
    Ok(())
}

/// clippy for the kernel programs, where Debian's Rust builds them; another Rust may go without.
pub(super) fn missing_clippy() -> Option<Need> {
    let system = Path::new(SYSTEM_SYSROOT);
    let builds = match Rust::find() {
        Some(Rust::Linked { sysroot } | Rust::System { sysroot }) => sysroot == system,
        Some(Rust::Nightly) => false,
        None => true,
    };
    let there = system.join("bin/cargo-clippy").is_file();
    (builds && !there && find_program("apt-get").is_some()).then(|| Need {
        packages: &["rust-web-clippy"],
        services: &[],
        by_hand: format!("clippy for the Rust in {SYSTEM_SYSROOT}"),
    })
}

//! `bpf-linker`, which turns LLVM bitcode into the eBPF object.

use std::{env, ffi::OsString, path::Path};

use anyhow::{Context as _, Result};

use super::{
    ebpf_toolchain::{LINKER_VERSION, find_linker},
    need::Need,
    step,
};
use crate::process;

/// The LLVM that it is built with: one that reads the bitcode of the Rust in use.
const LLVM: &str = "llvm-22";
const LLVM_PACKAGES: &[&str] = &["llvm-22-dev"];
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// LLVM, when it is needed to build bpf-linker.
pub(super) fn missing() -> Option<Need> {
    let there = find_linker().is_some() || llvm_prefix().is_some();
    (!there).then(|| Need {
        packages: LLVM_PACKAGES,
        services: &[],
        by_hand: format!(
            "bpf-linker {LINKER_VERSION}, with the development files of LLVM 22 in the folder DIR:\n      \
             LLVM_PREFIX=DIR cargo {}",
            install_arguments().join(" ")
        ),
    })
}

fn llvm_prefix() -> Option<OsString> {
    let system = Path::new(LLVM_PREFIX).join("lib/libLLVM.so");
    env::var_os("LLVM_PREFIX").or_else(|| system.exists().then(|| LLVM_PREFIX.into()))
}

fn install_arguments() -> [&'static str; 9] {
    [
        "install",
        "bpf-linker",
        "--locked",
        "--version",
        LINKER_VERSION,
        "--no-default-features",
        "--features",
        LLVM,
        // Replaces one that is too old or does not start.
        "--force",
    ]
}

/// Builds bpf-linker where there is none or an old one.
pub(super) fn ensure() -> Result<()> {
    if find_linker().is_none() {
        step("bpf-linker", "building it, which takes a minute or two");
        let prefix =
            llvm_prefix().context("LLVM 22 was installed, but is not where it should be")?;
        process::run(
            process::cargo()
                .args(install_arguments())
                .env("LLVM_PREFIX", prefix),
        )?;
    }
    let (path, version) = find_linker().context(
        "bpf-linker was installed where it is not found; add the `bin` folder that cargo named to PATH",
    )?;
    step("bpf-linker", &format!("{version}, {}", path.display()));
    Ok(())
}

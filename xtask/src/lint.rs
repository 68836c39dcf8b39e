//! `cargo xtask lint`: rustfmt and clippy, on both sides of the system call.

use std::process::Command;

use anyhow::Result;

use crate::{
    process,
    setup::{
        self, Scope,
        ebpf_toolchain::{LINKED, Rust, TARGET, UNSTABLE_CRATES, find_program},
    },
    workspace,
};

pub(crate) fn run() -> Result<()> {
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    setup::ensure(Scope::Lint)?;
    let deny_warnings = ["--", "--deny", "warnings"];
    process::run(
        process::cargo()
            .args(["clippy", "--all-targets"])
            .args(deny_warnings),
    )?;
    kernel_side(&deny_warnings)
}

/// The kernel programs, with the Rust that builds them: only it has `core` for their target.
fn kernel_side(deny_warnings: &[&str]) -> Result<()> {
    let Some(rust) = Rust::find() else {
        return Ok(());
    };
    let cargo = || match &rust {
        Rust::Linked { .. } => through_rustup(LINKED),
        Rust::Nightly => through_rustup("nightly"),
        Rust::System { sysroot } => Command::new(sysroot.join("bin/cargo")),
    };
    let has_clippy = cargo().args(["clippy", "--version"]).output();
    if !has_clippy.is_ok_and(|output| output.status.success()) {
        eprintln!("the Rust that builds the eBPF side has no clippy: tracer-ebpf is not linted");
        return Ok(());
    }

    let mut command = cargo();
    command
        .current_dir(workspace())
        .args(["clippy", "--release", "--package", "tracer-ebpf"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(process::release_dir()?.with_file_name("lint-ebpf"));
    if matches!(rust, Rust::Nightly) {
        command.args(["-Z", "build-std=core"]);
    } else {
        command.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES);
    }
    process::run(command.args(deny_warnings))
}

fn through_rustup(toolchain: &str) -> Command {
    let mut command = Command::new(find_program("rustup").unwrap_or_else(|| "rustup".into()));
    command.args(["run", toolchain, "cargo"]);
    command
}

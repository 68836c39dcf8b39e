//! `cargo xtask test`: from a fresh clone to all tests passed.

use std::{ffi::OsString, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    build, process,
    setup::{self, Scope},
};

/// Install what is missing, build tcptrace and run all tests.
///
/// The end-to-end tests run as root, in network namespaces that they make and remove.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to pass to the end-to-end tests, such as a name to run only the tests that contain it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let tcptrace = build::tcptrace()?;

    let unit = run_tests(process::cargo().args([
        "test",
        "--no-fail-fast",
        "--workspace",
        "--exclude",
        build::END_TO_END,
        // Builds for the kernel only; it is part of tcptrace's own build.
        "--exclude",
        "tracer-ebpf",
    ]));

    let end_to_end = run_tests(
        build::end_to_end(tcptrace.as_os_str(), &[])?
            .arg("--")
            .args(&args.args),
    );

    unit.and(end_to_end)
}

/// Unlike [`process::run`], leaves the tests' report on stdout.
pub(crate) fn run_tests(command: &mut Command) -> Result<()> {
    let shown = process::shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

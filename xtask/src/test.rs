//! `cargo xtask test`: from a fresh clone to all tests passed.

use std::{
    ffi::{OsStr, OsString},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process,
    setup::{self, Scope},
    watch,
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

/// The package of the end-to-end tests.
const END_TO_END: &str = "tcptrace-tests";

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let tcptrace = watch::build()?;

    let unit = run_tests(process::cargo().args([
        "test",
        "--no-fail-fast",
        "--workspace",
        "--exclude",
        END_TO_END,
        // Builds for the kernel only; it is part of tcptrace's own build.
        "--exclude",
        "tracer-ebpf",
    ]));

    let end_to_end = run_tests(end_to_end(&tcptrace, &[])?.arg("--").args(&args.args));

    unit.and(end_to_end)
}

/// The end-to-end tests of `tcptrace`, of which cargo's arguments choose.
pub(crate) fn end_to_end(tcptrace: &OsStr, chosen: &[&str]) -> Result<Command> {
    let mut command = process::cargo();
    command
        .args(["test", "--no-fail-fast", "--package", END_TO_END])
        .args(chosen)
        .env("TCPTRACE_BIN", tcptrace);
    if let Some(sudo) = process::sudo()? {
        // The build stays the user's, only the test programs run as root.
        let mut runner = sudo.into_os_string();
        runner.push(" -E");
        command.env(runner_variable()?, runner);
    }
    Ok(command)
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

/// The variable that names the program through which cargo runs this machine's test binaries.
fn runner_variable() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run `rustc -vV`")?;
    runner_variable_of(&String::from_utf8_lossy(&output.stdout))
        .context("`rustc -vV` does not name its host")
}

fn runner_variable_of(rustc_version: &str) -> Option<String> {
    let host = rustc_version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))?;
    let host = host.to_uppercase().replace(['-', '.'], "_");
    Some(format!("CARGO_TARGET_{host}_RUNNER"))
}

#[cfg(test)]
mod tests {
    use super::runner_variable_of;

    #[test]
    fn the_runner_is_the_hosts() {
        let version = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(
            runner_variable_of(version).as_deref(),
            Some("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER")
        );
        assert_eq!(runner_variable_of("rustc 1.95.0\n"), None);
    }
}

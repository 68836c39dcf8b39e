//! What is built to be run: tcptrace and its end-to-end tests, without shared libraries. So one file runs on every
//! machine, and what the tests run here is what users get and what the virtual machines boot.

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    process::{cargo, shown},
    setup::{self, Scope},
};

/// The package of the end-to-end tests.
pub(crate) const END_TO_END: &str = "tcptrace-tests";
/// Only for this machine's target: build scripts and macros stay as they are. RUSTFLAGS would take its place.
const STATIC: &str = "-C target-feature=+crt-static";

/// Installs what is missing, builds tcptrace and prints where it is.
pub(crate) fn run() -> Result<()> {
    setup::ensure(Scope::Build)?;
    println!("{}", tcptrace()?.display());
    Ok(())
}

/// Builds tcptrace as users get it, and returns its path.
pub(crate) fn tcptrace() -> Result<PathBuf> {
    program("tcptrace", "tcptrace")
}

/// Builds a program of a package, for users.
pub(crate) fn program(package: &str, name: &str) -> Result<PathBuf> {
    let found = artifacts(&["build", "--release", "--package", package, "--bin", name])?;
    let program = found.into_iter().find(|artifact| artifact.name == name);
    Ok(program
        .with_context(|| format!("cargo built no {name}"))?
        .executable)
}

/// Builds the end-to-end tests and what they start.
pub(crate) fn end_to_end_tests() -> Result<Vec<Artifact>> {
    artifacts(&["test", "--no-run", "--package", END_TO_END])
}

/// Builds and runs the end-to-end tests of `tcptrace`, as root, of which cargo's arguments choose.
pub(crate) fn end_to_end(tcptrace: &OsStr, chosen: &[&str]) -> Result<Command> {
    let host = host()?;
    let mut command = cargo_static(&host);
    command
        .args(["test", "--no-fail-fast", "--package", END_TO_END])
        .args(["--target", &host])
        .args(chosen)
        .env("TCPTRACE_BIN", tcptrace);
    if let Some(sudo) = crate::process::sudo()? {
        // The build stays the user's, only the test programs run as root.
        let mut runner = sudo.into_os_string();
        runner.push(" -E");
        command.env(variable(&host, "RUNNER"), runner);
    }
    Ok(command)
}

/// An executable that cargo has built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    pub(crate) is_test: bool,
}

/// Builds and returns the executables.
fn artifacts(arguments: &[&str]) -> Result<Vec<Artifact>> {
    let host = host()?;
    let mut command = cargo_static(&host);
    command
        .args(arguments)
        .args(["--target", &host])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let shown = shown(&command);
    let output = command
        .output()
        .with_context(|| format!("cannot run `{shown}`"))?;
    ensure!(
        output.status.success(),
        "`{shown}` failed ({})",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(artifact)
        .collect())
}

/// A cargo that links what is for this machine's target statically.
fn cargo_static(host: &str) -> Command {
    let mut command = cargo();
    command
        .env(variable(host, "RUSTFLAGS"), STATIC)
        // A virtual machine holds the test binaries in memory.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// Reads one of cargo's messages.
fn artifact(line: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(Artifact {
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: PathBuf::from(message["executable"].as_str()?),
        is_test: message["profile"]["test"].as_bool()?,
    })
}

/// This machine's target.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run `rustc -vV`")?;
    host_of(&String::from_utf8_lossy(&output.stdout)).context("`rustc -vV` does not name its host")
}

fn host_of(rustc_version: &str) -> Option<String> {
    let mut lines = rustc_version.lines();
    lines.find_map(|line| Some(line.strip_prefix("host: ")?.to_owned()))
}

/// The variable through which cargo takes a setting of a target.
fn variable(target: &str, setting: &str) -> String {
    let target = target.to_uppercase().replace(['-', '.'], "_");
    format!("CARGO_TARGET_{target}_{setting}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_the_hosts() {
        let version = "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        let host = host_of(version).unwrap();
        assert_eq!(host, "x86_64-unknown-linux-gnu");
        assert_eq!(
            variable(&host, "RUNNER"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
        assert_eq!(host_of("rustc 1.95.0\n"), None);
    }

    #[test]
    fn executables_are_found_among_cargos_messages() {
        let test = r#"{"reason":"compiler-artifact","target":{"name":"states"},"profile":{"test":true},"executable":"/t/states-1"}"#;
        let expected = Artifact {
            name: "states".to_owned(),
            executable: "/t/states-1".into(),
            is_test: true,
        };
        assert_eq!(artifact(test), Some(expected));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"a"},"profile":{"test":false},"executable":null}"#;
        assert_eq!(artifact(library), None);
        assert_eq!(artifact("warning: text"), None);
    }
}

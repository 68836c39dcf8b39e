//! `cargo xtask test`: from a fresh clone to all tests passed.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

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

    unit.and(end_to_end(&tcptrace, &args.args))
}

/// More failures than this are not the machine's doing.
const AGAIN_AT_MOST: usize = 5;

/// Runs the end-to-end tests. What fails is run once more, alone: they share a kernel and its processors with whatever else the machine
/// does, and some kernels leave out a run of a program and count nothing (README, "What it does not see"). What passes then is named as flaky.
fn end_to_end(tcptrace: &Path, args: &[OsString]) -> Result<()> {
    let mut all = build::end_to_end(tcptrace.as_os_str(), &[])?;
    all.arg("--").args(args);
    let mut failed = Vec::new();
    let result = run_reading(&mut all, |line| failed.extend(failed_test(line)));
    if result.is_ok() || failed.is_empty() || failed.len() > AGAIN_AT_MOST {
        return result;
    }
    println!("\nonce more, alone: {}\n", failed.join(" "));
    let mut again = build::end_to_end(tcptrace.as_os_str(), &[])?;
    again
        .args(["--", "--exact", "--test-threads=1"])
        .args(&failed);
    run_tests(&mut again)?;
    println!("\nflaky, passed when run alone: {}", failed.join(" "));
    Ok(())
}

/// The test that a line of libtest's report says has failed.
fn failed_test(line: &str) -> Option<String> {
    let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    Some(name.to_owned())
}

/// As [`run_tests`], and gives each line of its stdout to `read` as well.
fn run_reading(command: &mut Command, mut read: impl FnMut(&str)) -> Result<()> {
    let shown = process::shown(command);
    let cannot = || format!("cannot run `{shown}`");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(cannot)?;
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines())
    {
        let line = line.with_context(cannot)?;
        println!("{line}");
        read(&line);
    }
    succeeded(&shown, child.wait().with_context(cannot)?)
}

/// Unlike [`process::run`], leaves the tests' report on stdout.
pub(crate) fn run_tests(command: &mut Command) -> Result<()> {
    let shown = process::shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    succeeded(&shown, status)
}

fn succeeded(shown: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::failed_test;

    #[test]
    fn failed_tests_are_read_off_libtests_report() {
        let report =
            "running 2 tests\ntest a::b ... FAILED\ntest c ... ok\n\nfailures:\n    a::b\n";
        let failed: Vec<_> = report.lines().filter_map(failed_test).collect();
        assert_eq!(failed, ["a::b"]);
    }
}

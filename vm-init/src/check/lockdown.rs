//! Locks the kernel down, which lasts until the machine is off: the tracer says so and ends with 3.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const LEVEL: &str = "/sys/kernel/security/lockdown";

pub(super) fn run() -> Result<()> {
    fs::write(LEVEL, "integrity").with_context(|| format!("writing {LEVEL}"))?;
    let (code, report, said) = doctor()?;
    ensure!(
        code == Some(0) && report["ready"] == true,
        "under integrity all works, but {code:?}: {report:#} {said}"
    );

    fs::write(LEVEL, "confidentiality").with_context(|| format!("writing {LEVEL}"))?;
    let (code, report, said) = doctor()?;
    ensure!(
        code == Some(3) && report["lockdown"]["status"] == "bad",
        "doctor, {code:?}: {report:#} {said}"
    );
    let (code, _, said) = tcptrace(&["watch", "--duration", "1s"])?;
    ensure!(code == Some(3), "watch, {code:?}: {said}");
    for part in [
        "locked down (confidentiality)",
        "hint: boot without lockdown=confidentiality",
    ] {
        ensure!(said.contains(part), "no {part:?} in: {said}");
    }
    Ok(())
}

fn doctor() -> Result<(Option<i32>, Value, String)> {
    let (code, printed, said) = tcptrace(&["doctor", "--format", "json"])?;
    let report = serde_json::from_slice(&printed)
        .with_context(|| format!("the doctor's report is no JSON; it said: {said}"))?;
    Ok((code, report, said))
}

fn tcptrace(arguments: &[&str]) -> Result<(Option<i32>, Vec<u8>, String)> {
    let program =
        std::env::var("TCPTRACE_BIN").context("TCPTRACE_BIN does not name the program")?;
    let output = Command::new(program)
        .args(arguments)
        .output()
        .context("starting tcptrace")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), output.stdout, said))
}

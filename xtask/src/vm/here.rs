//! The same tests on this machine's own kernel, as root, on the rungs that it lets be had.

use std::{
    collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant,
};

use anyhow::{Context as _, Result, bail};
use vm_init::{
    plan::{Plan, Test},
    report::{Line, Outcome},
};

use super::{
    console::{Console, Ending},
    payload::{Payload, TCPTRACE, WRAPPER},
    qemu::Run,
    rung::Rung,
    series::Series,
};
use crate::process;

/// What came of it.
pub(super) struct Here {
    pub(super) series: Series,
    pub(super) release: String,
    pub(super) rungs: Vec<Rung>,
    pub(super) plan: Plan,
    pub(super) run: Run,
}

/// Runs the tests.
pub(super) fn run(
    payload: &Payload,
    rungs: &[Rung],
    filters: &[String],
    folder: &Path,
) -> Result<Here> {
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(RELEASE).with_context(|| format!("reading {RELEASE}"))?;
    let release = release.trim().to_owned();
    let mut numbers = release.split(['.', '-']).map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("{release} is no release of Linux");
    };
    let files: BTreeMap<&str, &Path> = payload
        .built
        .iter()
        .map(|built| (built.inside.as_str(), built.file.as_path()))
        .collect();
    let tracer = files.get(TCPTRACE).context("this depth runs no tcptrace")?;
    let wrapper = folder.join("tcptrace-here");
    let text = WRAPPER.1.replace(TCPTRACE, &tracer.display().to_string());
    fs::write(&wrapper, text).with_context(|| format!("writing {}", wrapper.display()))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;

    let mut had = Vec::new();
    for rung in rungs {
        if is_had(*rung, &wrapper)? {
            had.push(*rung);
        }
    }
    let best = had.iter().find(|rung| **rung != Rung::Auto);
    let best = best.map_or_else(String::new, ToString::to_string);
    let mut plan = Plan {
        tests: payload.tests(&had, filters),
        ..Plan::default()
    };
    // It lasts until the machine is off.
    plan.tests.retain(|test| test.name != "init::lockdown");
    let begun = Instant::now();
    let mut console = Console::default();
    console.take(
        &Line::Booted {
            release: release.clone(),
        }
        .to_string(),
    );
    for test in &plan.tests {
        let start = Instant::now();
        let (outcome, said) = outcome(test, &best, &files, &wrapper)?;
        if outcome != Outcome::Passed {
            eprintln!("{} {}: {outcome}\n{said}", test.rung, test.name);
        }
        console.take(
            &Line::End {
                rung: test.rung.clone(),
                name: test.name.clone(),
                outcome,
                took: start.elapsed(),
            }
            .to_string(),
        );
    }
    Ok(Here {
        series: Series { major, minor },
        release,
        rungs: had,
        plan,
        run: Run {
            console,
            ending: Ending::Done,
            took: begun.elapsed(),
        },
    })
}

/// Whether this kernel lets a rung be had; where it refuses it, tcptrace ends with 3.
fn is_had(rung: Rung, wrapper: &Path) -> Result<bool> {
    let rung = rung.to_string();
    let output = process::as_root("env")?
        .arg(format!("VM_RUNG={rung}"))
        .arg(wrapper)
        .args(["watch", "--format", "json", "--duration", "1s"])
        .output()
        .context("running tcptrace")?;
    Ok(output.status.code() != Some(3))
}

fn outcome(
    test: &Test,
    best: &str,
    files: &BTreeMap<&str, &Path>,
    wrapper: &Path,
) -> Result<(Outcome, String)> {
    /// What `timeout` exits with.
    const TIMED_OUT: i32 = 124;
    let (program, arguments) = test
        .argv
        .split_first()
        .context("a test without a program")?;
    let program = files
        .get(program.as_str())
        .context("a program that was not built")?;
    let output = process::as_root("env")?
        .arg(format!("VM_RUNG={}", test.rung))
        .arg(format!("VM_BEST={best}"))
        .arg(format!("TCPTRACE_BIN={}", wrapper.display()))
        .args(["timeout", &test.timeout.as_secs().to_string()])
        .arg(program)
        .args(arguments)
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let outcome = match output.status.code() {
        Some(0) => Outcome::Passed,
        Some(TIMED_OUT) => Outcome::TimedOut,
        Some(code) => Outcome::Failed(code),
        None => Outcome::NotRun,
    };
    let said = [output.stdout, output.stderr].concat();
    Ok((outcome, String::from_utf8_lossy(&said).into_owned()))
}

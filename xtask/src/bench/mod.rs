//! `cargo xtask bench`: what tracing costs, beside no tracer and other tracers.
//!
//! Read in this order: `load` and `variant` (what is measured, a table each), `measure` (one measurement), `process`, `programs`,
//! `summary` and `startup` (where its numbers come from), `results`, `bars` and `report` (what came of all rounds).

pub(crate) mod bars;
pub(crate) mod load;
mod machine;
mod measure;
pub(crate) mod process;
mod programs;
mod report;
mod results;
mod spread;
mod startup;
mod summary;
mod table;
mod terminal;
pub(crate) mod tracer;
mod variant;

use std::{ffi::OsStr, fs, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use self::{
    load::{LOADS, Load},
    machine::{Machine, processors},
    measure::Bench,
    results::{Programs, Results},
    variant::VARIANTS,
};
use crate::{
    build, page, process as child,
    setup::{self, Scope},
};

/// Measure what tracing costs, beside no tracer and other tracers.
///
/// Installs what is missing, builds, and runs as root, in network namespaces of its own.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A load; may be given several times. Default: all of them.
    #[arg(long = "load", value_name = "NAME", value_parser = named)]
    loads: Vec<&'static Load>,
    /// How often each measurement is made.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Writes all numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One short round: whether all works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Writes the tables into docs/performance.md, too.
    #[arg(long, conflicts_with_all = ["quick", "loads"])]
    docs: bool,
    #[command(flatten)]
    prepared: Prepared,
}

/// Set by this program when it goes on as root.
#[derive(clap::Args)]
pub(crate) struct Prepared {
    /// All is installed and built; the programs are in this folder.
    #[arg(long, hide = true, value_name = "FOLDER")]
    prepared: Option<PathBuf>,
}

fn named(name: &str) -> std::result::Result<&'static Load, String> {
    LOADS.iter().find(|load| load.name == name).ok_or_else(|| {
        let names: Vec<_> = LOADS.iter().map(|load| load.name).collect();
        format!("no load is called so; there are {}", names.join(", "))
    })
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (tcptrace, load) = args.prepared.programs()?;
    let (rounds, seconds) = if args.quick {
        (1, 0.5)
    } else {
        (args.rounds.into(), 2.0)
    };
    let bench = Bench {
        tcptrace,
        load,
        trace_file: child::release_dir()?.join("bench.tcptrace"),
        seconds,
    };
    let loads: Vec<&'static Load> = LOADS
        .iter()
        .filter(|load| args.loads.is_empty() || args.loads.contains(load))
        .collect();
    let mut results = Results {
        machine: Machine::read(&bench.tcptrace)?,
        rounds,
        seconds,
        measurements: vec![],
        programs: vec![],
        startup_seconds: vec![],
    };
    // What was measured before something failed is worth to be seen.
    let outcome = measure(&bench, &loads, &mut results);
    let text = report::text(&results);
    print!("{text}");
    if let Some(path) = &args.json {
        let mut all = serde_json::to_value(&results)?;
        all["bars"] = serde_json::to_value(bars::of(&results))?;
        fs::write(path, format!("{all:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    outcome?;
    if args.docs {
        // There they are a section's parts.
        let text = text.replace("\n## ", "\n### ");
        page::put("docs/performance.md", "results", &text)?;
    }
    Ok(())
}

/// All variants in turn, again in each round, so that what else the machine does falls on all of them.
fn measure(bench: &Bench, loads: &[&'static Load], results: &mut Results) -> Result<()> {
    let rounds = results.rounds;
    for load in loads {
        for round in 1..=rounds {
            for variant in VARIANTS {
                eprintln!("{:>12} {} of {rounds}: {}", load.name, round, variant.name);
                let measured = bench.measure(load, variant, round);
                results.measurements.push(
                    measured.with_context(|| format!("{} under {}", load.name, variant.name))?,
                );
            }
        }
        for variant in VARIANTS.iter().filter(|it| it.has_its_own_programs()) {
            eprintln!("{:>12} kernel time: {}", load.name, variant.name);
            if let Some((work, runs)) = bench.programs(load, variant)? {
                results.programs.push(Programs {
                    load: load.name,
                    variant: variant.name,
                    work,
                    runs,
                });
            }
        }
    }
    for round in 1..=rounds {
        eprintln!("{:>12} {round} of {rounds}", "start");
        results.startup_seconds.push(bench.startup()?);
    }
    Ok(())
}

impl Prepared {
    /// Whether this is the program that goes on as root.
    pub(crate) const fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// Installs and builds as this user, then goes on as root; returns the paths of `tcptrace` and `load`.
    ///
    /// # Errors
    ///
    /// When something cannot be installed or built, or there is no way to be root.
    pub(crate) fn programs(&self) -> Result<(PathBuf, PathBuf)> {
        let (folder, is_prepared) = match &self.prepared {
            Some(folder) => (folder.clone(), true),
            None => (prepare()?, false),
        };
        if let Some(sudo) = child::sudo()? {
            if is_prepared {
                bail!("sudo did not make this root");
            }
            let error = Command::new(sudo)
                .arg("--")
                .arg(std::env::current_exe()?)
                .args(std::env::args_os().skip(1))
                .arg("--prepared")
                .arg(folder)
                .exec();
            return Err(error).context("cannot run sudo");
        }
        Ok((folder.join("tcptrace"), folder.join("load")))
    }
}

/// Installs what is needed and builds; returns the folder of the programs.
fn prepare() -> Result<PathBuf> {
    setup::ensure(Scope::Bench)?;
    build::program(build::END_TO_END, "load")?;
    let tcptrace = build::tcptrace()?;
    let folder = tcptrace.parent().context("tcptrace lies in no folder")?;
    Ok(folder.to_owned())
}

/// A command on these processors only.
fn pinned(processors: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", processors]).arg(program);
    command
}

/// A command on all processors but the first, which is the load's; on that one where there is no other.
fn on_the_others(program: impl AsRef<OsStr>) -> Command {
    let last = processors() - 1;
    pinned(&format!("{}-{last}", last.min(1)), program)
}

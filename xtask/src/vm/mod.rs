//! `cargo xtask vm`: runs the tests on the Linux releases that tcptrace supports, each in a virtual machine.
//!
//! Read in this order: `series` (which kernels), `sites`, `apt` and `pick` (where they come from), `kernel` and `modules` (what
//! is taken out of their packages), `payload`, `programs` and `initramfs` (what is put in front of them), `emulator`, `qemu` and
//! `console` (one boot), `here` (no boot), `table` and `readme` (what came of it).

mod apt;
mod command;
mod console;
mod cpio;
mod emulator;
mod here;
mod initramfs;
mod kernel;
mod modules;
mod parallel;
mod payload;
mod pick;
mod programs;
mod qemu;
mod readme;
mod representative;
mod results;
mod rung;
mod series;
mod sites;
mod table;

use std::{fs, num::NonZero, path::PathBuf, thread::available_parallelism};

use anyhow::{Context as _, Result, bail, ensure};
use vm_init::plan::Plan;

use self::{
    emulator::Emulator,
    payload::Depth,
    rung::Rung,
    series::{ALL, REPRESENTATIVE, Series},
    table::Row,
};
use crate::setup::{self, Scope};

/// Runs the tests on other Linux releases, each in a virtual machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A Linux release, for example 6.12; may be given several times. Default: 5.10, 6.1, 6.12, 6.18 and 7.3.
    #[arg(long = "kernel", value_name = "X.Y", conflicts_with = "all")]
    kernels: Vec<Series>,
    /// All Linux releases of the matrix.
    #[arg(long)]
    all: bool,
    /// A rung of the attach ladder; may be given several times. Default: all of them, with --tests boot auto.
    #[arg(long = "rung", value_name = "RUNG")]
    rungs: Vec<Rung>,
    /// Fetches the newest kernel packages even where a kernel is there already.
    #[arg(long)]
    refresh: bool,
    /// How much is tested on each kernel.
    #[arg(long, value_enum, default_value = "suite")]
    tests: Depth,
    /// How many machines run at once; each takes a processor and 1 GiB. Default: the processors there are.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// Runs the tests on this machine's own kernel, too, on the rungs that it has.
    #[arg(long)]
    here: bool,
    /// Shows the output of tests that pass, too.
    #[arg(long)]
    show: bool,
    /// Runs nothing, and writes the latest run's table into README.md.
    #[arg(long)]
    readme: bool,
    /// Only tests whose name holds one of these.
    #[arg(last = true, value_name = "TEST_FILTER")]
    filters: Vec<String>,
}

impl Args {
    /// What a line of the table says, in words.
    fn covers(&self) -> String {
        let all = self.tests.covers();
        if self.filters.is_empty() {
            return all.to_owned();
        }
        let named: Vec<String> = self
            .filters
            .iter()
            .map(|filter| format!("`{filter}`"))
            .collect();
        format!("{all}; of these the tests named {}", named.join(", "))
    }
}

/// Boots every kernel that was asked for, runs the tests and prints the table.
///
/// # Errors
///
/// When something cannot be fetched, built or booted, and when a test did not pass on some kernel.
pub(crate) fn run(args: &Args) -> Result<()> {
    let all_kernels = if args.all { ALL } else { REPRESENTATIVE };
    let kernels = if args.kernels.is_empty() {
        all_kernels
    } else {
        &args.kernels
    };
    let all_rungs = match args.tests {
        Depth::Boot => &[Rung::Auto],
        Depth::Smoke | Depth::Representative | Depth::Suite => Rung::ALL,
    };
    let rungs = if args.rungs.is_empty() {
        all_rungs
    } else {
        &args.rungs
    };
    let folder = folder()?;
    let results = folder.join("results.json");
    if args.readme {
        return readme::write(&results);
    }
    setup::ensure(Scope::Test)?;
    qemu::ensure_installed()?;
    let emulator = Emulator::find(&folder)?;
    let payload = payload::build(args.tests)?;

    let sum = payload.tracer_checksum()?;
    let mut mirror = apt::Mirror::new(&folder);
    let mut boots = Vec::new();
    for series in kernels {
        let kernel = kernel::fetch(&mut mirror, &folder, *series, args.refresh)
            .with_context(|| format!("getting a Debian kernel {series}"))?;
        let plan = Plan {
            modules: kernel
                .modules
                .iter()
                .map(|module| module.inside.clone())
                .collect(),
            env: payload.env(args.show),
            tests: payload.tests(rungs, &args.filters),
        };
        if plan.tests.is_empty() {
            bail!("no test is called like that: {:?}", args.filters);
        }
        boots.push((*series, kernel, plan));
    }
    let jobs = args.jobs.map_or_else(available_parallelism, Ok)?;
    let runs = parallel::map(&boots, jobs, |(series, kernel, plan)| {
        let initrd = folder.join(format!("initrd-{series}.cpio"));
        initramfs::write(&initrd, &payload, kernel, plan)?;
        let log = folder.join(format!("console-{series}.log"));
        eprintln!(
            "Linux {} with {} tests, console in {}",
            kernel.release,
            plan.tests.len(),
            log.display()
        );
        let run = qemu::boot(&emulator, &kernel.image, &initrd, plan, &log);
        fs::remove_file(&initrd).with_context(|| format!("removing {}", initrd.display()))?;
        run
    });
    let mut rows = Vec::new();
    for ((series, kernel, plan), run) in boots.iter().zip(runs) {
        let run = run.with_context(|| format!("booting Linux {series}"))?;
        rows.extend(
            rungs
                .iter()
                .map(|rung| Row::new(*series, *rung, &kernel.release, plan, &run)),
        );
    }
    if args.here {
        let here = here::run(&payload, rungs, &args.filters, &folder)?;
        let row = |rung: &Rung| Row::new(here.series, *rung, &here.release, &here.plan, &here.run);
        rows.extend(here.rungs.iter().map(|rung| row(rung).of_this_machine()));
    }
    ensure!(
        payload.tracer_checksum()? == sum,
        "tcptrace was built anew during the run, so not all machines had the same"
    );
    results::write(&results, table::json(&rows, &args.covers(), sum.as_deref()))?;
    print!("{}", table::render(&rows));
    if let Some(sum) = sum {
        println!("\nthe same tcptrace on all of them, SHA-256 {sum}");
    }
    let bad = rows.iter().filter(|row| !row.passed()).count();
    if bad > 0 {
        bail!("{bad} of {} lines of the table did not pass", rows.len());
    }
    Ok(())
}

/// What is fetched and made stands in the target folder, below `vm`. xtask itself lies in `debug` of the same folder.
fn folder() -> Result<PathBuf> {
    let xtask = std::env::current_exe().context("cannot find the path of xtask itself")?;
    let target = xtask
        .ancestors()
        .nth(2)
        .context("xtask lies outside a target folder")?;
    let folder = target.join("vm");
    fs::create_dir_all(&folder)
        .with_context(|| format!("making the folder {}", folder.display()))?;
    Ok(folder)
}

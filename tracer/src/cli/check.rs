//! `tcptrace check`: whether a recorded trace keeps its budgets.

use std::{fs, path::PathBuf};

use clap::ValueEnum;

use super::{output::Output, recorded};
use crate::{
    check::{
        Checked, Checker, Outcome,
        budget::{self, Budget},
        format,
    },
    error::{Error, Result},
};

/// Exit codes: 0 all budgets held; 1 one is violated; 2 usage, a budget file with a mistake included; 4
/// inconclusive: they held, but the recording is truncated, a hook that they read lost or skipped events, or
/// there was nothing to measure; 5 any other error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Kinds: fd_exhausted, time_wait_overflow, connect_failed, resets_received, \
    resets_sent, retransmits (segments), connections; of some a sort, such as retransmits:rto, \
    connect_failed:ECONNREFUSED, fd_exhausted:accept4, connections:timed_out. docs/ci.md shows a budget file."
)]
pub(super) struct Args {
    /// The recorded trace
    file: PathBuf,
    /// A file of budgets (TOML), see docs/ci.md
    #[arg(long, value_name = "FILE", required_unless_present = "max")]
    budget: Option<PathBuf>,
    /// A budget for the whole trace, such as retransmits=0
    #[arg(long, value_name = "KIND=N", value_parser = budget::max)]
    max: Vec<Budget>,
    /// Lost and skipped events do not make a budget inconclusive
    #[arg(long)]
    allow_lost: bool,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line a budget
    Text,
    /// JUnit XML: a test case a budget
    Junit,
    /// GitHub's annotations, at the lines of the budget file
    Github,
}

pub(super) fn run(args: Args) -> Result<Outcome> {
    args.output
        .is_apart(args.budget.iter().chain([&args.file]))?;
    let mut budgets = args.max;
    let name = args.budget.as_ref().map(|path| path.display().to_string());
    if let (Some(path), Some(name)) = (&args.budget, &name) {
        let text = fs::read_to_string(path).map_err(|error| {
            Error::usage(
                format!("--budget {name}: {error}"),
                "docs/ci.md shows a budget file",
            )
        })?;
        let read = budget::parse(&text).map_err(|error| {
            Error::usage(
                format!("--budget {name}: {error}"),
                "docs/ci.md shows a budget file",
            )
        })?;
        if read.is_empty() {
            return Err(Error::usage(
                format!("--budget {name} has no budget, so that nothing would be checked"),
                "write one, such as\n    [max]\n    retransmits = 0",
            ));
        }
        budgets.splice(0..0, read);
    }
    let (aggregate, truncated) = recorded::read(&args.file)?;
    let checker = Checker {
        aggregate: &aggregate,
        truncated: truncated.as_deref(),
        allow_lost: args.allow_lost,
    };
    let checked: Vec<Checked> = budgets
        .into_iter()
        .map(|budget| checker.check(budget))
        .collect();
    let text = match args.format {
        Format::Text => format::text(&checked),
        Format::Junit => format::junit(&checked)?,
        Format::Github => format::github(&checked, name.as_deref()),
    };
    args.output.write(&text)?;
    Ok(Outcome::of(&checked))
}

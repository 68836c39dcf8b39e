//! `tcptrace diagnose`: what is wrong, how that is known, and what to do.

use std::{io::IsTerminal as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;

use super::{filters::FilterArgs, kernel::KernelArgs, live, output::Output};
use crate::{
    aggregate::Aggregate,
    diagnose::{self, format},
    error::Result,
    kernel::session::Options,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read a recorded trace instead of tracing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["duration", "FilterArgs", "KernelArgs"])]
    from: Option<PathBuf>,
    /// Look for this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = live::duration)]
    duration: Duration,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    kernel: KernelArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One finding a line, see docs/schema.md
    Json,
    /// For a ticket
    Markdown,
}

pub(super) fn run(args: Args) -> Result<()> {
    args.output.is_apart(&args.from)?;
    let aggregate = match &args.from {
        Some(path) => super::recorded::read(path)?.0,
        None => trace(args.filters, &args.kernel, args.duration)?,
    };
    let findings = diagnose::findings(&aggregate);
    let text = match args.format {
        Format::Text => format::text(&findings),
        Format::Json => format::json(&findings).context("cannot make JSON")?,
        Format::Markdown => format::markdown(&findings),
    };
    args.output.write(&text)
}

fn trace(filters: FilterArgs, kernel: &KernelArgs, duration: Duration) -> Result<Aggregate> {
    let options = Options {
        facts: true,
        ..kernel.options(filters.resolve()?)
    };
    if std::io::stderr().is_terminal() {
        eprintln!(
            "tcptrace: looking for {} s; Ctrl-C ends earlier",
            duration.as_secs_f64()
        );
    }
    let mut aggregate = Aggregate::default();
    live::trace(options, duration, &mut aggregate)?;
    Ok(aggregate)
}

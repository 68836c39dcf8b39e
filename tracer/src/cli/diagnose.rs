//! `tcptrace diagnose`: what is wrong, how that is known, and what to do.

use std::{
    io::{self, BufWriter, ErrorKind, Write as _},
    time::Duration,
};

use clap::ValueEnum;

use super::{filters::FilterArgs, kernel::KernelArgs, live};
use crate::{
    aggregate::Aggregate,
    diagnose::{self, report},
    error::Result,
    kernel::session::Options,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Look for this long, such as 30s or 5m; Ctrl-C ends earlier
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = live::duration)]
    duration: Duration,
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
    let options = Options {
        facts: true,
        ..args.kernel.options(args.filters.resolve()?)
    };
    let mut aggregate = Aggregate::default();
    live::trace(options, Some(args.duration), &mut aggregate, |_| Ok(()))?;
    match write(args.format, &aggregate) {
        // The reader of our output has gone, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| anyhow::Error::from(error).into()),
    }
}

fn write(format: Format, aggregate: &Aggregate) -> io::Result<()> {
    let findings = diagnose::findings(aggregate);
    let mut out = BufWriter::new(io::stdout().lock());
    match format {
        Format::Text => report::text(&findings, &mut out)?,
        Format::Json => report::json(&findings, &mut out)?,
        Format::Markdown => report::markdown(&findings, &mut out)?,
    }
    out.flush()
}

//! `tcptrace report`: what happened, by process, peer and listener.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::ValueEnum;

use super::{
    filters::FilterArgs,
    kernel::KernelArgs,
    live::{self, Live},
    output::{self, Output},
    recorded,
};
use crate::{
    aggregate::Aggregate,
    document::{html, markdown, text},
    error::Result,
    report::{Part, Report},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to report
    #[arg(value_enum, default_value_t = Part::All)]
    part: Part,
    /// Read a recorded trace instead of tracing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["duration", "FilterArgs", "KernelArgs"])]
    from: Option<PathBuf>,
    /// Trace for this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = live::duration, default_value = "10s")]
    duration: Duration,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Rows of each table; JSON has them all
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    kernel: KernelArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Tables for a terminal
    Table,
    /// One JSON object, see docs/schema.md
    Json,
    /// Markdown, for a ticket
    Markdown,
    /// One page with charts that needs nothing else
    Html,
}

pub(super) fn run(args: Args) -> Result<()> {
    args.output.is_apart(&args.from)?;
    let (aggregate, truncated) = match &args.from {
        Some(path) => recorded::read(path)?,
        None => (trace(args.filters, args.kernel, args.duration)?, None),
    };
    let report = Report::of(&aggregate, args.part, truncated.as_deref());
    let document = || report.document(args.top);
    let text = match args.format {
        Format::Table => text::render(&document(), args.output.width()),
        Format::Json => output::json(&report)?,
        Format::Markdown => markdown::render(&document()),
        Format::Html => html::render(&document()),
    };
    args.output.write(&text)
}

fn trace(filters: FilterArgs, kernel: KernelArgs, duration: Duration) -> Result<Aggregate> {
    let mut options = kernel.options(filters.resolve()?);
    options.facts = true;
    let mut aggregate = Aggregate::default();
    live::block_on(async {
        let mut live = Live::start(options, Some(duration))?;
        live.begin(&mut aggregate)?;
        if io::stderr().is_terminal() {
            let seconds = duration.as_secs_f64();
            eprintln!("tcptrace: tracing for {seconds} s; Ctrl-C ends earlier");
        }
        while live.step(&mut aggregate).await? {}
        live.finish(&mut aggregate)
    })?;
    Ok(aggregate)
}

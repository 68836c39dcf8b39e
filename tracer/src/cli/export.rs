//! `tcptrace export`: a recorded trace for other programs.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{output, recorded};
use crate::{
    error::Result,
    export::{Exporter, Jsonl, Parquet, Perfetto},
    file,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recorded trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to make of it
    #[arg(long, value_enum)]
    to: Format,
    /// Where to: a file; for parquet the folder of the data set, which may hold other traces' files
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Parquet, partitioned by host and date
    Parquet,
    /// One JSON object a line, as `watch --format json`
    Jsonl,
    /// JSON for Perfetto (ui.perfetto.dev) and chrome://tracing
    Perfetto,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (path, force) = (&args.output, args.force);
    output::is_apart(path, [&args.file])?;
    let mut exporter: Box<dyn Exporter> = match args.to {
        Format::Parquet => Box::new(Parquet::new(path, force)),
        Format::Jsonl => Box::new(Jsonl::create(path, force)?),
        Format::Perfetto => Box::new(Perfetto::create(path, force)?),
    };
    let completeness = file::read(&args.file, exporter.as_mut())?;
    exporter.finish()?;
    recorded::warn(&args.file, completeness);
    Ok(())
}

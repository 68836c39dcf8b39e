//! `tcptrace export`: a recorded trace for other programs.

use std::path::PathBuf;

use clap::ValueEnum;

use super::recorded;
use crate::{
    error::Result,
    export::{self, Jsonl, Parquet, Perfetto},
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
    let completeness = match args.to {
        Format::Parquet => {
            let mut parquet = Parquet::new(path, force);
            let completeness = file::read(&args.file, &mut parquet)?;
            parquet
                .finish()
                .map_err(|error| export::failed(path, error))?;
            completeness
        }
        Format::Jsonl => {
            let mut jsonl = Jsonl::create(path, force)?;
            file::read(&args.file, &mut jsonl)?
        }
        Format::Perfetto => {
            let mut perfetto = Perfetto::create(path, force)?;
            let completeness = file::read(&args.file, &mut perfetto)?;
            perfetto
                .finish()
                .map_err(|error| export::failed(path, error))?;
            completeness
        }
    };
    recorded::warn(&args.file, completeness);
    Ok(())
}

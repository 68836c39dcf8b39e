//! `tcptrace watch`: events as they happen.

use std::{
    io::{self, BufWriter, ErrorKind},
    time::Duration,
};

use clap::ValueEnum;

use super::{filters::FilterArgs, kernel::KernelArgs, live};
use crate::{
    error::Result,
    sink::{Sink, json::Json, lines::Lines, summary},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = live::duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    kernel: KernelArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One line an event, for people
    Lines,
    /// One JSON object a line, see docs/schema.md
    Json,
}

pub(super) fn run(args: Args) -> Result<()> {
    let options = args.kernel.options(args.filters.resolve()?);
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut sink: Box<dyn Sink> = match args.format {
        Format::Lines => Box::new(Lines(out)),
        Format::Json => Box::new(Json::new(out)),
    };
    let result = live::trace(options, args.duration, sink.as_mut(), |end| {
        summary::write(&mut io::stderr().lock(), end).map_err(Into::into)
    });
    match result {
        // The reader of our output has gone, as `head` does.
        Err(error) if error.io == Some(ErrorKind::BrokenPipe) => Ok(()),
        result => result,
    }
}

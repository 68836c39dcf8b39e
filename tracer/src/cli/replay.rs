//! `tcptrace replay`: a recorded trace as `watch` showed it.

use std::{
    io::{self, BufWriter},
    path::PathBuf,
};

use clap::ValueEnum;

use super::{filters, recorded, unless_reader_left};
use crate::{
    error::Result,
    file,
    sink::{
        Sink,
        json::Json,
        lines::Lines,
        only::{Only, Wanted},
        paced::{Paced, Speed},
        summary::Summary,
        tee::Tee,
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A recorded trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How fast: 1 as it happened, 10 ten times as fast, or max
    #[arg(long, value_name = "N", default_value = "max")]
    speed: Speed,
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// Only events whose owner had this process id
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Only events with this local or remote port
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    /// Kinds of events, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = filters::event)]
    events: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One line an event, for people
    Lines,
    /// One JSON object a line, see docs/schema.md
    Json,
}

pub(super) fn run(args: Args) -> Result<()> {
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut sink: Box<dyn Sink> = match args.format {
        Format::Lines => Box::new(Lines(out)),
        Format::Json => Box::new(Json::new(out)),
    };
    let mut summary = Summary(io::stderr().lock());
    let mut both = Tee(vec![sink.as_mut(), &mut summary]);
    let wanted = Wanted {
        pids: args.pid,
        ports: args.port,
        events: args.events,
    };
    let mut only = Only::new(&mut both, wanted);
    let read = file::read(&args.file, &mut Paced::new(&mut only, args.speed));
    if let Some(completeness) = unless_reader_left(read)? {
        recorded::warn(&args.file, completeness);
    }
    Ok(())
}

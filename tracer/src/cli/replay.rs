//! `tcptrace replay`: a recorded trace as `watch` showed it.

use std::{
    io::{self, BufWriter},
    path::PathBuf,
};

use clap::ValueEnum;

use super::{filters, recorded, screen, unless_reader_left};
use crate::{
    error::{Error, Result},
    file,
    screen::{play, state},
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
    /// How fast: 1 as it happened (the screen's), 10 ten times as fast, or max (that of lines and JSON); the screen has these three
    #[arg(long, value_name = "N")]
    speed: Option<Speed>,
    /// How the trace is shown; by default the screen on a terminal, else lines
    #[arg(long, value_enum)]
    format: Option<Format>,
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
    /// The screen of watch, with time controls
    Screen,
    /// One line an event, for people
    Lines,
    /// One JSON object a line, see docs/schema.md
    Json,
}

pub(super) fn run(args: Args) -> Result<()> {
    let wanted = Wanted {
        pids: args.pid,
        ports: args.port,
        events: args.events,
    };
    let is_screen = args.format.map(|format| matches!(format, Format::Screen));
    if screen::is_shown(is_screen)? {
        let completeness = play::play(&args.file, &wanted, on_screen(args.speed)?)?;
        recorded::warn(&args.file, completeness);
        return Ok(());
    }
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut sink: Box<dyn Sink> = match args.format {
        Some(Format::Json) => Box::new(Json::new(out)),
        _ => Box::new(Lines(out)),
    };
    let mut summary = Summary(io::stderr().lock());
    let mut both = Tee(vec![sink.as_mut(), &mut summary]);
    let mut only = Only::new(&mut both, wanted);
    let read = file::read(
        &args.file,
        &mut Paced::new(&mut only, args.speed.unwrap_or(Speed::Max)),
    );
    let Some(completeness) = unless_reader_left(read)? else {
        return Ok(());
    };
    recorded::warn(&args.file, completeness);
    Ok(())
}

/// The screen's own speeds.
fn on_screen(speed: Option<Speed>) -> Result<state::Speed> {
    match speed {
        None => Ok(state::Speed::Real),
        Some(Speed::Max) => Ok(state::Speed::Max),
        Some(Speed::Times(1.0)) => Ok(state::Speed::Real),
        Some(Speed::Times(10.0)) => Ok(state::Speed::Ten),
        Some(Speed::Times(times)) => Err(Error::usage(
            format!("the screen does not play at {times} times the speed"),
            "give --speed 1, 10 or max, or --format lines",
        )),
    }
}

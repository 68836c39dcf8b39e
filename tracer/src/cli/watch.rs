//! `tcptrace watch`: events as they happen.

use std::{
    io::{self, BufWriter, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;

use super::{
    filters::FilterArgs,
    kernel::KernelArgs,
    live::{self, Live},
    screen,
};
use crate::{
    error::Result,
    file::Writer,
    kernel::session::Options,
    screen::{
        front::Front,
        run::{Screen, Wish},
        state::Page,
    },
    sink::{Sink, json::Json, lines::Lines, piped::Piped, summary, tee::Tee},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How events are shown; by default the screen on a terminal, else lines
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = live::duration)]
    duration: Option<Duration>,
    /// Record the trace into this file too; `tcptrace replay` shows it again
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Replace the file of --record if it exists
    #[arg(long, requires = "record")]
    force: bool,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    kernel: KernelArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// What is in trouble, with what and since when, on the whole terminal
    Screen,
    /// One line an event, for people
    Lines,
    /// One JSON object a line, see docs/schema.md
    Json,
}

pub(super) fn run(args: Args) -> Result<()> {
    let mut options = args.kernel.options(args.filters.resolve()?);
    let is_screen = args.format.map(|format| matches!(format, Format::Screen));
    let format = match (screen::is_shown(is_screen)?, args.format) {
        (true, _) => Format::Screen,
        (false, format) => format.unwrap_or(Format::Lines),
    };
    let mut writer = match &args.record {
        Some(path) => Some(Writer::create(path, args.force)?),
        None => None,
    };
    options.facts = writer.is_some() || matches!(format, Format::Screen);
    let out = BufWriter::with_capacity(64 << 10, io::stdout());
    let mut sink: Box<dyn Sink> = match format {
        Format::Screen => return on_screen(options, args.duration, writer),
        Format::Lines => Box::new(Lines(out)),
        Format::Json => Box::new(Json::new(out)),
    };
    live::block_on(async {
        let mut live = Live::start(options, args.duration)?;
        if args.duration.is_none() && io::stderr().is_terminal() {
            eprintln!("tcptrace: tracing; Ctrl-C ends");
        }
        let mut shown = Piped::new(sink.as_mut());
        live.begin(&mut both(&mut shown, &mut writer))?;
        while !shown.has_left && live.step(&mut both(&mut shown, &mut writer)).await? {}
        let end = live.finish(&mut both(&mut shown, &mut writer))?;
        if !shown.has_left {
            summary::write(&mut io::stderr().lock(), &end)?;
        }
        Ok(())
    })
}

/// What shows the trace, and what records it.
fn both<'a>(shown: &'a mut dyn Sink, writer: &'a mut Option<Writer>) -> Tee<'a> {
    let mut sinks = vec![shown];
    if let Some(writer) = writer {
        sinks.push(writer);
    }
    Tee(sinks)
}

/// Traces onto the screen.
fn on_screen(options: Options, limit: Option<Duration>, mut writer: Option<Writer>) -> Result<()> {
    live::block_on(async {
        // What goes wrong here is told on the terminal as it was.
        let mut live = Live::start(options, limit)?;
        let mut screen = Screen::new(|path| Ok(Box::new(Writer::create(path, false)?)));
        live.begin(&mut both(&mut screen, &mut writer))?;
        let end = {
            let mut front = Front::new().context("the terminal can't be taken over")?;
            screen.draw_news(&mut front)?;
            loop {
                let mut sinks = both(&mut screen, &mut writer);
                let input = tokio::select! {
                    biased;
                    input = front.input() => input?,
                    is_on = live.step(&mut sinks) => match is_on? {
                        true => continue,
                        false => break,
                    },
                };
                if screen.take(&input, &mut front)? == Wish::Quit {
                    break;
                }
                if let Page::Process(pid) = screen.state.view.page {
                    live.look_at(pid, &mut both(&mut screen, &mut writer))?;
                }
            }
            live.finish(&mut both(&mut screen, &mut writer))?
        };
        summary::write(&mut io::stderr().lock(), &end)?;
        Ok(())
    })
}

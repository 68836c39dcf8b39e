//! `tcptrace watch`: events as they happen.

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal as _},
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::SignedDuration;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{filters::FilterArgs, kernel::KernelArgs};
use crate::{
    error::{Error, Result},
    kernel::session::Options,
    sink::{Sink, json::Json, lines::Lines, summary},
    trace::Trace,
};

/// The reader looks by itself this often; it is woken earlier only when much waits.
const LOOK: Duration = Duration::from_millis(20);
/// Storms, losses and ended processes are looked after this often.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
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

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let hint = "not a time; write 30s, 5m or 1h30m";
    let time: SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    match Duration::try_from(time) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(hint.to_owned()),
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let options = args.kernel.options(args.filters.resolve()?);
    if options.verbose {
        env_logger::Builder::new()
            .filter_level(log::LevelFilter::Warn)
            .filter_module("tcptrace_ebpf", log::LevelFilter::Debug)
            .init();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event loop")?;
    let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut sink: Box<dyn Sink> = match args.format {
        Format::Lines => Box::new(Lines(out)),
        Format::Json => Box::new(Json(out)),
    };
    match runtime.block_on(watch(options, args.duration, sink.as_mut())) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => error.into(),
        }),
    }
}

/// Whether the reader of our output has gone, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

async fn watch(
    options: Options,
    limit: Option<Duration>,
    sink: &mut dyn Sink,
) -> anyhow::Result<()> {
    let is_verbose = options.verbose;
    // Signals from here on end the trace in order, also while it is being set up.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut trace = Trace::start(options)?;
    let mut logger = is_verbose.then(|| trace.logger()).transpose()?;
    let [events, rare] = trace.wakers()?;
    // SAFETY: an owned descriptor stays open, and the same, as long as it lives.
    let (events, rare) = unsafe {
        (
            AsyncFd::register_with_interest(events, Interest::READABLE)?,
            AsyncFd::register_with_interest(rare, Interest::READABLE)?,
        )
    };
    if io::stderr().is_terminal() {
        eprintln!("tcptrace: watching; Ctrl-C ends");
    }
    sink.start(&trace.start_line())?;

    let end = limit.map(|limit| Instant::now() + limit);
    let mut look = interval(LOOK);
    let mut tick = interval(TICK);
    for timer in [&mut look, &mut tick] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break,
            _ = tick.tick() => trace.tick(sink)?,
            guard = events.readable() => { guard?.clear_ready(); trace.poll(sink)?; }
            guard = rare.readable() => { guard?.clear_ready(); trace.poll(sink)?; }
            _ = look.tick() => trace.poll(sink)?,
        }
        if let Some(logger) = &mut logger {
            logger.flush();
        }
    }
    let end = trace.finish(sink)?;
    summary::write(&mut io::stderr().lock(), &end)?;
    Ok(())
}

//! A live trace's loop: the kernel's buffers, timers and signals, for every command that traces.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use jiff::SignedDuration;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
    task::yield_now,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    error::{Error, Result},
    identity::Pid,
    kernel::session::Options,
    sink::Sink,
    trace::{Trace, frame::End},
};

/// The reader looks by itself this often; it is woken earlier only when much waits.
const LOOK: Duration = Duration::from_millis(20);
/// Storms, losses and ended processes are looked after this often.
const TICK: Duration = Duration::from_secs(1);

/// A running trace and what wakes its reader.
pub(super) struct Live {
    trace: Trace,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    events: AsyncFd<OwnedFd>,
    rare: AsyncFd<OwnedFd>,
    look: Interval,
    tick: Interval,
    /// More was ready than one helping.
    is_behind: bool,
    interrupt: Signal,
    terminate: Signal,
    end: Option<Instant>,
}

impl Live {
    /// Starts a trace that ends after `limit`, at Ctrl-C or at SIGTERM.
    ///
    /// # Errors
    ///
    /// See [`Trace::start`].
    pub(super) fn start(options: Options, limit: Option<Duration>) -> anyhow::Result<Self> {
        let is_verbose = options.verbose;
        if is_verbose {
            env_logger::Builder::new()
                .filter_level(log::LevelFilter::Warn)
                .filter_module("tcptrace_ebpf", log::LevelFilter::Debug)
                .init();
        }
        // Signals from here on end the trace in order, also while it is being set up.
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let mut trace = Trace::start(options)?;
        let logger = is_verbose.then(|| trace.logger()).transpose()?;
        // Read before anybody can tell that the trace has begun: what follows is the growth of these numbers.
        trace.read_facts();
        let [events, rare] = trace.wakers()?;
        // SAFETY: an owned descriptor stays open, and the same, as long as it lives.
        let (events, rare) = unsafe {
            (
                AsyncFd::register_with_interest(events, Interest::READABLE)?,
                AsyncFd::register_with_interest(rare, Interest::READABLE)?,
            )
        };
        let timer = |period| {
            let mut timer = interval(period);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer
        };
        Ok(Self {
            trace,
            logger,
            events,
            rare,
            look: timer(LOOK),
            tick: timer(TICK),
            is_behind: false,
            interrupt,
            terminate,
            end: limit.map(|limit| Instant::now() + limit),
        })
    }

    /// Hands on the first line, and the facts that stood before any event.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub(super) fn begin(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        sink.start(&self.trace.start_line())?;
        self.trace.tell_facts(sink)
    }

    /// Waits for what comes next and hands it on; false when the trace is to end. It can be dropped while
    /// it waits and nothing is lost.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub(super) async fn step(&mut self, sink: &mut dyn Sink) -> anyhow::Result<bool> {
        let end = self.end;
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => return Ok(false),
            _ = self.terminate.recv() => return Ok(false),
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(false),
            _ = self.tick.tick() => self.trace.tick(sink)?,
            // Timers, and whoever waits beside this, have their turn between two helpings of a flood.
            () = yield_now(), if self.is_behind => self.is_behind = self.trace.poll(sink)?,
            guard = self.events.readable() => { guard?.clear_ready(); self.is_behind = self.trace.poll(sink)?; }
            guard = self.rare.readable() => { guard?.clear_ready(); self.is_behind = self.trace.poll(sink)?; }
            _ = self.look.tick() => self.is_behind = self.trace.poll(sink)?,
        }
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        Ok(true)
    }

    /// See [`Trace::look_at`].
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub(super) fn look_at(&mut self, pid: Pid, sink: &mut dyn Sink) -> anyhow::Result<()> {
        self.trace.look_at(pid, sink)
    }

    /// Shows what is left. Detaching, when this is dropped, takes the kernel a second or two.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub(super) fn finish(&mut self, sink: &mut dyn Sink) -> anyhow::Result<End> {
        self.trace.finish(sink)
    }
}

/// Traces into a sink for a time, or until a signal comes.
///
/// # Errors
///
/// See [`Live::start`] and [`Live::step`].
pub(super) fn trace(options: Options, limit: Duration, sink: &mut dyn Sink) -> Result<()> {
    block_on(async {
        let mut live = Live::start(options, Some(limit))?;
        live.begin(sink)?;
        while live.step(sink).await? {}
        live.finish(sink)?;
        Ok(())
    })
}

/// Runs a command's asynchronous part; errors keep their kind.
///
/// # Errors
///
/// Those of the future.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event loop")?;
    runtime
        .block_on(work)
        .map_err(|error| match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => error.into(),
        })
}

/// Reads `30s`, `5m` or `1h30m`.
///
/// # Errors
///
/// Says what to write.
pub(super) fn duration(text: &str) -> std::result::Result<Duration, String> {
    let hint = "not a time; write 30s, 5m or 1h30m";
    let time: SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    match Duration::try_from(time) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(hint.to_owned()),
    }
}

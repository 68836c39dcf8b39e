//! `tcptrace record`: a trace into a file, for as long as a command runs, or until it is told to end.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sys::{
        signal::{self, SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

use super::{
    filters::FilterArgs,
    kernel::KernelArgs,
    live::{self, Live},
};
use crate::{
    aggregate::Aggregate,
    diagnose::{self, format},
    error::{Error, Result},
    file::Writer,
    kernel::{cgroup::Group, session::Options},
    sink::{summary, tee::Tee},
    trace::frame::End,
};

/// Runs COMMAND and records its whole process tree, and only it. Its output, the signals that are sent
/// to tcptrace, and its exit code pass through: 128 and the signal's number when a signal ended it, 125
/// when tcptrace failed, 126 or 127 when it could not be run or was not found. It runs as the user that
/// tcptrace runs as; for another, let it be started by sudo -u or setpriv.
///
/// Without COMMAND the whole machine is recorded, until --duration, Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The trace's file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Stop recording after this time, such as 30s or 5m; COMMAND runs on
    #[arg(long, value_name = "TIME", value_parser = live::duration)]
    duration: Option<Duration>,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    /// Record everything while COMMAND runs, not only its processes
    #[arg(long)]
    system: bool,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    kernel: KernelArgs,
    /// What to run and record
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(args: Args) -> Result<ExitCode> {
    if args.command.is_empty() {
        return alone(args).map(|()| ExitCode::SUCCESS);
    }
    match around(args) {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) => {
            eprintln!("tcptrace: {error}");
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// The exit code when tcptrace failed, as that of `timeout` and `env`.
pub(super) const FAILED: u8 = 125;
/// When the command is there but can't be run.
const NOT_RUNNABLE: u8 = 126;
/// When there is no such command.
const NOT_FOUND: u8 = 127;

fn options(kernel: &KernelArgs, filters: FilterArgs) -> Result<Options> {
    let mut options = kernel.options(filters.resolve()?);
    options.facts = true;
    Ok(options)
}

/// A trace on its way into a file, and what it comes to: for its summary.
struct Recording {
    path: PathBuf,
    writer: Writer,
    aggregate: Aggregate,
}

impl Recording {
    fn create(path: PathBuf, force: bool) -> Result<Self> {
        Ok(Self {
            writer: Writer::create(&path, force)?,
            path,
            aggregate: Aggregate::default(),
        })
    }

    fn sink(&mut self) -> Tee<'_> {
        Tee(vec![&mut self.writer, &mut self.aggregate])
    }

    /// Says on stderr what was recorded, and what is found in it.
    fn told(&self, end: &End) -> anyhow::Result<()> {
        let mut err = io::stderr().lock();
        summary::write(&mut err, end)?;
        let findings = diagnose::findings(&self.aggregate);
        err.write_all(format::brief(&findings).as_bytes())?;
        let path = self.path.display();
        if !findings.is_empty() {
            writeln!(
                err,
                "evidence and remedies: tcptrace diagnose --from {path}"
            )?;
        }
        let (events, size) = (self.writer.events(), size(self.writer.bytes()));
        writeln!(err, "{path}: {events} events, {size}")?;
        Ok(())
    }
}

/// Records until time is up or a signal comes.
fn alone(args: Args) -> Result<()> {
    let options = options(&args.kernel, args.filters)?;
    let mut recording = Recording::create(args.output, args.force)?;
    live::block_on(async {
        let mut live = Live::start(options, args.duration)?;
        let mut progress = Progress::new();
        live.begin(&mut recording.sink())?;
        while live.step(&mut recording.sink()).await? {
            progress.show(&recording);
        }
        progress.clear();
        let end = live.finish(&mut recording.sink())?;
        recording.told(&end)
    })
}

/// Records while the command runs; its exit code.
fn around(args: Args) -> Result<u8> {
    if args.filters.has_cgroup() && !args.system {
        return Err(Error::usage(
            "--cgroup and COMMAND name different processes",
            "with --system the filters alone decide what is recorded while COMMAND runs",
        ));
    }
    let mut options = options(&args.kernel, args.filters)?;
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    // Before any thread is started: each has the mask of the one that starts it.
    let signals = Signals::block(&mut command).context("signals can't be taken")?;
    let group = if args.system {
        None
    } else {
        let group = Group::new()?;
        options.filters.cgroup = Some(group.id());
        group.hold(&mut command).context("the command's group")?;
        Some(group)
    };
    let mut recording = Recording::create(args.output, args.force)?;
    let code = live::block_on(async {
        // SAFETY: an owned descriptor stays open, and the same, as long as it lives.
        let signals = unsafe { AsyncFd::register_with_interest(signals, Interest::READABLE)? };
        let mut signals = Signals(signals);
        let mut live = Live::start(options, args.duration)?;
        live.begin(&mut recording.sink())?;
        // Everything is attached: nothing of the command is missed.
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("tcptrace: {}: {error}", args.command[0].display());
                return Ok(match error.kind() {
                    io::ErrorKind::NotFound => NOT_FOUND,
                    _ => NOT_RUNNABLE,
                });
            }
        };
        let recorded = record(&mut live, &mut recording, &mut signals, &mut child).await;
        let end = match recorded {
            Ok(()) => live.finish(&mut recording.sink()),
            Err(error) => Err(error),
        };
        // Whatever became of the trace, the command runs to its end.
        let failed = match end {
            Ok(end) => recording.told(&end).err(),
            Err(error) => {
                eprintln!("tcptrace: {error:#}");
                Some(error)
            }
        };
        let status = signals.wait(&mut child).await?;
        Ok(match failed {
            Some(_) => FAILED,
            None => code_of(status),
        })
    })?;
    drop(group);
    Ok(code)
}

/// Records until the command has ended, and the kernel has finished its sockets, or time is up.
async fn record(
    live: &mut Live,
    recording: &mut Recording,
    signals: &mut Signals,
    child: &mut Child,
) -> anyhow::Result<()> {
    let sink = &mut recording.sink();
    loop {
        tokio::select! {
            biased;
            ended = signals.pass_on(child) => if ended? { break },
            is_on = live.step(sink) => if !is_on? { return Ok(()) },
        }
    }
    let rest = async {
        while live.step(sink).await? {}
        Ok(())
    };
    timeout(LINGER, rest).await.unwrap_or(Ok(()))
}

/// A connection that the command closed by its exit has ended when the peer has acknowledged that, which it
/// may delay by 200 ms (`include/net/tcp.h: TCP_DELACK_MAX`).
const LINGER: Duration = Duration::from_millis(250);

fn code_of(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(FAILED),
    };
    u8::try_from(code).unwrap_or(FAILED)
}

/// The signals that this process gets while the command runs.
struct Signals(AsyncFd<SignalFd>);

impl Signals {
    /// Takes the signals that would end tcptrace, and those about its child; the command gets none of that.
    fn block(command: &mut Command) -> io::Result<SignalFd> {
        let before = SigSet::thread_get_mask()?;
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || before.thread_set_mask().map_err(Into::into)) };
        let taken: SigSet = [
            Signal::SIGCHLD,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ]
        .into_iter()
        .collect();
        taken.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(SignalFd::with_flags(&taken, flags)?)
    }

    /// Waits for signals and passes them on; true when the child has ended. It can be dropped while it waits.
    async fn pass_on(&mut self, child: &mut Child) -> anyhow::Result<bool> {
        let mut ready = self.0.readable_mut().await?;
        while let Some(signal) = ready.get_inner_mut().read_signal()? {
            let number = Signal::try_from(signal.ssi_signo.cast_signed())?;
            if number == Signal::SIGCHLD {
                if child.try_wait()?.is_some() {
                    return Ok(true);
                }
            } else if signal.ssi_code != libc::SI_KERNEL {
                // What the terminal sends, the whole foreground has got, the command too.
                let _ = signal::kill(Pid::from_raw(child.id().cast_signed()), number);
            }
        }
        ready.clear_ready();
        Ok(false)
    }

    /// Waits for the child.
    async fn wait(&mut self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            self.pass_on(child).await?;
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A line on a terminal that says how far it is.
struct Progress(Option<Instant>);

impl Progress {
    fn new() -> Self {
        Self(io::stderr().is_terminal().then(Instant::now))
    }

    fn show(&mut self, recording: &Recording) {
        let Some(shown) = &mut self.0 else {
            return;
        };
        if shown.elapsed() >= Duration::from_secs(1) {
            *shown = Instant::now();
            let (events, size) = (recording.writer.events(), size(recording.writer.bytes()));
            eprint!(
                "\r\x1b[K{}: {events} events, {size}; Ctrl-C ends",
                recording.path.display()
            );
        }
    }

    fn clear(&self) {
        if self.0.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

//! A running tracer, whose output goes nowhere.

use std::{
    io::Read,
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, JoinHandle, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{load, process::Process, terminal::Terminal};

/// How long a tracer may take for what takes it a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a tracer may take to read what waits for it.
const DRAIN: Duration = Duration::from_secs(10);
/// It is idle when it needs less processor time than this in each [`PAUSE`].
const IDLE: f64 = 0.002;
const PAUSE: Duration = Duration::from_millis(50);
/// The screen's key for its help, and what stands there alone.
const HELP: &str = "?";
const IN_THE_HELP: &str = "connections opened, a second";
/// No multiple of the time between two frames.
const BETWEEN_KEYS: Duration = Duration::from_millis(73);

/// A child that is killed when it is dropped.
pub(crate) struct Tracer {
    child: Child,
    errors: Option<JoinHandle<String>>,
    terminal: Option<Terminal>,
}

impl Tracer {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command, stdout: Stdio) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {:?}", command.get_program()))?;
        let errors = all_of(child.stderr.take().context("no pipe")?);
        Ok(Self {
            child,
            errors: Some(errors),
            terminal: None,
        })
    }

    /// Starts `command` on a large terminal.
    pub(crate) fn start_on_a_terminal(command: &mut Command) -> Result<Self> {
        let (terminal, side, written) = Terminal::open()?;
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(side.try_clone()?)
            .stdout(side.try_clone()?)
            .stderr(side)
            .spawn()
            .with_context(|| format!("cannot run {:?}", command.get_program()))?;
        // Else this process holds the terminal open, and its end is never read.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            child,
            errors: Some(all_of(written)),
            terminal: Some(terminal),
        })
    }

    /// Does `work`; meanwhile keys are pressed on its terminal, as somebody does who looks at it. Returns how long each key
    /// took to show what it asks for, seconds, too.
    pub(crate) fn typed_to<T>(
        &mut self,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Vec<f64>)> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let pressing = self
                .terminal
                .as_mut()
                .map(|terminal| scope.spawn(|| press(terminal, &is_over)));
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            let seconds = match pressing.map(ScopedJoinHandle::join) {
                Some(Ok(seconds)) => seconds?,
                Some(Err(_)) => bail!("the thread that presses keys has panicked"),
                None => vec![],
            };
            Ok((done?, seconds))
        })
    }

    /// Takes its output, where that is a pipe.
    pub(crate) fn output(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("no pipe")
    }

    /// What `/proc` tells of it.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Waits until it shows the connections that the load makes meanwhile: it is attached, and writes.
    pub(crate) fn wait_until_it_shows(&mut self, load: &mut load::Running) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut written, mut grown) = (0, 0);
        // It may say something before it is attached, and so its output must grow again and again.
        while grown < 3 {
            if let Some(status) = self.child.try_wait()? {
                bail!("the tracer ended ({status}); it said: {}", self.said());
            }
            if Instant::now() > deadline {
                bail!("the tracer shows nothing");
            }
            load.warm()?;
            thread::sleep(PAUSE);
            let now = self.process().written()?;
            grown += u8::from(now > written);
            written = now;
        }
        self.drain()
    }

    /// Waits until it is attached, of one that shows nothing before its end: it has programs in the kernel, and neither opens anything
    /// nor works any more.
    pub(crate) fn wait_until_it_rests(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut before, mut same) = (0, 0);
        while before == 0 || same < 5 {
            if Instant::now() > deadline {
                bail!("the tracer does not attach");
            }
            self.drain()?;
            let now = self.process().programs()?.len();
            same = if now == before { same + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// Waits until it has read what waits for it.
    pub(crate) fn drain(&self) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        let mut before = self.process().clock()?;
        loop {
            thread::sleep(PAUSE);
            let now = self.process().clock()?;
            let cpu = now.since(before);
            if cpu.user + cpu.system < IDLE || Instant::now() > deadline {
                return Ok(());
            }
            before = now;
        }
    }

    /// Ends it as Ctrl-C does, and returns what it wrote, where that is a pipe, and what it said on stderr.
    pub(crate) fn end(mut self) -> Result<(String, String)> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGINT)?;
        let mut written = String::new();
        if let Some(mut output) = self.child.stdout.take() {
            output.read_to_string(&mut written)?;
        }
        self.child.wait()?;
        Ok((written, self.said()))
    }

    fn said(&mut self) -> String {
        let errors = self.errors.take().map(JoinHandle::join);
        errors.and_then(Result::ok).unwrap_or_default()
    }
}

/// Opens the help and closes it, again and again.
fn press(terminal: &mut Terminal, is_over: &AtomicBool) -> Result<Vec<f64>> {
    let mut seconds = vec![];
    while !is_over.load(Ordering::Relaxed) {
        for is_shown in [true, false] {
            seconds.push(
                terminal
                    .press(HELP, IN_THE_HELP, is_shown, DRAIN)?
                    .as_secs_f64(),
            );
            thread::sleep(BETWEEN_KEYS);
        }
    }
    Ok(seconds)
}

/// Reads on another thread until there is no more.
fn all_of(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = vec![];
        // A terminal ends with an error.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

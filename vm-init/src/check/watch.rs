//! A running `tcptrace watch --format json`, read line by line.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The tracer ended before its first line. The init then exits with the same code.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) ExitStatus);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcptrace ended before its first line: {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// The tracer and its output. No read has a time limit: the check as a whole has one.
pub(super) struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The first line.
    pub(super) start: Value,
}

impl Drop for Watch {
    /// A check that failed leaves no tracer behind, which would hold its output open.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watch {
    /// Starts the tracer, whose wrapper forces the rung that the plan asks for, and returns when it sees everything from then on.
    pub(super) fn start(events: &str) -> Result<Self> {
        let program =
            std::env::var("TCPTRACE_BIN").context("TCPTRACE_BIN does not name the program")?;
        let mut command = Command::new(program);
        command.args(["watch", "--format", "json", "--verbose", "--events", events]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("starting tcptrace")?;
        let mut lines = BufReader::new(child.stdout.take().context("tcptrace has no output")?);
        let Some(start) = next(&mut lines)? else {
            return Err(Refused(child.wait()?).into());
        };
        ensure!(start["event"] == "start", "the first line is {start}");
        Ok(Self {
            child,
            lines,
            start,
        })
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Value> {
        next(&mut self.lines)?.context("tcptrace ended too early")
    }

    /// Interrupts the tracer and returns its last line.
    pub(super) fn finish(mut self) -> Result<Value> {
        kill(
            Pid::from_raw(i32::try_from(self.child.id())?),
            Signal::SIGINT,
        )
        .context("interrupting tcptrace")?;
        let mut last = None;
        while let Some(value) = next(&mut self.lines)? {
            last = Some(value);
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "tcptrace ended with {status}");
        let last = last.context("nothing came after the interrupt")?;
        ensure!(last["event"] == "end", "the last line is {last}");
        Ok(last)
    }
}

/// The rung that the plan asks for; for `auto` the best that there is: of a Debian kernel `fexit`, of another what `VM_BEST` says.
pub(super) fn best_rung() -> String {
    let named = std::env::var("VM_RUNG").ok().filter(|rung| rung != "auto");
    named
        .or_else(|| std::env::var("VM_BEST").ok())
        .unwrap_or_else(|| "fexit".to_owned())
}

fn next(lines: &mut BufReader<ChildStdout>) -> Result<Option<Value>> {
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let line = line.trim_end();
    println!("{line}");
    serde_json::from_str(line)
        .with_context(|| format!("not a line of JSON: {line:?}"))
        .map(Some)
}

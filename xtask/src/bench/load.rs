//! The loads: programs that do work in a network namespace of their own and count it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::pinned;

/// A kind of work. What does it is in `tests/src/bin/load`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// One processor is the load's, and the others are the tracer's. Without that, programs that talk to each other cost
    /// half as much when the scheduler happens to put them on one processor.
    pub(crate) is_alone: bool,
    /// What `tcptrace` needs to be told.
    pub(crate) options: &'static [&'static str],
}

pub(crate) const fn load(name: &'static str, unit: &'static str, about: &'static str) -> Load {
    Load {
        name,
        about,
        unit,
        is_alone: false,
        options: &[],
    }
}

/// For 100,000 connections with both their sockets on this machine.
const MANY_SOCKETS: &[&str] = &["--max-sockets", "262144"];

pub(crate) const LOADS: &[Load] = &[
    Load {
        is_alone: true,
        ..load(
            "churn",
            "connections",
            "connect, accept, close both ends, on one thread",
        )
    },
    Load {
        is_alone: true,
        ..load(
            "trickle",
            "connections",
            "the same once a millisecond: what a tracer takes whose time goes by, not its events",
        )
    },
    load(
        "churn-all",
        "connections",
        "the same on as many threads as there are processors",
    ),
    Load {
        is_alone: true,
        ..load(
            "redis",
            "requests",
            "redis-benchmark, 50 connections that stay open, GET",
        )
    },
    Load {
        is_alone: true,
        ..load(
            "nginx",
            "requests",
            "wrk against nginx, 32 connections that stay open",
        )
    },
    Load {
        is_alone: true,
        ..load(
            "emfile",
            "accepts",
            "an accept loop without a descriptor to spare: EMFILE each time",
        )
    },
    load(
        "lossy",
        "transfers",
        "256 KiB over each of 16 connections, again and again, while a segment in a hundred is dropped",
    ),
    Load {
        options: MANY_SOCKETS,
        ..load(
            "idle",
            "connections",
            "100,000 connections that stay open and do nothing, both their sockets on this machine",
        )
    },
    Load {
        is_alone: true,
        options: MANY_SOCKETS,
        ..load(
            "crowd",
            "connections",
            "churn on one thread while 100,000 connections, opened before the tracer started, do nothing",
        )
    },
    Load {
        is_alone: true,
        ..load(
            "processes",
            "processes",
            "a process is forked, connects, is accepted, and ends",
        )
    },
    Load {
        is_alone: true,
        ..load("syscall", "calls", "getppid in a loop")
    },
];

/// A load that has set itself up.
pub(crate) struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Inode number of its network namespace.
    pub(crate) netns: u64,
}

/// The kernel's counters of a load's namespace, by the names of `nstat`.
pub(crate) type Counters = BTreeMap<String, u64>;

/// What a load says of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Work {
    pub(crate) done: u64,
    pub(crate) seconds: f64,
    /// Processor time of all that takes part.
    pub(crate) cpu_seconds: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
}

impl Running {
    /// Starts a load and waits until it is set up.
    pub(crate) fn start(program: &Path, load: &Load) -> Result<Self> {
        let mut command = if load.is_alone {
            pinned("0", program)
        } else {
            Command::new(program)
        };
        let mut child = command
            .arg(load.name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the load has no pipes");
        };
        let mut running = Self {
            child,
            input,
            output: BufReader::new(output),
            netns: 0,
        };
        let ready = running.hear()?;
        let netns = ready.strip_prefix("ready ").map(str::parse);
        running.netns = match netns {
            Some(Ok(netns)) => netns,
            _ => bail!("the load {} says `{ready}`", load.name),
        };
        Ok(running)
    }

    /// Makes it open and close a few connections, without waiting for them.
    pub(crate) fn warm(&mut self) -> Result<()> {
        self.say("warm")
    }

    /// Makes it work for about so long, and waits for the end.
    pub(crate) fn run(&mut self, seconds: f64) -> Result<Work> {
        self.say(&format!("run {seconds}"))?;
        let answer = self.hear()?;
        serde_json::from_str(&answer).with_context(|| format!("the load says `{answer}`"))
    }

    /// Waits until all its connections have ended, and reads the kernel's counters.
    pub(crate) fn counters(&mut self) -> Result<Counters> {
        self.say("counters")?;
        let answer = self.hear()?;
        serde_json::from_str(&answer).with_context(|| format!("the load says `{answer}`"))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn say(&mut self, command: &str) -> Result<()> {
        writeln!(self.input, "{command}").context("the load has ended; its message is above")
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the load has ended; its message is above");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Lets it end, with all that it has open.
    pub(crate) fn end(self) -> Result<()> {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        child.wait()?;
        Ok(())
    }
}

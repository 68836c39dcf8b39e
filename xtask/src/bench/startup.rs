//! How long tcptrace takes from its start to the first event it shows.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{load, measure::Bench};

impl Bench {
    /// Seconds from the start to the first event, while connections are made all the time.
    pub(crate) fn startup(&self) -> Result<f64> {
        let mut running = load::Running::start(&self.load, &load::LOADS[0])?;
        let is_over = AtomicBool::new(false);
        let seconds = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && running.warm().is_ok() {
                    thread::sleep(Duration::from_millis(2));
                }
            });
            let seconds = self.until_the_first_event();
            is_over.store(true, Ordering::Relaxed);
            seconds
        });
        running.end()?;
        seconds
    }

    fn until_the_first_event(&self) -> Result<f64> {
        let start = Instant::now();
        let mut child = Command::new(&self.tcptrace)
            .args(["watch", "--format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run tcptrace")?;
        let output = BufReader::new(child.stdout.take().context("no pipe")?);
        // The first line is no event.
        let line = output.lines().nth(1);
        let seconds = start.elapsed().as_secs_f64();
        child.kill()?;
        child.wait()?;
        match line {
            Some(Ok(_)) => Ok(seconds),
            _ => bail!("tcptrace showed no event"),
        }
    }
}

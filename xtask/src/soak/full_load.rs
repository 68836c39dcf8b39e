//! Full load, with nothing lost, memory flat, and totals equal to the kernel's.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::bench::{
    load::{Counters, Load, Running, Work, load},
    process::Memory,
    tracer::Tracer,
};

/// All at once. The tracer has no processor to itself.
const LOADS: [Load; 4] = [
    load(
        "churn-all",
        "connections",
        "connect, accept, close on all processors",
    ),
    load(
        "overflow",
        "connections",
        "the same on one thread, with a time-wait table for 50",
    ),
    load(
        "lossy",
        "transfers",
        "transfers while a segment in a hundred is dropped",
    ),
    load(
        "emfile",
        "accepts",
        "an accept loop without a descriptor to spare",
    ),
];
const CHURN: usize = 0;
const OVERFLOW: usize = 1;
const LOSSY: usize = 2;
const EMFILE: usize = 3;

/// Samples of memory.
const SAMPLES: u32 = 20;
/// How much the second half of the samples may be above the first: buffers that were not filled before.
const GROWTH: u64 = 2 << 20;

/// Traces the load `program` with `tcptrace` for so long.
pub(super) fn run(tcptrace: &Path, program: &Path, duration: Duration) -> Result<()> {
    let mut loads = LOADS
        .iter()
        .map(|load| Running::start(program, load))
        .collect::<Result<Vec<_>>>()?;
    let before = counters(&mut loads)?;
    let mut command = Command::new(tcptrace);
    command.args(["watch", "--format", "json"]);
    for load in &loads {
        command.args(["--netns", &load.netns.to_string()]);
    }
    let mut tracer = Tracer::start(&mut command, Stdio::piped())?;
    let output = tracer.output()?;
    let said = Said::default();
    let outcome = thread::scope(|scope| {
        let reader = scope.spawn(|| said.read(output));
        said.wait_for_the_start()?;
        let (work, memory) = work(&mut loads, &tracer, &said, duration)?;
        let after = counters(&mut loads)?;
        tracer.drain()?;
        tracer.end()?;
        let end = reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader failed"))??;
        Ok::<_, anyhow::Error>((work, memory, after, end))
    });
    let (work, memory, after, end) = outcome?;
    let pids: Vec<u32> = loads.iter().map(Running::pid).collect();
    for load in loads {
        load.end()?;
    }

    let grown = |load: usize, name: &str| after[load][name] - before[load][name];
    let totals = Totals { end: &end, pids };
    let opened = |load| grown(load, "TcpActiveOpens") + grown(load, "TcpPassiveOpens");
    let retransmitted: u64 = (0..EMFILE).map(|load| grown(load, "TcpRetransSegs")).sum();
    let skipped = totals.hooks("/skipped");
    println!("\n{skipped} runs of programs skipped by the kernel");
    let mut checks = vec![
        (
            "events lost for want of room in a ring",
            0,
            totals.hooks("/lost/ring_full"),
        ),
        (
            "events lost for want of room in a map",
            0,
            totals.hooks("/lost/map_full"),
        ),
        (
            "lines of events",
            totals.events(),
            said.lines.load(Ordering::Relaxed) - 2,
        ),
        (
            "segments retransmitted",
            retransmitted,
            totals.all("retransmit_segs"),
        ),
        // Those whose run was skipped are in no process's total, but in an event at the end.
        (
            "time-wait overflows",
            grown(OVERFLOW, "TcpExtTCPTimeWaitOverflow"),
            said.overflows.load(Ordering::Relaxed),
        ),
        (
            "calls without a descriptor",
            work[EMFILE].done,
            totals.of(EMFILE, "fd_exhausted"),
        ),
    ];
    let connections =
        [CHURN, OVERFLOW, LOSSY].map(|load| (opened(load), totals.of(load, "connections")));
    if skipped == 0 {
        checks.extend(connections.map(|(kernel, ours)| ("ends of connections", kernel, ours)));
    } else if let Some((kernel, ours)) = connections
        .iter()
        .find(|(kernel, ours)| ours > kernel || ours + skipped < *kernel)
    {
        bail!("{ours} ends of connections, the kernel opened {kernel} and skipped {skipped} runs");
    }
    let mut wrong = 0;
    for (what, expected, found) in checks {
        let verdict = if expected == found {
            "as it must be"
        } else {
            "WRONG"
        };
        wrong += u32::from(expected != found);
        println!("{what:<42} {expected:>14} {found:>14}  {verdict}");
    }
    if !is_flat(&memory) {
        println!("memory is not flat");
        wrong += 1;
    }
    if wrong > 0 {
        bail!("{wrong} things are not as they must be");
    }
    Ok(())
}

/// The counters of the loads that can be at rest: the last one has a connection that waits.
fn counters(loads: &mut [Running]) -> Result<Vec<Counters>> {
    loads[..EMFILE].iter_mut().map(Running::counters).collect()
}

/// Lets all loads work at once, and samples the tracer's memory meanwhile.
fn work(
    loads: &mut [Running],
    tracer: &Tracer,
    said: &Said,
    time: Duration,
) -> Result<(Vec<Work>, Vec<Memory>)> {
    let start = Instant::now();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = loads
            .iter_mut()
            .map(|load| scope.spawn(move || load.run(time.as_secs_f64())))
            .collect();
        let sampler = scope.spawn(|| {
            println!(
                "{:>8} {:>14} {:>13} {:>10} {:>10}",
                "seconds", "events", "resident KiB", "rings KiB", "maps KiB"
            );
            let mut samples = vec![];
            for sample in 1..=SAMPLES {
                let at = start + time * sample / (SAMPLES + 1);
                while Instant::now() < at && !is_over.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(50));
                }
                let memory = tracer.process().memory()?;
                println!(
                    "{:>8.0} {:>14} {:>13} {:>10} {:>10}",
                    start.elapsed().as_secs_f64(),
                    said.lines.load(Ordering::Relaxed),
                    memory.resident >> 10,
                    memory.rings >> 10,
                    memory.maps >> 10
                );
                samples.push(memory);
            }
            Ok::<_, anyhow::Error>(samples)
        });
        let work: Result<Vec<_>> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a load's thread failed"))?
            })
            .collect();
        is_over.store(true, Ordering::Relaxed);
        let samples = sampler
            .join()
            .map_err(|_| anyhow::anyhow!("the sampler failed"))??;
        Ok((work?, samples))
    })
}

/// Whether the second half of the samples is no higher than the first.
fn is_flat(samples: &[Memory]) -> bool {
    let (first, second) = samples.split_at(samples.len() / 2);
    let most = |samples: &[Memory]| {
        let sizes = samples
            .iter()
            .map(|memory| memory.resident + memory.rings + memory.maps);
        sizes.max().unwrap_or(0)
    };
    most(second) <= most(first) + GROWTH
}

/// What the tracer writes: lines and overflows are counted, and the last line is kept.
#[derive(Default)]
struct Said {
    lines: AtomicU64,
    overflows: AtomicU64,
    is_over: AtomicBool,
}

impl Said {
    /// Reads to the end and returns the last line.
    fn read(&self, output: impl Read) -> Result<Value> {
        let mut output = BufReader::with_capacity(1 << 20, output);
        let (mut line, mut last) = (vec![], vec![]);
        while output.read_until(b'\n', &mut line)? > 0 {
            self.lines.fetch_add(1, Ordering::Relaxed);
            if is_overflow(&line) {
                let event: Value = serde_json::from_slice(&line).context("a line of tcptrace")?;
                let count = event["count"].as_u64().context("an overflow's count")?;
                self.overflows.fetch_add(count, Ordering::Relaxed);
            }
            std::mem::swap(&mut line, &mut last);
            line.clear();
        }
        self.is_over.store(true, Ordering::Relaxed);
        serde_json::from_slice(&last).context("the last line of tcptrace")
    }

    fn wait_for_the_start(&self) -> Result<()> {
        while self.lines.load(Ordering::Relaxed) == 0 {
            if self.is_over.load(Ordering::Relaxed) {
                bail!("tcptrace ended at once");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Whether a line is such an event: its kind stands second, behind the time.
fn is_overflow(line: &[u8]) -> bool {
    const KIND: &[u8] = br#""event":"time_wait_overflow""#;
    let head = &line[..line.len().min(80)];
    head.windows(KIND.len()).any(|window| window == KIND)
}

/// The last line's totals.
struct Totals<'a> {
    end: &'a Value,
    pids: Vec<u32>,
}

impl Totals<'_> {
    fn rows(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.end[name].as_array().into_iter().flatten()
    }

    /// The sum over all processes.
    fn all(&self, total: &str) -> u64 {
        self.rows("processes")
            .filter_map(|row| row[total].as_u64())
            .sum()
    }

    /// Of a load's process.
    fn of(&self, load: usize, total: &str) -> u64 {
        let mut rows = self
            .rows("processes")
            .filter(|row| row["pid"] == self.pids[load]);
        rows.next().and_then(|row| row[total].as_u64()).unwrap_or(0)
    }

    /// The sum of a counter over all hooks.
    fn hooks(&self, pointer: &str) -> u64 {
        self.rows("hooks")
            .filter_map(|row| row.pointer(pointer)?.as_u64())
            .sum()
    }

    /// Events of all kinds.
    fn events(&self) -> u64 {
        let kinds = self.end["events"].as_object().into_iter().flatten();
        kinds.filter_map(|(_, count)| count.as_u64()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(resident: u64) -> Memory {
        Memory {
            resident,
            rings: 0,
            maps: 0,
        }
    }

    #[test]
    fn an_overflow_is_told_by_its_kind() {
        let line = |kind| {
            format!(r#"{{"ts":"2026-11-27T00:21:19.593451351Z","event":"{kind}","conn_id":1}}"#)
        };
        assert!(is_overflow(line("time_wait_overflow").as_bytes()));
        assert!(!is_overflow(line("state").as_bytes()));
        assert!(!is_overflow(b"{}"));
    }

    #[test]
    fn memory_that_grows_on_and_on_is_not_flat() {
        let samples = |step: u64| {
            (0..20)
                .map(|at| memory((10 << 20) + at * step))
                .collect::<Vec<_>>()
        };
        assert!(is_flat(&samples(0)));
        assert!(is_flat(&samples(100 << 10)));
        assert!(!is_flat(&samples(1 << 20)));
    }
}

//! One measurement: one load under one variant.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    load::{self, Load, Work},
    on_the_others,
    process::{Cpu, Memory, Program},
    programs::{self, Runs},
    summary::Summary,
    tracer::Tracer,
    variant::Variant,
};

/// The programs under test.
pub(crate) struct Bench {
    pub(crate) tcptrace: PathBuf,
    pub(crate) load: PathBuf,
    /// Where `record` puts what it records.
    pub(crate) trace_file: PathBuf,
    /// How long a load works, seconds.
    pub(crate) seconds: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) load: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) round: usize,
    #[serde(flatten)]
    pub(crate) work: Work,
    /// None for the baseline.
    pub(crate) tracer: Option<Cost>,
}

/// What the tracer took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    /// From the load's first work until all of its connections are closed and read.
    pub(crate) cpu: Cpu,
    /// While the load still has its connections.
    pub(crate) memory: Memory,
    /// Runs of its programs that the kernel left out.
    pub(crate) skipped: u64,
    /// Its own count; null for another tracer.
    pub(crate) summary: Option<Summary>,
    /// From a key until what it asks for was drawn, each time, seconds; of one that is typed to.
    pub(crate) key_seconds: Vec<f64>,
    /// The trace file, of one that leaves one.
    pub(crate) file: Option<TraceFile>,
}

/// A trace file.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TraceFile {
    pub(crate) bytes: u64,
    /// How long `tcptrace report` took to decode and aggregate it, its own start and end included.
    pub(crate) report_seconds: f64,
}

impl Bench {
    /// Measures once.
    pub(crate) fn measure(
        &self,
        load: &'static Load,
        variant: &'static Variant,
        round: usize,
    ) -> Result<Measurement> {
        let mut running = load::Running::start(&self.load, load)?;
        let Some(mut tracer) = self.trace(load, variant, &mut running)? else {
            let work = running.run(self.seconds)?;
            running.end()?;
            return Ok(Measurement {
                load: load.name,
                variant: variant.name,
                round,
                work,
                tracer: None,
            });
        };
        let process = tracer.process();
        let (clock, before) = (process.clock()?, process.programs()?);
        let (work, key_seconds) = if variant.is_typed_to() {
            tracer.typed_to(|| running.run(self.seconds))?
        } else {
            (running.run(self.seconds)?, vec![])
        };
        tracer.drain()?;
        let memory = process.memory()?;
        let sum = |programs: &[Program]| programs.iter().map(|it| it.skipped).sum::<u64>();
        let skipped = sum(&process.programs()?) - sum(&before);
        // Closing what the load has open is work for the tracer, too.
        running.end()?;
        tracer.drain()?;
        let cpu = process.clock()?.since(clock);
        let (output, said) = tracer.end()?;
        let summary = variant.summary(&output, &said)?;
        let file = if variant.is_recording() {
            Some(self.read_back()?)
        } else {
            None
        };
        Ok(Measurement {
            load: load.name,
            variant: variant.name,
            round,
            work,
            tracer: Some(Cost {
                cpu,
                memory,
                skipped,
                summary,
                key_seconds,
                file,
            }),
        })
    }

    /// Reports on the trace file.
    fn read_back(&self) -> Result<TraceFile> {
        let start = Instant::now();
        let status = Command::new(&self.tcptrace)
            .args(["report", "--format", "json", "--from"])
            .arg(&self.trace_file)
            .stdout(Stdio::null())
            .status()?;
        let report_seconds = start.elapsed().as_secs_f64();
        ensure!(status.success(), "the trace file cannot be reported on");
        Ok(TraceFile {
            bytes: fs::metadata(&self.trace_file)?.len(),
            report_seconds,
        })
    }

    /// The runs of each kernel program while the load works, and the work that was done.
    pub(crate) fn programs(
        &self,
        load: &'static Load,
        variant: &'static Variant,
    ) -> Result<Option<(Work, Vec<Runs>)>> {
        let mut running = load::Running::start(&self.load, load)?;
        let Some(tracer) = self.trace(load, variant, &mut running)? else {
            return Ok(None);
        };
        let names = programs::names()?;
        let enabled = programs::enable()?;
        let before = tracer.process().programs()?;
        let work = running.run(self.seconds)?;
        let after = tracer.process().programs()?;
        drop(enabled);
        running.end()?;
        tracer.end()?;
        Ok(Some((work, programs::between(&before, &after, &names))))
    }

    /// Starts the tracer, and waits until it is attached.
    fn trace(
        &self,
        load: &Load,
        variant: &Variant,
        running: &mut load::Running,
    ) -> Result<Option<Tracer>> {
        let Some((program, arguments)) = variant.command(self, load) else {
            return Ok(None);
        };
        let mut command = if load.is_alone {
            on_the_others(program)
        } else {
            Command::new(program)
        };
        command.args(arguments);
        if variant.is_silent() {
            let tracer = Tracer::start(&mut command, Stdio::piped())?;
            tracer.wait_until_it_rests()?;
            return Ok(Some(tracer));
        }
        let mut tracer = if variant.is_on_a_terminal() {
            Tracer::start_on_a_terminal(&mut command)?
        } else {
            Tracer::start(&mut command, Stdio::null())?
        };
        tracer.wait_until_it_shows(running)?;
        Ok(Some(tracer))
    }
}

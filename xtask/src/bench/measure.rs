//! One measurement: one load under one variant.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Result;
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
        let Some(mut tracer) = self.trace(load, variant)? else {
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
        tracer.wait_until_it_shows(&mut running)?;
        let process = tracer.process();
        let (clock, before) = (process.clock()?, process.programs()?);
        let work = running.run(self.seconds)?;
        tracer.drain()?;
        let memory = process.memory()?;
        let sum = |programs: &[Program]| programs.iter().map(|it| it.skipped).sum::<u64>();
        let skipped = sum(&process.programs()?) - sum(&before);
        // Closing what the load has open is work for the tracer, too.
        running.end()?;
        tracer.drain()?;
        let cpu = process.clock()?.since(clock);
        let said = tracer.end()?;
        let summary = variant
            .is_tcptrace()
            .then(|| Summary::read(&said))
            .transpose()?;
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
            }),
        })
    }

    /// The runs of each kernel program while the load works, and the work that was done.
    pub(crate) fn programs(
        &self,
        load: &'static Load,
        variant: &'static Variant,
    ) -> Result<Option<(Work, Vec<Runs>)>> {
        let mut running = load::Running::start(&self.load, load)?;
        let Some(mut tracer) = self.trace(load, variant)? else {
            return Ok(None);
        };
        tracer.wait_until_it_shows(&mut running)?;
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

    fn trace(&self, load: &Load, variant: &Variant) -> Result<Option<Tracer>> {
        let Some((program, arguments)) = variant.command(&self.tcptrace, load) else {
            return Ok(None);
        };
        let mut command = if load.is_alone {
            on_the_others(program)
        } else {
            Command::new(program)
        };
        Tracer::start(command.args(arguments), Stdio::null()).map(Some)
    }
}

//! Everything that a run measured, and the numbers that are taken from several rounds.

use serde::Serialize;

use super::{
    load::Work,
    machine::Machine,
    measure::{Cost, Measurement},
    programs::Runs,
    spread::Spread,
    variant::UNTRACED,
};

/// A run's results, as in its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    /// How long a load worked each time.
    pub(crate) seconds: f64,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) programs: Vec<Programs>,
    /// Seconds from the start of tcptrace to its first event, in each round.
    pub(crate) startup_seconds: Vec<f64>,
}

/// What a variant's kernel programs did under a load.
#[derive(Debug, Serialize)]
pub(crate) struct Programs {
    pub(crate) load: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) work: Work,
    pub(crate) runs: Vec<Runs>,
}

impl Results {
    /// The rounds of a variant under a load.
    pub(crate) fn of(&self, load: &str, variant: &str) -> impl Iterator<Item = &Measurement> {
        self.measurements
            .iter()
            .filter(move |it| it.load == load && it.variant == variant)
    }

    /// A number of the load's.
    pub(crate) fn work(
        &self,
        load: &str,
        variant: &str,
        number: impl Fn(&Work) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.of(load, variant).filter_map(|it| number(&it.work)))
    }

    /// A number of the tracer's.
    pub(crate) fn cost(
        &self,
        load: &str,
        variant: &str,
        number: impl Fn(&Measurement, &Cost) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(
            self.of(load, variant)
                .filter_map(|it| number(it, it.tracer.as_ref()?)),
        )
    }

    /// How a number compares with that of the same round without a tracer.
    pub(crate) fn compared(
        &self,
        load: &str,
        variant: &str,
        number: impl Fn(&Work) -> Option<f64>,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.of(load, variant).filter_map(|it| {
            let base = self
                .of(load, UNTRACED)
                .find(|base| base.round == it.round)?;
            Some(compare(number(&it.work)?, number(&base.work)?))
        }))
    }

    /// Processor time of one tracer less that of another, of the same round, ns for each event of the first.
    pub(crate) fn ns_more_per_event(
        &self,
        load: &str,
        variant: &str,
        than: &str,
    ) -> Option<Spread> {
        let for_each = |it: &Measurement| {
            let cpu = it.tracer.as_ref()?.cpu;
            Some((cpu.user + cpu.system) * 1e9 / it.work.done as f64)
        };
        Spread::of(self.of(load, variant).filter_map(|it| {
            let other = self.of(load, than).find(|other| other.round == it.round)?;
            let events = it.tracer.as_ref()?.many_events()? / it.work.done as f64;
            Some((for_each(it)? - for_each(other)?) / events)
        }))
    }

    /// The largest of a number over the rounds.
    pub(crate) fn most(
        &self,
        load: &str,
        variant: &str,
        number: impl Fn(&Cost) -> Option<u64>,
    ) -> Option<u64> {
        self.of(load, variant)
            .filter_map(|it| number(it.tracer.as_ref()?))
            .max()
    }
}

impl Work {
    /// Pieces of work in a second.
    pub(crate) fn rate(&self) -> Option<f64> {
        Some(self.done as f64 / self.seconds)
    }

    /// Pieces of work in a second of the load's own processor time: what other work of the machine does not change.
    pub(crate) fn rate_by_cpu(&self) -> Option<f64> {
        Some(self.done as f64 / self.cpu_seconds)
    }
}

impl Cost {
    /// Events that it showed, where they are so many that the rest does not count.
    fn many_events(&self) -> Option<f64> {
        const MANY: u64 = 20_000;
        let events = self.summary.as_ref()?.total();
        (events >= MANY).then_some(events as f64)
    }

    /// Processor time in the program, ns, for each event.
    pub(crate) fn user_ns_per_event(&self) -> Option<f64> {
        Some(self.cpu.user * 1e9 / self.many_events()?)
    }

    /// Of the trace file.
    pub(crate) fn bytes_per_event(&self) -> Option<f64> {
        Some(self.file?.bytes as f64 / self.many_events()?)
    }

    /// How fast the trace file was decoded and aggregated.
    pub(crate) fn events_per_second(&self) -> Option<f64> {
        Some(self.many_events()? / self.file?.report_seconds)
    }
}

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

    /// Processor time of one tracer less that of another, of the same round, as a share of a processor, when the first showed `rate`
    /// events a second.
    ///
    /// Some of what it takes goes with its events and some with time alone, as a frame takes what it takes however many events came. So
    /// each tracer's share is a straight line, through what it took under two loads, a calm and a busy one, of the same events at
    /// different rates; and the two lines are compared at `rate`.
    pub(crate) fn share_more_at(
        &self,
        rate: f64,
        [calm, busy]: [&str; 2],
        variant: &str,
        than: &str,
    ) -> Option<Spread> {
        // A report does not count transitions, so the line is over pieces of work.
        let point = |load, variant, round| {
            let it = self.of(load, variant).find(|it| it.round == round)?;
            let cpu = it.tracer.as_ref()?.cpu;
            Some((it.work.rate()?, (cpu.user + cpu.system) / it.work.seconds))
        };
        Spread::of(self.of(busy, variant).filter_map(|it| {
            let events = it.tracer.as_ref()?.many_events()? / it.work.done as f64;
            let share = |variant| {
                let points = [
                    point(calm, variant, it.round)?,
                    point(busy, variant, it.round)?,
                ];
                Some(on_the_line(points, rate / events))
            };
            Some(share(variant)? - share(than)?)
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

/// Where the straight line through two points is at `x`.
fn on_the_line([(x0, y0), (x1, y1)]: [(f64, f64); 2], x: f64) -> f64 {
    y0 + (y1 - y0) / (x1 - x0) * (x - x0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_time_does_not_grow_with_events() {
        // A hundredth for its frames, and as much for each 10,000 events.
        let share = |events: f64| 0.01 + events * 1e-6;
        let points = [1_000.0, 20_000.0].map(|events| (events, share(events)));
        assert!((on_the_line(points, 500_000.0) - share(500_000.0)).abs() < 1e-9);
    }
}

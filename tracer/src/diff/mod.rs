//! `tcptrace diff`: what changed from one run, or several, to another.

mod document;
pub mod noise;
mod run;

use std::collections::BTreeSet;

use serde::Serialize;

use self::noise::{Verdict, is_slower_or_faster, judge};
pub use self::run::{By, Per, Run, Subject, Told};
use crate::{check::quantile::Quantile, measure::Measure, trace::frame::SCHEMA};

/// Quantiles of times that are compared.
const QUANTILES: [Quantile; 2] = [Quantile(0.5), Quantile(0.99)];

/// What changed, what matters most first.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md documents the fields")]
pub struct Diff {
    pub schema: u32,
    pub by: By,
    pub per: Per,
    pub base: Vec<Told>,
    pub new: Told,
    pub counts: Vec<Count>,
    pub times: Vec<Times>,
}

/// A count in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md documents the fields")]
pub struct Count {
    pub verdict: Verdict,
    pub direction: Direction,
    pub program: String,
    pub service: Option<String>,
    pub measure: Measure,
    pub base: Vec<u64>,
    pub new: u64,
    pub expected: f64,
    pub noise: f64,
}

/// A program's quantile of times in both, us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md documents the fields")]
pub struct Times {
    pub verdict: Verdict,
    pub direction: Direction,
    pub program: String,
    pub time: &'static str,
    pub quantile: String,
    pub base: Vec<Option<u64>>,
    pub new: Option<u64>,
}

/// Whether it is for the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More trouble, or slower.
    Worse,
    /// Less trouble, or faster.
    Better,
    /// More connections.
    More,
    /// Fewer connections.
    Fewer,
    /// As it was.
    Same,
}

impl Direction {
    const fn of(is_trouble: bool, is_more: bool) -> Self {
        match (is_trouble, is_more) {
            (true, true) => Self::Worse,
            (true, false) => Self::Better,
            (false, true) => Self::More,
            (false, false) => Self::Fewer,
        }
    }
}

impl Count {
    /// How far the difference is beyond what chance explains: 1 is the edge.
    fn distance(&self) -> f64 {
        (self.new as f64 - self.expected).abs() / self.noise.max(f64::MIN_POSITIVE)
    }
}

impl Diff {
    /// Compares a run with base runs.
    #[must_use]
    pub fn of(bases: &[Run], new: &Run, by: By, per: Per) -> Self {
        Self {
            schema: SCHEMA,
            by,
            per,
            base: bases.iter().map(|base| base.told.clone()).collect(),
            new: new.told.clone(),
            counts: counts(bases, new, per),
            times: times(bases, new),
        }
    }
}

fn counts(bases: &[Run], new: &Run, per: Per) -> Vec<Count> {
    let keys: BTreeSet<&(Subject, Measure)> = bases
        .iter()
        .chain([new])
        .flat_map(|run| run.counts.keys())
        .collect();
    let mut counts: Vec<Count> = keys
        .into_iter()
        .map(|(subject, measure)| {
            let exposure = new.exposure(subject, per);
            let base: Vec<u64> = bases
                .iter()
                .map(|base| base.count(subject, *measure))
                .collect();
            let comparable: Vec<f64> = bases
                .iter()
                .zip(&base)
                .map(|(base, count)| *count as f64 * exposure / base.exposure(subject, per))
                .collect();
            let now = new.count(subject, *measure);
            let judged = judge(&comparable, now as f64);
            let direction = match judged.verdict {
                Verdict::Noise => Direction::Same,
                _ => Direction::of(measure.kind.is_trouble(), now as f64 > judged.expected),
            };
            Count {
                verdict: judged.verdict,
                direction,
                program: subject.program.clone(),
                service: subject.service.clone(),
                measure: *measure,
                base,
                new: now,
                expected: judged.expected,
                noise: judged.noise,
            }
        })
        .collect();
    counts.sort_by(|one, other| {
        let rank = |count: &Count| (count.verdict, count.direction);
        rank(one)
            .cmp(&rank(other))
            .then(other.distance().total_cmp(&one.distance()))
    });
    counts
}

fn times(bases: &[Run], new: &Run) -> Vec<Times> {
    let mut times = Vec::new();
    for (program, latency) in &new.programs {
        let theirs: Vec<_> = bases
            .iter()
            .map(|base| base.programs.get(program))
            .collect();
        for (time, of) in [
            (
                "connect_us",
                (|latency| &latency.connect_us) as fn(&crate::aggregate::Latency) -> &_,
            ),
            ("duration_us", |latency| &latency.duration_us),
        ] {
            let histograms: Vec<_> = theirs.iter().flatten().map(|latency| of(latency)).collect();
            for quantile in QUANTILES {
                let at = |histogram: &hdrhistogram::Histogram<u64>| {
                    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile.0))
                };
                let (base, now): (Vec<_>, _) = (
                    theirs
                        .iter()
                        .map(|latency| latency.and_then(|latency| at(of(latency))))
                        .collect(),
                    at(of(latency)),
                );
                if now.is_none() || base.iter().all(Option::is_none) {
                    continue;
                }
                let is_changed = is_slower_or_faster(&histograms, of(latency), quantile.0);
                times.push(Times {
                    verdict: if is_changed {
                        Verdict::Changed
                    } else {
                        Verdict::Noise
                    },
                    direction: match is_changed {
                        true => Direction::of(true, now > base.iter().flatten().max().copied()),
                        false => Direction::Same,
                    },
                    program: program.clone(),
                    time,
                    quantile: quantile.to_string(),
                    base,
                    new: now,
                });
            }
        }
    }
    times.sort_by_key(|times| (times.verdict, times.direction));
    times
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use tracer_common::record::Cause;

    use super::*;
    use crate::{
        aggregate::{
            Aggregate,
            sample::{Sample, connection, exhausted, retransmit, sample},
        },
        document::{markdown, text},
        event::Role,
    };

    fn run(file: &str, aggregate: Aggregate) -> Run {
        Run::of(file.to_owned(), aggregate, None, By::Program)
    }

    /// The same work once more: other pids, other ports, another time; with `more` trouble.
    fn again(pid: u32, more: u32) -> Aggregate {
        let mut sample = Sample::new();
        let worker = sample.process(pid, "worker");
        for second in 0..40 {
            let end = tracer_common::record::End::ClosedLocal;
            sample.event(
                u64::from(pid) + second,
                Some(&worker),
                Role::Active,
                connection(end, None, 1, 300 + second),
            );
            sample.event(
                u64::from(pid) + second,
                Some(&worker),
                Role::Active,
                retransmit(Cause::Fast, 1 + more, 5),
            );
        }
        if more > 0 {
            sample.event(60, Some(&worker), Role::Active, exhausted(288, 4));
        }
        sample.end(60)
    }

    #[test]
    fn the_same_work_has_no_change() {
        let diff = Diff::of(
            &[run("a", again(5, 0))],
            &run("b", again(90, 0)),
            By::Program,
            Per::Run,
        );
        assert!(
            diff.counts
                .iter()
                .all(|count| count.verdict == Verdict::Noise),
            "{diff:#?}"
        );
        assert!(
            diff.times
                .iter()
                .all(|times| times.verdict == Verdict::Noise),
            "{diff:#?}"
        );
        let told = text::render(&diff.document(10), Some(80));
        assert!(told.contains("Nothing changed beyond chance."), "{told}");
    }

    #[test]
    fn what_matters_most_comes_first() {
        let bases = [
            run("base-1", again(5, 0)),
            run("base-2", again(6, 0)),
            run("base-3", again(7, 0)),
        ];
        let diff = Diff::of(&bases, &run("new", again(90, 3)), By::Program, Per::Run);
        let changed: Vec<String> = diff
            .counts
            .iter()
            .filter(|count| count.verdict == Verdict::Changed)
            .map(|count| {
                format!(
                    "{:?} {} {:?} {} {:?} {}",
                    count.direction,
                    count.program,
                    count.service,
                    count.measure,
                    count.base,
                    count.new
                )
            })
            .collect();
        assert_eq!(
            changed,
            [
                "Worse worker None retransmits [40, 40, 40] 160",
                "Worse worker None retransmits:fast [40, 40, 40] 160",
                "Worse worker Some(\"10.0.0.2:6379\") retransmits [40, 40, 40] 160",
            ]
        );
        assert_snapshot!("text", text::render(&diff.document(10), Some(80)));
        assert_snapshot!("markdown", markdown::render(&diff.document(10)));
    }

    #[test]
    fn json() {
        let diff = Diff::of(
            &[run("a", sample().end(10))],
            &run("b", again(90, 1)),
            By::Program,
            Per::Second,
        );
        assert_snapshot!(serde_json::to_string_pretty(&diff).unwrap());
    }

    #[test]
    fn rates_make_a_short_run_comparable_with_a_long_one() {
        let mut short = Sample::new();
        let worker = short.process(1, "worker");
        for second in 0..10 {
            short.event(
                second,
                Some(&worker),
                Role::Active,
                retransmit(Cause::Fast, 1, 5),
            );
        }
        let (long, short) = (run("a", again(5, 0)), run("b", short.end(15)));
        let of = |per| {
            let diff = Diff::of(std::slice::from_ref(&long), &short, By::Program, per);
            let count = diff
                .counts
                .into_iter()
                .find(|count| count.measure.to_string() == "retransmits");
            count.unwrap().verdict
        };
        assert_eq!(of(Per::Run), Verdict::Changed);
        assert_eq!(of(Per::Second), Verdict::Noise);
    }

    #[test]
    fn programs_can_be_put_together_by_unit() {
        let run = Run::of(String::new(), again(5, 0), None, By::Unit);
        assert!(
            run.counts
                .keys()
                .all(|(subject, _)| subject.program == "worker.service"),
            "{run:?}"
        );
    }
}

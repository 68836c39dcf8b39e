//! A report's charts.

use crate::{
    aggregate::{Aggregate, COUNTED_STATES, Counts, Process},
    document::{
        chart::{Axis, Bar, Bars, Chart, LINES, Line, Lines},
        number,
    },
};

use super::who::{Who, most};

/// Bars of a distribution: each twice as far from zero as the one before, in so many parts.
const PARTS: u32 = 4;

fn axis(aggregate: &Aggregate, width: u64) -> Axis {
    let last = aggregate.now.second();
    let first = aggregate
        .start
        .as_ref()
        .map_or(last, |start| start.ts.second());
    Axis::new(first.min(last), last, width)
}

/// How often something happened, by process: those with most of it, and the rest as one line.
pub(super) fn rates(aggregate: &Aggregate, title: &str, of: impl Fn(&Counts) -> u64) -> Chart {
    let number = |process: &Process| process.series.iter().map(|(_, counts)| of(counts)).sum();
    let processes = most(aggregate, number);
    let width = aggregate.series.width();
    let axis = axis(aggregate, width);
    let line = |process: &Process| {
        axis.rates(
            process
                .series
                .iter()
                .map(|(second, counts)| (second, of(counts))),
        )
    };
    let shown = if processes.len() > LINES {
        LINES - 1
    } else {
        LINES
    };
    let mut lines: Vec<Line> = processes
        .iter()
        .take(shown)
        .map(|(process, _)| Line {
            name: Who::of(process.who.as_ref()).name(),
            points: line(process),
        })
        .collect();
    let rest: Vec<Vec<f64>> = processes
        .iter()
        .skip(shown)
        .map(|(process, _)| line(process))
        .collect();
    if let Some(first) = rest.first() {
        let sum = (0..first.len()).map(|at| rest.iter().filter_map(|line| line.get(at)).sum());
        lines.push(Line {
            name: format!("{} others", rest.len()),
            points: sum.collect(),
        });
    }
    Chart::Lines(Lines {
        title: title.to_owned(),
        step: axis.step(),
        lines,
        is_stacked: false,
    })
}

/// Sockets in each state; nothing in a trace without state changes.
pub(super) fn states(aggregate: &Aggregate) -> Chart {
    let axis = axis(aggregate, 1);
    let lines = COUNTED_STATES.map(|state| Line {
        name: state.name().to_owned(),
        points: axis.levels(aggregate.states.sockets(state).into_iter()),
    });
    let is_there = |line: &Line| line.points.iter().any(|value| *value > 0.0);
    Chart::Lines(Lines {
        title: String::from("Sockets in each state"),
        step: axis.step(),
        lines: lines.into_iter().filter(is_there).collect(),
        is_stacked: true,
    })
}

/// A distribution of times, us, on a logarithmic axis.
pub(super) fn times(title: String, histogram: &hdrhistogram::Histogram<u64>) -> Chart {
    let mut bars = Vec::new();
    if !histogram.is_empty() {
        let edge = |number: u32| 2_f64.powf(f64::from(number) / f64::from(PARTS));
        let from = (histogram.min().max(1) as f64).log2() * f64::from(PARTS);
        let mut number = from.floor().max(0.0) as u32;
        let mut counted = 0;
        while counted < histogram.len() && bars.len() < 400 {
            let (low, high) = (edge(number), edge(number + 1));
            // What is below the first bar is in it: the values are whole numbers.
            let first = if bars.is_empty() {
                0
            } else {
                low.ceil() as u64
            };
            let last = (high.ceil() as u64).saturating_sub(1);
            let count = if first > last {
                0
            } else {
                count_between(histogram, first, last)
            };
            counted += count;
            bars.push(Bar {
                range: format!(
                    "{} to {}",
                    number::time(low as u64),
                    number::time(high as u64)
                ),
                mark: String::new(),
                count,
            });
            number += 1;
        }
        let every = bars.len().div_ceil(6).max(1);
        for (place, bar) in bars.iter_mut().enumerate() {
            if place % every == 0 {
                bar.mark = bar
                    .range
                    .split(" to ")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
            }
        }
    }
    let at = |quantile| number::time(histogram.value_at_quantile(quantile));
    Chart::Bars(Bars {
        title,
        bars,
        note: format!(
            "{} connections, half within {}, 99 % within {}, the longest {}",
            histogram.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        ),
    })
}

/// Values from `first` to `last`, each counted once: a value is what its bucket begins with.
fn count_between(histogram: &hdrhistogram::Histogram<u64>, first: u64, last: u64) -> u64 {
    histogram
        .iter_recorded()
        .filter(|value| {
            let lowest = histogram.lowest_equivalent(value.value_iterated_to());
            (first..=last).contains(&lowest)
        })
        .map(|value| value.count_at_value())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_counts_each_value_once() {
        let mut histogram = hdrhistogram::Histogram::<u64>::new(2).unwrap();
        histogram.auto(true);
        for value in [0, 1, 2, 3, 5, 8, 13, 700, 701, 90_000, 5_000_000] {
            histogram.record(value).unwrap();
        }
        let Chart::Bars(chart) = times(String::from("t"), &histogram) else {
            panic!("bars");
        };
        let sum: u64 = chart.bars.iter().map(|bar| bar.count).sum();
        assert_eq!(sum, histogram.len(), "{chart:?}");
        assert!(chart.bars.len() < 120, "{}", chart.bars.len());
    }
}

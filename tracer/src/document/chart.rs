//! What a chart shows; a page draws it.

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Over time.
    Lines(Lines),
    /// A distribution.
    Bars(Bars),
    /// Single numbers, large.
    Figures(Vec<Figure>),
}

/// A number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What it counts.
    pub name: &'static str,
    /// The number.
    pub number: u64,
    /// Whether any of it is trouble.
    pub is_trouble: bool,
}

/// Values over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// What it shows, with the unit.
    pub title: String,
    /// Seconds from one point to the next.
    pub step: f64,
    /// What is told apart: at most [`LINES`] of them, each with as many points as the others.
    pub lines: Vec<Line>,
    /// Whether the values add up to something: then they are drawn on top of each other.
    pub is_stacked: bool,
}

/// What is told apart in a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Whose it is.
    pub name: String,
    /// Values, one a step.
    pub points: Vec<f64>,
}

/// How many lines can be told apart by colour.
pub const LINES: usize = 8;

/// Points of a chart; more are added up.
const POINTS: usize = 180;

/// How often each of a range of values was met. Ranges follow each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// Ranges in order.
    pub bars: Vec<Bar>,
    /// What is said below it.
    pub note: String,
}

/// A range of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// The range.
    pub range: String,
    /// Where it begins; empty for one that has no mark of its own on the axis.
    pub mark: String,
    /// How often.
    pub count: u64,
}

impl Chart {
    /// Whether there is nothing to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Lines(chart) => chart
                .lines
                .iter()
                .all(|line| line.points.iter().all(|value| *value == 0.0)),
            Self::Figures(figures) => figures.is_empty(),
            Self::Bars(chart) => chart.bars.iter().all(|bar| bar.count == 0),
        }
    }
}

/// Time on an axis: equal steps that cover a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    first: u64,
    step: u64,
    points: usize,
}

impl Axis {
    /// Covers the seconds from `first` to `last`, both included, whose buckets are `width` wide.
    #[must_use]
    pub fn new(first: u64, last: u64, width: u64) -> Self {
        let first = first - first % width.max(1);
        let seconds = last.saturating_sub(first) + 1;
        let step = seconds.div_ceil(POINTS as u64).div_ceil(width.max(1)) * width.max(1);
        Self {
            first,
            step,
            points: usize::try_from(seconds.div_ceil(step))
                .unwrap_or(POINTS)
                .max(1),
        }
    }

    /// Seconds of a step.
    #[must_use]
    pub const fn step(&self) -> f64 {
        self.step as f64
    }

    /// Counts in seconds, as counts per second of each step.
    #[must_use]
    pub fn rates(&self, counts: impl Iterator<Item = (u64, u64)>) -> Vec<f64> {
        let mut sums = vec![0.0; self.points];
        for (second, count) in counts {
            if let Some(sum) = self.at(second).and_then(|at| sums.get_mut(at)) {
                *sum += count as f64 / self.step as f64;
            }
        }
        sums
    }

    /// A value that stays as it is until it is told anew, at the end of each step.
    #[must_use]
    pub fn levels(&self, told: impl Iterator<Item = (u64, u64)>) -> Vec<f64> {
        let mut levels: Vec<Option<f64>> = vec![None; self.points];
        for (second, value) in told {
            if let Some(level) = self.at(second).and_then(|at| levels.get_mut(at)) {
                *level = Some(value as f64);
            }
        }
        let mut now = 0.0;
        levels
            .into_iter()
            .map(|level| {
                now = level.unwrap_or(now);
                now
            })
            .collect()
    }

    fn at(&self, second: u64) -> Option<usize> {
        usize::try_from(second.checked_sub(self.first)? / self.step).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_to_the_counts() {
        for (seconds, width) in [(1, 1), (10, 1), (181, 1), (7_201, 2)] {
            let axis = Axis::new(1_000, 1_000 + seconds - 1, width);
            let counts = (0..seconds)
                .step_by(width as usize)
                .map(|second| (1_000 + second, 3));
            let rates = axis.rates(counts);
            assert!(rates.len() <= POINTS, "{seconds} s: {}", rates.len());
            let sum: f64 = rates.iter().map(|rate| rate * axis.step()).sum();
            assert!(
                (sum - 3.0 * seconds.div_ceil(width) as f64).abs() < 1e-6,
                "{seconds} s: {sum}"
            );
        }
    }

    #[test]
    fn a_level_stays_until_it_is_told_anew() {
        let axis = Axis::new(10, 14, 1);
        let told = [(10, 2), (13, 5)];
        assert_eq!(axis.levels(told.into_iter()), [2.0, 2.0, 2.0, 5.0, 5.0]);
    }
}

//! Change told from chance.
//!
//! With one base run, a count is taken as Poisson: the difference of two is chance up to three times the
//! root of their sum. With several, what they differ among themselves counts as well: up to the 99 % quantile
//! of Student's t times their standard deviation. A difference of less than 5 % is never a change.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Standard deviations that chance explains.
const SIGMAS: f64 = 3.0;
/// Part of what was expected that is never a change.
const SLACK: f64 = 0.05;
/// As above for a time: the histograms keep two digits.
const TIME_SLACK: f64 = 0.1;

/// Two-sided 99 % quantiles of Student's t for 1, 2, ... degrees of freedom.
const STUDENT: [f64; 10] = [63.66, 9.92, 5.84, 4.60, 4.03, 3.71, 3.50, 3.36, 3.25, 3.17];

/// What a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// More than chance explains.
    Changed,
    /// There was none in any base run, and are too few now to tell that from chance.
    Appeared,
    /// There were some in a base run, too few to tell that from chance.
    Gone,
    /// Chance explains it.
    Noise,
}

/// A count, and what it was expected to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// From the base runs.
    pub expected: f64,
    /// The largest difference that chance explains.
    pub noise: f64,
    /// What the difference is.
    pub verdict: Verdict,
}

/// Judges a new count against base runs' counts that were made comparable with it.
#[must_use]
pub fn judge(bases: &[f64], new: f64) -> Judged {
    let runs = bases.len().max(1) as f64;
    let expected = bases.iter().sum::<f64>() / runs;
    let chance = SIGMAS * (new + expected / runs).sqrt();
    let spread = match STUDENT.get(bases.len().wrapping_sub(2)).or(STUDENT.last()) {
        Some(student) if bases.len() > 1 => {
            let squares: f64 = bases.iter().map(|base| (base - expected).powi(2)).sum();
            student * (squares / (runs - 1.0)).sqrt() * (1.0 + 1.0 / runs).sqrt()
        }
        _ => 0.0,
    };
    let noise = chance.max(spread).max(SLACK * expected);
    let verdict = if (new - expected).abs() > noise {
        Verdict::Changed
    } else if expected == 0.0 && new > 0.0 {
        Verdict::Appeared
    } else if expected > 0.0 && new == 0.0 {
        Verdict::Gone
    } else {
        Verdict::Noise
    };
    Judged {
        expected,
        noise,
        verdict,
    }
}

/// Whether a quantile of times has changed: the new run has more (or fewer) times above the base's quantile
/// than chance explains, its own is outside those of all base runs, and by more than a tenth.
#[must_use]
pub fn is_slower_or_faster(bases: &[&Histogram<u64>], new: &Histogram<u64>, quantile: f64) -> bool {
    let filled: Vec<&&Histogram<u64>> = bases.iter().filter(|base| !base.is_empty()).collect();
    let Some((first, rest)) = filled.split_first() else {
        return false;
    };
    if new.is_empty() {
        return false;
    }
    let mut all = (**first).clone();
    for base in rest {
        // What grows to any 64-bit number has room for what another one has.
        let _ = all.add(**base);
    }
    let edge = all.value_at_quantile(quantile);
    let above = |histogram: &Histogram<u64>| {
        histogram.len() as f64 - histogram.count_between(0, edge) as f64
    };
    let (old, now) = (all.len() as f64, new.len() as f64);
    let expected = above(&all) / old * now;
    let noise = SIGMAS * (above(new).max(expected) * (1.0 + now / old)).sqrt();
    let at = new.value_at_quantile(quantile);
    let is_outside = |base: &&&Histogram<u64>| {
        let base = base.value_at_quantile(quantile);
        if at > edge { at > base } else { at < base }
    };
    (above(new) - expected).abs() > noise
        && (at as f64 - edge as f64).abs() > TIME_SLACK * edge as f64
        && filled.iter().all(is_outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bases: &[f64], new: f64) -> Verdict {
        judge(bases, new).verdict
    }

    #[test]
    fn one_base_run_is_judged_by_chance_alone() {
        assert_eq!(verdict(&[100.0], 130.0), Verdict::Noise);
        assert_eq!(verdict(&[100.0], 150.0), Verdict::Changed);
        assert_eq!(verdict(&[100.0], 55.0), Verdict::Changed);
        assert_eq!(verdict(&[0.0], 9.0), Verdict::Appeared);
        assert_eq!(verdict(&[0.0], 10.0), Verdict::Changed);
        assert_eq!(verdict(&[5.0], 0.0), Verdict::Gone);
        assert_eq!(verdict(&[0.0], 0.0), Verdict::Noise);
        // A part of it that nobody cares about.
        assert_eq!(verdict(&[1e6], 1.04e6), Verdict::Noise);
    }

    #[test]
    fn several_base_runs_count_by_what_they_differ() {
        let calm = [100.0, 101.0, 99.0, 100.0];
        let wild = [100.0, 40.0, 190.0, 70.0];
        assert_eq!(verdict(&calm, 150.0), Verdict::Changed);
        assert_eq!(verdict(&wild, 150.0), Verdict::Noise);
        assert_eq!(verdict(&wild, 2_000.0), Verdict::Changed);
        // Two are too few to know how they differ.
        assert_eq!(verdict(&[100.0, 120.0], 500.0), Verdict::Noise);
    }

    /// Poisson's own numbers: fewer than one in a hundred is called a change.
    #[test]
    fn chance_is_seldom_called_a_change() {
        let mut state = 12_345_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut poisson = |mean: f64| {
            let (mut count, mut product) = (0.0, uniform());
            while product > (-mean).exp() {
                count += 1.0;
                product *= uniform();
            }
            count
        };
        for runs in [1, 4] {
            let mut changed = 0;
            for _ in 0..10_000 {
                let bases: Vec<f64> = (0..runs).map(|_| poisson(20.0)).collect();
                changed += i32::from(verdict(&bases, poisson(20.0)) == Verdict::Changed);
            }
            assert!(changed < 100, "{changed} of 10000 with {runs} base runs");
        }
    }

    #[test]
    fn times_change_when_the_whole_distribution_does() {
        let histogram = |times: &mut dyn Iterator<Item = u64>| {
            let mut histogram = Histogram::<u64>::new(2).unwrap();
            histogram.auto(true);
            times.for_each(|time| histogram.record(time).unwrap());
            histogram
        };
        let base = histogram(&mut (100..1_100));
        let same = histogram(&mut (103..1_103).step_by(2));
        let slower = histogram(&mut (400..1_400).step_by(2));
        let few = histogram(&mut (900..1_100).step_by(40));
        assert!(!is_slower_or_faster(&[&base], &same, 0.5));
        assert!(is_slower_or_faster(&[&base], &slower, 0.5));
        assert!(is_slower_or_faster(&[&slower], &base, 0.5));
        assert!(
            !is_slower_or_faster(&[&base], &few, 0.99),
            "five of them tell nothing of one in a hundred"
        );
        assert!(
            !is_slower_or_faster(&[&base, &slower], &slower, 0.5),
            "a base run was as slow"
        );
    }
}

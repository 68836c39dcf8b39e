//! `tcptrace check`: whether a trace keeps its budgets.

pub mod budget;
mod doubt;
pub mod format;
pub mod quantile;
mod value;

use self::{
    budget::{Budget, Scope},
    value::value,
};
use crate::aggregate::{Aggregate, Process};

/// What became of a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The budget.
    pub budget: Budget,
    /// What the trace has; `None` where it has nothing to measure.
    pub value: Option<f64>,
    /// Where that comes from.
    pub source: String,
    /// Whether it held.
    pub verdict: Verdict,
}

/// Whether a budget held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did.
    Held,
    /// It did, as far as the trace goes, which lacks something: what and why.
    Inconclusive(String),
    /// It did not; with what was lost there may be more.
    Violated,
}

/// What all budgets together come to; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All held. Exit code 0.
    Held,
    /// Those that held may not have. Exit code 4.
    Inconclusive,
    /// One was violated. Exit code 1.
    Violated,
}

impl Outcome {
    /// Of all.
    #[must_use]
    pub fn of(checked: &[Checked]) -> Self {
        let of = |one: &Checked| match one.verdict {
            Verdict::Held => Self::Held,
            Verdict::Inconclusive(_) => Self::Inconclusive,
            Verdict::Violated => Self::Violated,
        };
        checked.iter().map(of).max().unwrap_or(Self::Held)
    }

    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Violated => 1,
            Self::Inconclusive => 4,
        }
    }
}

/// A trace that is checked.
#[derive(Clone, Copy, Debug)]
pub struct Checker<'a> {
    /// What it comes to.
    pub aggregate: &'a Aggregate,
    /// Why it has no end, if it has none.
    pub truncated: Option<&'a str>,
    /// Losses do not make a budget inconclusive.
    pub allow_lost: bool,
}

impl Checker<'_> {
    /// Checks a budget.
    #[must_use]
    pub fn check(&self, budget: Budget) -> Checked {
        let processes = self.processes(&budget.scope);
        let (value, source) = value(self.aggregate, &processes, &budget);
        let is_over = value.is_some_and(|value| value > budget.limit);
        let verdict = if is_over {
            Verdict::Violated
        } else {
            match self.doubt(&budget, &processes, value) {
                Some(reason) => Verdict::Inconclusive(reason),
                None => Verdict::Held,
            }
        };
        Checked {
            budget,
            value,
            source,
            verdict,
        }
    }

    fn processes(&self, scope: &Scope) -> Vec<&Process> {
        let is_meant = |process: &&Process| match scope {
            Scope::Trace => true,
            Scope::Program { comm, .. } => {
                process.who.as_ref().is_some_and(|who| who.comm == *comm)
            }
        };
        self.aggregate.processes.values().filter(is_meant).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tracer_common::record::{Cause, End};

    use super::*;
    use crate::{
        aggregate::sample::{Sample, connection, retransmit, sample},
        check::budget,
        event::Role,
        identity::Identity,
    };

    fn checker(aggregate: &Aggregate) -> Checker<'_> {
        Checker {
            aggregate,
            truncated: None,
            allow_lost: false,
        }
    }

    fn check_all(checker: &Checker<'_>, file: &str) -> Vec<Checked> {
        let budgets = budget::parse(file).unwrap();
        budgets
            .into_iter()
            .map(|budget| checker.check(budget))
            .collect()
    }

    fn one(checker: &Checker<'_>, file: &str) -> Checked {
        let mut checked = check_all(checker, file);
        assert_eq!(checked.len(), 1);
        checked.remove(0)
    }

    #[test]
    fn values_are_those_of_the_trace() {
        let aggregate = sample().end(10);
        for (file, value) in [
            ("[max]\nconnections = 0", 21.0),
            ("[max]\nretransmits = 0", 14.0),
            ("[max]\n\"retransmits:rto\" = 0", 3.0),
            ("[max]\nfd_exhausted = 0", 1_980.0),
            ("[max]\n\"fd_exhausted:socket\" = 0", 1_000.0),
            ("[max]\n\"fd_exhausted:EMFILE\" = 0", 1_980.0),
            ("[max]\ntime_wait_overflow = 0", 903.0),
            ("[max]\nresets_sent = 0", 1.0),
            ("[program.worker.max]\nretransmits = 0", 10.0),
            ("[program.redis-server.max]\ntime_wait_overflow = 0", 901.0),
            ("[program.worker.max_per_connection]\nretransmits = 0", 1.0),
            ("[program.worker.max_per_second]\nfd_exhausted = 0", 198.0),
            ("[program.worker.latency.connect_us]\np50 = 0", 1_440.0),
        ] {
            let checked = one(&checker(&aggregate), file);
            let told = checked.value.unwrap();
            assert!((told - value).abs() <= value * 0.01, "{file}: {told}");
            assert_eq!(checked.verdict, Verdict::Violated, "{file}");
            let held = checker(&aggregate).check(Budget {
                limit: told,
                ..checked.budget
            });
            assert_eq!(held.verdict, Verdict::Held, "{file}");
        }
    }

    #[test]
    fn what_a_hook_lost_counts_for_the_budgets_that_read_it() {
        let mut sample = sample();
        sample.skip(3);
        let aggregate = sample.end(10);
        let file =
            "[max]\nretransmits = 14\nconnect_failed = 1\n[program.worker.max]\nretransmits = 10";
        let lossy = Verdict::Inconclusive(String::from(
            "events are missing: tcp_retransmit_skb lost 0 and skipped 3",
        ));
        let verdicts = |checker: &Checker<'_>, file| {
            check_all(checker, file)
                .into_iter()
                .map(|one| one.verdict)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            verdicts(&checker(&aggregate), file),
            [lossy.clone(), Verdict::Held, lossy]
        );
        let waived = Checker {
            allow_lost: true,
            ..checker(&aggregate)
        };
        assert_eq!(
            verdicts(&waived, file),
            [Verdict::Held, Verdict::Held, Verdict::Held]
        );
        // Violated is violated.
        assert_eq!(
            one(&checker(&aggregate), "[max]\nretransmits = 13").verdict,
            Verdict::Violated
        );
    }

    #[test]
    fn a_truncated_trace_decides_only_what_is_over() {
        let aggregate = sample().end(10);
        let cut = Checker {
            truncated: Some("no end row"),
            allow_lost: true,
            ..checker(&aggregate)
        };
        assert_eq!(
            one(&cut, "[max]\nretransmits = 100").verdict,
            Verdict::Inconclusive(String::from("the recording is truncated (no end row)"))
        );
        assert_eq!(
            one(&cut, "[max]\nretransmits = 1").verdict,
            Verdict::Violated
        );
    }

    #[test]
    fn a_program_that_is_not_there_does_not_hold_its_budget() {
        let aggregate = sample().end(10);
        let checked = one(
            &checker(&aggregate),
            "[program.reddis.max]\nretransmits = 5",
        );
        assert!(
            matches!(checked.verdict, Verdict::Inconclusive(_)),
            "{checked:?}"
        );
        let file = "[program.reddis]\noptional = true\nmax = { retransmits = 5 }";
        assert_eq!(one(&checker(&aggregate), file).verdict, Verdict::Held);
        let file = "[program.supervisord]\noptional = true\nlatency.connect_us = { p50 = 5 }";
        assert_eq!(one(&checker(&aggregate), file).verdict, Verdict::Held);
    }

    #[test]
    fn a_sort_is_unknown_where_its_events_are_missing() {
        let mut sample = sample();
        let who = sample.process(5, "late");
        sample.count(Some(&who), &retransmit(Cause::Rto, 2, 0));
        let aggregate = sample.end(10);
        assert_eq!(
            one(&checker(&aggregate), "[max]\nretransmits = 16").verdict,
            Verdict::Held
        );
        let checked = one(&checker(&aggregate), "[max]\n\"retransmits:rto\" = 3");
        assert!(
            matches!(&checked.verdict, Verdict::Inconclusive(why) if why.starts_with("2 of")),
            "{checked:?}"
        );
    }

    #[test]
    fn a_latency_is_over_when_all_that_it_can_have_been_is() {
        let mut sample = Sample::new();
        let who = sample.process(5, "late");
        for owner in [Some(&who), None] {
            sample.event(
                1,
                owner,
                Role::Active,
                connection(End::ClosedLocal, None, 0, 499_900),
            );
        }
        let aggregate = sample.end(10);
        for (file, is_held) in [
            ("[latency.connect_us]\np99 = 500_000", true),
            ("[latency.connect_us]\np50 = 490_000", false),
            // The longest is known exactly.
            ("[latency.connect_us]\nmax = 499_900", true),
            ("[latency.connect_us]\nmax = 499_899", false),
            ("[program.late.latency.duration_us]\nmax = 5_998_800", true),
            ("[program.late.latency.duration_us]\nmax = 5_998_799", false),
        ] {
            let verdict = one(&checker(&aggregate), file).verdict;
            assert_eq!(verdict == Verdict::Held, is_held, "{file}: {verdict:?}");
        }
        // Those without a known owner are among the trace's.
        let checked = one(&checker(&aggregate), "[latency.connect_us]\nmax = 499_900");
        assert!(
            checked.source.contains("of 2 connection records"),
            "{checked:?}"
        );
    }

    #[test]
    fn nothing_holds_of_a_recording_of_nothing() {
        let aggregate = Sample::new().end(10);
        let nothing = Checker {
            allow_lost: true,
            ..checker(&aggregate)
        };
        for file in [
            "[max]\nretransmits = 0",
            "[program.a]\noptional = true\nmax = { retransmits = 0 }",
        ] {
            let checked = one(&nothing, file);
            assert!(
                matches!(&checked.verdict, Verdict::Inconclusive(why) if why.contains("nothing was recorded")),
                "{checked:?}"
            );
        }
    }

    #[test]
    fn a_program_that_may_be_among_others_does_not_hold_its_counts() {
        let mut sample = sample();
        let others = Rc::new(Identity::past_of_others(1));
        sample.event(1, Some(&others), Role::Active, retransmit(Cause::Rto, 1, 0));
        let aggregate = sample.end(10);
        for (file, is_held) in [
            ("[max]\nretransmits = 15", true),
            ("[program.worker.max]\nretransmits = 10", false),
            (
                "[program.absent]\noptional = true\nmax = { retransmits = 0 }",
                false,
            ),
            (
                "[program.worker.latency.connect_us]\nmax = 60_000_000",
                true,
            ),
        ] {
            let verdict = one(&checker(&aggregate), file).verdict;
            assert_eq!(verdict == Verdict::Held, is_held, "{file}: {verdict:?}");
        }
    }

    #[test]
    fn the_worst_decides() {
        let of = |verdicts: &[Verdict]| {
            let checked = |verdict: &Verdict| Checked {
                budget: budget::max("retransmits=0").unwrap(),
                value: None,
                source: String::new(),
                verdict: verdict.clone(),
            };
            Outcome::of(&verdicts.iter().map(checked).collect::<Vec<_>>()).exit_code()
        };
        let doubt = Verdict::Inconclusive(String::new());
        assert_eq!(of(&[Verdict::Held]), 0);
        assert_eq!(of(&[Verdict::Held, doubt.clone()]), 4);
        assert_eq!(of(&[doubt, Verdict::Violated, Verdict::Held]), 1);
    }
}

//! Why a budget that held may not have: what the trace lacks.

use tracer_common::hook::Hook;

use super::{
    Checker,
    budget::{Budget, Scope, What},
};
use crate::{
    aggregate::Process,
    measure::{Kind, in_events},
};

impl Checker<'_> {
    /// Why a budget that held may not have.
    pub(super) fn doubt(
        &self,
        budget: &Budget,
        processes: &[&Process],
        value: Option<f64>,
    ) -> Option<String> {
        if let Some(reason) = self.truncated {
            return Some(format!("the recording is truncated ({reason})"));
        }
        if self.aggregate.processes.is_empty() && self.aggregate.events.is_empty() {
            return Some(String::from(
                "nothing was recorded, no process and no event: what a command asks a daemon for, as docker does, is \
                 outside its process tree",
            ));
        }
        if matches!(budget.scope, Scope::Program { .. })
            && !matches!(budget.what, What::Latency(..))
            && self.has_others()
        {
            return Some(String::from(
                "more programs ended than are told apart, and this may have been one of them",
            ));
        }
        if let Scope::Program { comm, is_optional } = &budget.scope
            && processes.is_empty()
        {
            let reason =
                format!("no process `{comm}` in the trace; `optional = true` would allow that");
            return (!is_optional).then_some(reason);
        }
        if value.is_none() {
            return Some(String::from("no connection of which it was measured"));
        }
        if self.allow_lost {
            return None;
        }
        let lost: Vec<String> = hooks(budget)
            .filter_map(|hook| self.aggregate.hook(hook))
            .map(|row| (row, row.lost.ring_full + row.lost.map_full))
            .filter(|(row, lost)| lost + row.skipped > 0)
            .map(|(row, lost)| {
                format!(
                    "{} lost {lost} and skipped {}",
                    row.hook.name(),
                    row.skipped
                )
            })
            .collect();
        if !lost.is_empty() {
            return Some(format!("events are missing: {}", lost.join(", ")));
        }
        missing_in_events(budget, processes)
    }

    /// Whether ended processes of several programs are told together.
    fn has_others(&self) -> bool {
        let mut processes = self.aggregate.processes.values();
        processes.any(|process| {
            let who = process.who.as_ref();
            who.is_some_and(|who| who.is_past_of_others())
        })
    }
}

/// A sort is told from events: those that the trace lacks might be of that sort.
fn missing_in_events(budget: &Budget, processes: &[&Process]) -> Option<String> {
    let (What::Count(measure) | What::PerConnection(measure) | What::PerSecond(measure)) =
        budget.what
    else {
        return None;
    };
    measure.sort?;
    let sum = |of: fn(Kind, &Process) -> u64| -> u64 {
        processes
            .iter()
            .map(|process| of(measure.kind, process))
            .sum()
    };
    let missing = sum(Kind::total).saturating_sub(sum(in_events));
    (missing > 0).then(|| {
        format!(
            "{missing} of the {} are in no event, so that their sort is not known",
            measure.kind.name()
        )
    })
}

/// The hooks that a budget's value comes from.
fn hooks(budget: &Budget) -> impl Iterator<Item = Hook> {
    let connections = Kind::Connections.hooks();
    let (kind, more): (&[Hook], &[Hook]) = match &budget.what {
        What::Count(measure) | What::PerSecond(measure) => (measure.kind.hooks(), &[]),
        What::PerConnection(measure) if measure.kind == Kind::Connections => (connections, &[]),
        What::PerConnection(measure) => (measure.kind.hooks(), connections),
        What::Latency(..) => (connections, &[]),
    };
    // Which process an accepted connection belongs to is seen as it is accepted.
    let accept: &[Hook] = match budget.scope {
        Scope::Trace => &[],
        Scope::Program { .. } => &[Hook::Accept],
    };
    let mut hooks: Vec<Hook> = [kind, more, accept].concat();
    hooks.sort_unstable();
    hooks.dedup();
    hooks.into_iter()
}

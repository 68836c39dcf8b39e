//! What a trace has of what a budget limits.

use super::budget::{Budget, Latency, Scope, What};
use crate::{
    aggregate::{self, Aggregate, Process},
    document::number,
    measure::{Kind, Measure},
};

/// The value, and where it comes from; `None` where the trace has nothing to measure.
pub(super) fn value(
    aggregate: &Aggregate,
    processes: &[&Process],
    budget: &Budget,
) -> (Option<f64>, String) {
    let count =
        |measure: Measure| -> u64 { processes.iter().map(|process| measure.of(process)).sum() };
    let of = match processes.len() {
        1 => String::from("1 process"),
        number => format!("{number} processes"),
    };
    let counted = |measure: Measure| match (measure.sort, measure.kind, &budget.scope) {
        (Some(_), ..) => format!("events of {of}"),
        (None, Kind::TimeWaitOverflow, Scope::Trace) => {
            format!("the kernel's totals of {of}, and the namespaces' TCPTimeWaitOverflow")
        }
        (None, ..) => format!("the kernel's totals of {of}"),
    };
    match &budget.what {
        What::Count(measure) => (Some(count(*measure) as f64), counted(*measure)),
        What::PerConnection(measure) => {
            let kind = Kind::Connections;
            let connections = count(Measure { kind, sort: None });
            // Without a connection any trouble is too much for each of them.
            let value = count(*measure) as f64 / connections.max(1) as f64;
            let source = format!(
                "{} over {}: {}",
                count(*measure),
                number::count(connections, "connection"),
                counted(*measure)
            );
            (Some(value), source)
        }
        What::PerSecond(measure) => {
            let us = aggregate.duration_us();
            let value = count(*measure) as f64 / (us.max(1) as f64 / 1e6);
            let source = format!(
                "{} in {}: {}",
                count(*measure),
                number::time(us),
                counted(*measure)
            );
            (Some(value), source)
        }
        What::Latency(latency, quantile) => {
            let mut all = aggregate::Latency::default();
            for (comm, program) in &aggregate.programs {
                let is_meant = match &budget.scope {
                    Scope::Trace => true,
                    Scope::Program { comm: wanted, .. } => comm == wanted,
                };
                if is_meant {
                    all.merge(program);
                }
            }
            let (histogram, longest) = match latency {
                Latency::Connect => (&all.connect_us, all.longest_connect_us),
                Latency::Duration => (&all.duration_us, all.longest_duration_us),
            };
            let is_longest = quantile.0 >= 1.0;
            let us = if is_longest {
                longest
            } else {
                // The least that it can have been: nothing is violated by rounding.
                histogram.lowest_equivalent(histogram.value_at_quantile(quantile.0))
            };
            let source = format!(
                "{} of {}{}",
                latency.name(),
                number::count(histogram.len(), "connection record"),
                if is_longest { "" } else { ", two digits" }
            );
            ((!histogram.is_empty()).then_some(us as f64), source)
        }
    }
}

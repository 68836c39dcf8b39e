//! What stands above every report: which trace it is of, and what that trace lacks.

use serde::Serialize;

use crate::{
    aggregate::Aggregate,
    document::{Document, number},
    time::Time,
    trace::frame::SCHEMA,
};

/// What a report is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    pub schema: u32,
    pub host: Option<String>,
    pub kernel: Option<String>,
    pub version: Option<String>,
    pub filters: Vec<String>,
    pub first: Option<Time>,
    pub last: Time,
    pub duration_us: u64,
    pub truncated: Option<String>,
    pub lost: Vec<Lost>,
}

/// What a hook lost, in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    pub hook: &'static str,
    pub ring_full: u64,
    pub map_full: u64,
    pub skipped: u64,
}

impl Head {
    /// Of a trace that may have been cut off, and why.
    #[must_use]
    pub fn of(aggregate: &Aggregate, truncated: Option<&str>) -> Self {
        let start = aggregate.start.as_ref();
        Self {
            schema: SCHEMA,
            host: start.map(|start| start.host.clone()),
            kernel: start.map(|start| start.kernel.clone()),
            version: start.map(|start| start.version.clone().into_owned()),
            filters: start.map(|start| start.filters.clone()).unwrap_or_default(),
            first: start.map(|start| start.ts),
            last: aggregate.now,
            duration_us: aggregate.duration_us(),
            truncated: truncated.map(str::to_owned),
            lost: aggregate
                .hooks
                .iter()
                .map(|row| Lost {
                    hook: row.hook.name(),
                    ring_full: row.lost.ring_full,
                    map_full: row.lost.map_full,
                    skipped: row.skipped,
                })
                .filter(|lost| lost.ring_full + lost.map_full + lost.skipped > 0)
                .collect(),
        }
    }

    pub(super) fn write(&self, to: &mut Document) {
        let unknown = || String::from("unknown");
        let mut told = format!(
            "Host {}, Linux {}, {} from {}",
            self.host.clone().unwrap_or_else(unknown),
            self.kernel.clone().unwrap_or_else(unknown),
            number::time(self.duration_us),
            self.first.map_or_else(unknown, second),
        );
        if !self.filters.is_empty() {
            told.push_str(&format!(", only {}", self.filters.join(" ")));
        }
        to.text(format!("{told}."));
        if let Some(reason) = &self.truncated {
            to.warning(format!(
                "the recording is truncated ({reason}): this is what came before."
            ));
        }
        let sum = |of: fn(&Lost) -> u64| self.lost.iter().map(of).sum::<u64>();
        let by_hook = |of: fn(&Lost) -> u64| {
            let hooks = self.lost.iter().filter(|lost| of(lost) > 0);
            let hooks: Vec<String> = hooks
                .map(|lost| format!("{} {}", lost.hook, of(lost)))
                .collect();
            hooks.join(", ")
        };
        type Term = (fn(&Lost) -> u64, &'static str);
        let terms: [Term; 3] = [
            (
                |lost| lost.ring_full,
                "events were lost because the buffer was full",
            ),
            (
                |lost| lost.map_full,
                "events were lost because a table in the kernel was full",
            ),
            (
                |lost| lost.skipped,
                "runs of a program were skipped by the kernel",
            ),
        ];
        let lost: Vec<String> = terms
            .iter()
            .filter(|(of, _)| sum(*of) > 0)
            .map(|(of, what)| format!("{} {what} ({})", sum(*of), by_hook(*of)))
            .collect();
        if !lost.is_empty() {
            to.warning(format!(
                "{}. Totals per process were counted in the kernel and do not depend on the buffer; causes, peers, \
                 latencies and single connections lack what was lost.",
                lost.join("; ")
            ));
        }
    }
}

/// `2026-11-23 16:02:11 UTC`.
fn second(time: Time) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {time} UTC"),
        _ => text,
    }
}

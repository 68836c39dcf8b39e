//! What happened to one process, for its page.

use std::collections::BTreeMap;

use super::{
    State,
    recent::{MINUTE, Recent, Tally},
};
use crate::identity::Pid;

/// What happened of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The kind of its events.
    pub kind: &'static str,
    /// What it is called.
    pub what: &'static str,
    /// How often it happened over the whole trace.
    pub total: u64,
    /// And per second, lately.
    pub per_second: f64,
    /// And in each second of the last minute.
    pub minute: [u64; MINUTE as usize],
    /// What it consists of.
    pub parts: Vec<(String, u64)>,
}

/// What happened to a process, each kind that did happen, the worst first.
#[must_use]
pub(super) fn troubles(state: &State, pid: Pid) -> Vec<Trouble> {
    let Some(process) = state.aggregate.process(pid) else {
        return Vec::new();
    };
    let now = state.second();
    let quiet = Recent::default();
    let recent = state.recent_of(pid).unwrap_or(&quiet);
    let rates = recent.rates(now);
    let totals = &process.totals;
    let calls = process.descriptors.iter().map(|((call, errno), sum)| {
        let call = call.map_or_else(|| "no call".to_owned(), |call| call.to_string());
        (format!("{errno} from {call}"), sum.count)
    });
    let flows = || process.flows.values();
    let errors = flows().flat_map(|flow| &flow.failed);
    let errors = summed(errors.map(|(errno, count)| (errno.to_string(), *count)));
    let causes = flows().flat_map(|flow| &flow.retransmits);
    let causes = summed(causes.map(|(cause, segs)| (cause.name().to_owned(), *segs)));
    let trouble = |kind, what, total, per_second, count: fn(&Tally) -> u64, parts| Trouble {
        kind,
        what,
        total,
        per_second,
        minute: recent.minute(now, count),
        parts,
    };
    let mut all = vec![
        trouble(
            "fd_exhausted",
            "out of descriptors",
            totals.fd_exhausted,
            rates.descriptors,
            |tally| tally.descriptors.into(),
            calls.collect(),
        ),
        trouble(
            "connect_failed",
            "connects failed",
            totals.connect_failed,
            rates.failed,
            |tally| tally.failed.into(),
            errors,
        ),
        trouble(
            "retransmit",
            "segments sent again",
            totals.retransmit_segs,
            rates.segs,
            |tally| tally.segs.into(),
            causes,
        ),
        trouble(
            "reset",
            "resets",
            totals.resets_sent + totals.resets_received,
            rates.resets,
            |tally| tally.resets.into(),
            vec![
                ("sent".to_owned(), totals.resets_sent),
                ("received".to_owned(), totals.resets_received),
            ],
        ),
        trouble(
            "time_wait_overflow",
            "time-wait overflows",
            totals.time_wait_overflow,
            rates.overflows,
            |tally| tally.overflows.into(),
            Vec::new(),
        ),
        trouble(
            "connection",
            "connections ended",
            totals.connections,
            rates.opened,
            |tally| tally.opened.into(),
            vec![("rate of those opened; open now".to_owned(), process.sockets)],
        ),
    ];
    all.retain(|trouble| trouble.total > 0);
    all
}

/// The sums of equal names, in their order.
fn summed(parts: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut sums = BTreeMap::new();
    for (name, count) in parts {
        *sums.entry(name).or_insert(0) += count;
    }
    sums.into_iter().collect()
}

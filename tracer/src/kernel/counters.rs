//! The counters of each hook, as JSON and the summary show them.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use tracer_common::hook::{Counters, Hook};

/// One hook's row: `entered = emitted + filtered + aggregated + lost`, and `skipped` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookRow {
    /// Name of the hook.
    #[serde(serialize_with = "name")]
    pub hook: Hook,
    /// How it is attached; null for a row that is derived inside another hook's program.
    pub rung: Option<Cow<'static, str>>,
    /// Runs that found their subject.
    pub entered: u64,
    /// Runs that the kernel left out: the program was running on that CPU already, or a probe missed. Not every
    /// kernel counts all of them: it is at least as many as sockets turned out to have gone on without.
    pub skipped: u64,
    /// Of those skipped: what probes missed.
    pub missed: u64,
    /// Records sent.
    pub emitted: u64,
    /// Kept out by a filter.
    pub filtered: u64,
    /// Folded into a kernel map.
    pub aggregated: u64,
    /// Lost, by reason.
    pub lost: Lost,
}

/// Runs whose outcome was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// No room in the ring buffer.
    pub ring_full: u64,
    /// No room in a map.
    pub map_full: u64,
}

impl HookRow {
    /// From what the kernel counted: runs skipped for recursion and missed by probes, and the hook's own row.
    #[must_use]
    pub fn new(
        hook: Hook,
        rung: Option<&'static str>,
        (recursions, missed): (u64, u64),
        counters: &Counters,
    ) -> Self {
        Self {
            hook,
            rung: rung.map(Cow::Borrowed),
            entered: counters.entered,
            skipped: (recursions + missed).max(counters.unseen),
            missed,
            emitted: counters.emitted,
            filtered: counters.filtered,
            aggregated: counters.aggregated,
            lost: Lost {
                ring_full: counters.ring_full,
                map_full: counters.map_full,
            },
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn name<S: Serializer>(hook: &Hook, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(hook.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sockets_went_on_without_was_skipped_even_if_the_kernel_counts_less() {
        let counters = Counters {
            unseen: 2,
            ..Counters::default()
        };
        let skipped = |kernel| HookRow::new(Hook::State, None, kernel, &counters).skipped;
        assert_eq!((skipped((0, 0)), skipped((1, 4))), (2, 5));
    }
}

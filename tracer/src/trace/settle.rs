//! What the stream of records does not tell by itself: storms' remainders, losses, overflows without an owner.

use tracer_common::record::Kind;

use super::Trace;
use crate::{
    decode::Record,
    event::{Detail, Event, LostReason},
    kernel::{clock, netstat},
    sink::Sink,
};

impl Trace {
    /// Tells what storms have added since their last record: the kernel sends few, and some may be lost.
    /// A storm whose first record has not come may still have it on the way, unless it `is_over`.
    pub(super) fn settle_storms(
        &mut self,
        is_over: bool,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let now = clock::now();
        let wants = |kind| self.options.filters.events.contains(&kind);
        let mut records = Vec::new();
        if wants(Kind::FdExhausted) {
            for (key, storm) in self.session.fd_storms()? {
                records.extend(
                    self.fd
                        .rest(&key, storm.total, now, is_over)
                        .map(Record::FdExhausted),
                );
            }
        }
        if wants(Kind::TimeWaitOverflow) {
            for (key, storm) in self.session.tw_storms()? {
                records.extend(
                    self.tw
                        .rest(&key, storm.total, now, is_over)
                        .map(Record::TimeWaitOverflow),
                );
            }
        }
        records
            .iter()
            .try_for_each(|record| self.show(record, sink))
    }

    /// Tells what was lost and skipped since the last time.
    pub(super) fn tell_lost(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let rows = self.session.counters()?;
        let now = self.names.epoch.time(clock::now());
        for (place, row) in rows.iter().enumerate() {
            let before = self.rows.get(place);
            let terms = [
                (
                    LostReason::RingFull,
                    row.lost.ring_full,
                    before.map_or(0, |row| row.lost.ring_full),
                ),
                (
                    LostReason::MapFull,
                    row.lost.map_full,
                    before.map_or(0, |row| row.lost.map_full),
                ),
                (
                    LostReason::Recursion,
                    row.skipped - row.missed,
                    before.map_or(0, |row| row.skipped - row.missed),
                ),
                (
                    LostReason::KretprobeMissed,
                    row.missed,
                    before.map_or(0, |row| row.missed),
                ),
            ];
            for (reason, count, before) in terms {
                if count <= before {
                    continue;
                }
                let detail = Detail::Lost {
                    hook: row.hook,
                    reason,
                    count: count - before,
                };
                self.tell(&Event::nobody(now, None, detail), sink)?;
            }
        }
        self.rows = rows;
        Ok(())
    }

    /// Tells the overflows that a namespace's own counter has and that found no owner.
    pub(super) fn reconcile_overflows(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        if !self.options.filters.is_whole_namespaces() {
            return Ok(());
        }
        let now = self.names.epoch.time(clock::now());
        for (netns, count) in self.overflows.rest(&netstat::overflows()) {
            let wanted = &self.options.filters.netns;
            if !wanted.is_empty() && !wanted.contains(&netns) {
                continue;
            }
            let detail = Detail::TimeWaitOverflow {
                tw_count: None,
                tw_max: None,
                inferred: true,
                count,
            };
            self.tell(&Event::nobody(now, Some(netns), detail), sink)?;
        }
        Ok(())
    }
}

//! What the stream of records does not tell by itself: storms' remainders, losses, and what a namespace counted beside.

use std::collections::BTreeMap;

use tracer_common::{
    process::{Process, ProcessKey},
    record::{Cause, Kind},
    storm::{FdKey, Storm, TwKey},
};

use super::Trace;
use crate::{
    decode::Record,
    event::{Detail, Event, LostReason},
    kernel::{
        clock,
        filters::Filters,
        netstat::{self, Counted},
    },
    measure,
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
        let (fd, tw) = (self.session.fd_storms()?, self.session.tw_storms()?);
        self.tell_storms(&fd, &tw, is_over, sink)
    }

    fn tell_storms(
        &mut self,
        fd: &[(FdKey, Storm)],
        tw: &[(TwKey, Storm)],
        is_over: bool,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let now = clock::now();
        let wants = |kind| self.options.filters.events.contains(&kind);
        let mut records = Vec::new();
        if wants(Kind::FdExhausted) {
            let rest = |(key, storm): &(_, Storm)| self.fd.rest(key, storm.total, now, is_over);
            records.extend(fd.iter().filter_map(rest).map(Record::FdExhausted));
        }
        if wants(Kind::TimeWaitOverflow) {
            let rest = |(key, storm): &(_, Storm)| self.tw.rest(key, storm.total, now, is_over);
            records.extend(tw.iter().filter_map(rest).map(Record::TimeWaitOverflow));
        }
        records
            .iter()
            .try_for_each(|record| self.show(record, sink))
    }

    /// Tells what storms of processes that are gone have added, and forgets them: the kernel's maps have
    /// room for some thousands.
    pub(super) fn forget_storms(
        &mut self,
        gone: &[(ProcessKey, Process)],
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let is_gone = |key: &ProcessKey| gone.iter().any(|(process, _)| process == key);
        let (mut fd, mut tw) = (self.session.fd_storms()?, self.session.tw_storms()?);
        fd.retain(|(key, _)| is_gone(&key.process));
        tw.retain(|(key, _)| is_gone(&key.process));
        self.tell_storms(&fd, &tw, true, sink)?;
        let fd: Vec<_> = fd.into_iter().map(|(key, _)| key).collect();
        let tw: Vec<_> = tw.into_iter().map(|(key, _)| key).collect();
        fd.iter().for_each(|key| self.fd.forget(key));
        tw.iter().for_each(|key| self.tw.forget(key));
        self.session.forget_storms(&fd, &tw);
        Ok(())
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

    /// Tells what the namespaces' own counters have and no event told of, where whole namespaces are watched.
    pub(super) fn reconcile(
        &mut self,
        counted: &BTreeMap<u32, Counted>,
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let filters = &self.options.filters;
        let mut untold = Vec::new();
        if filters.is_whole_namespaces(Kind::TimeWaitOverflow) {
            let rest = self.overflows.rest(&each(counted, |one| one.overflows));
            untold.extend(rest.into_iter().map(|(netns, count)| {
                let detail = Detail::TimeWaitOverflow {
                    tw_count: None,
                    tw_max: None,
                    inferred: true,
                    count,
                };
                (netns, detail)
            }));
        }
        if filters.is_whole_namespaces(Kind::Retransmit) && self.has_every_retransmit() {
            let mut now = each(counted, |one| one.retransmits);
            // Of one that was not seen at the start nobody knows what it had counted by then.
            now.retain(|netns, _| self.retransmits.is_from_start(*netns));
            let rest = self.retransmits.rest(&now);
            untold.extend(rest.into_iter().map(|(netns, count)| {
                let detail = Detail::Retransmit {
                    cause: Cause::Unknown,
                    segs: u32::try_from(count).unwrap_or(u32::MAX),
                    seq: 0,
                    backoff: 0,
                    rto_us: None,
                    srtt_us: None,
                    unacked_bytes: 0,
                    notsent_bytes: 0,
                    err: 0,
                };
                (netns, detail)
            }));
        }
        untold.retain(|(netns, _)| filters.netns.is_empty() || filters.netns.contains(netns));
        let now = self.names.epoch.time(clock::now());
        for (netns, detail) in untold {
            self.tell(&Event::nobody(now, Some(netns), detail), sink)?;
        }
        Ok(())
    }

    /// Whether every record of a retransmit came: those that found no room in the ring are told as lost, and are in the
    /// totals of their processes.
    fn has_every_retransmit(&self) -> bool {
        let hooks = measure::Kind::Retransmits.hooks();
        let mut rows = self.rows.iter().filter(|row| hooks.contains(&row.hook));
        rows.all(|row| row.lost.ring_full == 0)
    }
}

/// The namespaces' own counters, where they can be compared with events.
pub(super) fn counted(filters: &Filters) -> BTreeMap<u32, Counted> {
    let mut kinds = [Kind::TimeWaitOverflow, Kind::Retransmit].into_iter();
    if kinds.any(|kind| filters.is_whole_namespaces(kind)) {
        netstat::counted()
    } else {
        BTreeMap::new()
    }
}

/// One counter of each namespace.
pub(super) fn each(
    counted: &BTreeMap<u32, Counted>,
    one: impl Fn(&Counted) -> u64,
) -> BTreeMap<u32, u64> {
    let each = counted.iter();
    each.map(|(netns, counted)| (*netns, one(counted)))
        .collect()
}

//! Recording from here on: what was before is taken off every sum, so that the recorded trace's sums are
//! those of its events.

use std::{borrow::Cow, collections::BTreeMap, io};

use rustc_hash::FxHashMap;
use tracer_common::process::Totals;

use crate::{
    aggregate::Aggregate,
    event::Event,
    fact::{Fact, Facts},
    identity::Pid,
    kernel::counters::{HookRow, Lost},
    sink::Sink,
    time::Time,
    trace::frame::{End, ProcessRow, Start, Sums},
};

/// A sink that began in the middle of a trace.
pub struct Recorder {
    sink: Box<dyn Sink>,
    started: Time,
    /// What had happened to processes before.
    before: FxHashMap<Pid, Totals>,
    hooks: Vec<HookRow>,
    /// Events since, by kind.
    events: BTreeMap<Cow<'static, str>, u64>,
    /// The latest rows, for the last line.
    processes: FxHashMap<Pid, ProcessRow>,
    latest: Vec<HookRow>,
}

impl Recorder {
    /// Begins with what is known by now.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn new(mut sink: Box<dyn Sink>, aggregate: &Aggregate) -> io::Result<Self> {
        let now = aggregate.now;
        if let Some(start) = &aggregate.start {
            sink.start(&Start {
                ts: now,
                ..start.clone()
            })?;
        }
        tell_known(&aggregate.facts, sink.as_mut())?;
        let processes = aggregate.processes.iter();
        let mut here = Self {
            sink,
            started: now,
            before: processes
                .clone()
                .map(|(pid, process)| (*pid, process.totals))
                .collect(),
            hooks: aggregate.hooks.clone(),
            events: BTreeMap::new(),
            processes: FxHashMap::default(),
            latest: aggregate.hooks.clone(),
        };
        // Who has how many sockets is told now, as it is not told again until it changes.
        here.sums(&Sums {
            ts: now,
            processes: processes
                .filter(|(_, process)| process.sockets > 0)
                .map(|(_, process)| ProcessRow {
                    who: process.who.clone(),
                    sockets: process.sockets,
                    totals: process.totals,
                })
                .collect(),
            hooks: aggregate.hooks.clone(),
        })?;
        Ok(here)
    }

    /// Ends the recording while the trace goes on.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn finish(mut self, now: Time) -> io::Result<()> {
        let end = End {
            event: "end",
            ts: now,
            duration_us: now.since(self.started) / 1_000,
            events: self.events.clone(),
            hooks: self.latest.clone(),
            processes: self.processes.values().cloned().collect(),
        };
        self.sink.end(&end)?;
        self.sink.flush()
    }

    fn since(&self, rows: &[ProcessRow]) -> Vec<ProcessRow> {
        rows.iter()
            .map(|row| {
                let before = self.before.get(&row.pid()).copied().unwrap_or_default();
                ProcessRow {
                    totals: less(&row.totals, &before),
                    ..row.clone()
                }
            })
            .collect()
    }

    fn hooks_since(&self, rows: &[HookRow]) -> Vec<HookRow> {
        rows.iter()
            .map(|row| {
                let before = self.hooks.iter().find(|before| before.hook == row.hook);
                before.map_or_else(|| row.clone(), |before| hook_less(row, before))
            })
            .collect()
    }
}

/// Tells the latest value of each fact.
fn tell_known(facts: &Facts, sink: &mut dyn Sink) -> io::Result<()> {
    for subject in facts.subjects() {
        for (name, known) in facts.of(subject) {
            let (ts, value) = &known.last;
            sink.fact(&Fact {
                ts: *ts,
                subject: *subject,
                name: Cow::Owned(name.to_owned()),
                value: value.clone(),
            })?;
        }
    }
    Ok(())
}

const fn less(now: &Totals, before: &Totals) -> Totals {
    Totals {
        connections: now.connections.saturating_sub(before.connections),
        connect_failed: now.connect_failed.saturating_sub(before.connect_failed),
        retransmit_segs: now.retransmit_segs.saturating_sub(before.retransmit_segs),
        resets_sent: now.resets_sent.saturating_sub(before.resets_sent),
        resets_received: now.resets_received.saturating_sub(before.resets_received),
        time_wait_overflow: now
            .time_wait_overflow
            .saturating_sub(before.time_wait_overflow),
        fd_exhausted: now.fd_exhausted.saturating_sub(before.fd_exhausted),
        lost: now.lost.saturating_sub(before.lost),
    }
}

fn hook_less(now: &HookRow, before: &HookRow) -> HookRow {
    let less = u64::saturating_sub;
    HookRow {
        hook: now.hook,
        rung: now.rung.clone(),
        entered: less(now.entered, before.entered),
        skipped: less(now.skipped, before.skipped),
        missed: less(now.missed, before.missed),
        emitted: less(now.emitted, before.emitted),
        filtered: less(now.filtered, before.filtered),
        aggregated: less(now.aggregated, before.aggregated),
        lost: Lost {
            ring_full: less(now.lost.ring_full, before.lost.ring_full),
            map_full: less(now.lost.map_full, before.lost.map_full),
        },
    }
}

impl Sink for Recorder {
    fn start(&mut self, _: &Start) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        *self.events.entry(event.detail.kind().into()).or_default() += 1;
        self.sink.event(event)
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.sink.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        for (pid, past) in sums.folded() {
            self.processes.remove(&pid);
            if let Some(before) = self.before.remove(&pid) {
                self.before.entry(past).or_default().add(&before);
            }
        }
        let since = Sums {
            ts: sums.ts,
            processes: self.since(&sums.processes),
            hooks: self.hooks_since(&sums.hooks),
        };
        for row in &since.processes {
            if !row.is_empty() || self.processes.contains_key(&row.pid()) {
                self.processes.insert(row.pid(), row.clone());
            }
        }
        self.latest.clone_from(&since.hooks);
        self.sink.sums(&since)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        let nothing = Totals::default();
        self.sink.end(&End {
            event: "end",
            ts: end.ts,
            duration_us: end.ts.since(self.started) / 1_000,
            events: self.events.clone(),
            hooks: self.hooks_since(&end.hooks),
            processes: self
                .since(&end.processes)
                .into_iter()
                .filter(|row| row.totals != nothing)
                .collect(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

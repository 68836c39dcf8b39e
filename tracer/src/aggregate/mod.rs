//! What a trace comes to: a pure sum over its events, facts and sums, the same for a live trace and a
//! recorded one. The screen, reports and findings are views of it.
//!
//! Per process totals are the kernel's own ([`Sums`]) and do not depend on what the stream lost; what is
//! finer than a process (peers, causes, system calls, single connections) is added up from events.

mod connection;
mod flow;
mod latency;
mod process;
#[cfg(test)]
pub(crate) mod sample;
mod series;
mod states;

use std::{borrow::Cow, collections::BTreeMap, io, rc::Rc};

use rustc_hash::FxHashMap;
use tracer_common::hook::Hook;

pub use self::{
    connection::{Connection, Connections, Stall},
    flow::{Failures, Flow, FlowKey, Streak},
    latency::Latency,
    process::{Descriptors, Overflow, Process},
    series::{Counts, Series},
    states::{COUNTED as COUNTED_STATES, States},
};
use crate::{
    event::{Detail, Event},
    fact::{Fact, Facts, Subject},
    identity::{Pid, UNKNOWN},
    kernel::counters::HookRow,
    sink::Sink,
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// Sums over a trace.
#[derive(Debug, Default)]
pub struct Aggregate {
    /// Its first line.
    pub start: Option<Start>,
    /// Its last line; `None` while it runs, and for one that was cut off.
    pub end: Option<End>,
    /// Time of the latest event, fact or sum.
    pub now: Time,
    /// Events by kind.
    pub events: BTreeMap<Cow<'static, str>, u64>,
    /// Processes; what has no known owner belongs to [`Pid::default`]. Of those that ended some may be
    /// told together, by program: [`Pid::is_past`].
    pub processes: FxHashMap<Pid, Process>,
    /// Connections that retransmit or were reset, the worst of them.
    pub connections: Connections,
    /// Latencies and lifetimes by program (`comm`); those without a known owner under [`UNKNOWN`].
    pub programs: BTreeMap<String, Latency>,
    /// The books of each hook.
    pub hooks: Vec<HookRow>,
    /// Events of the whole trace over time.
    pub series: Series,
    /// Sockets in each state over time; empty unless state changes were asked for.
    pub states: States,
    /// What was read beside the events.
    pub facts: Facts,
}

impl Aggregate {
    /// A process, if there was anything about it.
    #[must_use]
    pub fn process(&self, pid: Pid) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// How long the trace is, so far, us.
    #[must_use]
    pub fn duration_us(&self) -> u64 {
        match (&self.end, &self.start) {
            (Some(end), _) => end.duration_us,
            (None, Some(start)) => self.now.since(start.ts) / 1_000,
            (None, None) => 0,
        }
    }

    /// Events that did not reach the stream, and runs that the kernel left out.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.hooks.iter().fold(Lost::default(), |sum, row| Lost {
            ring_full: sum.ring_full + row.lost.ring_full,
            map_full: sum.map_full + row.lost.map_full,
            skipped: sum.skipped + row.skipped,
        })
    }

    /// A hook's books.
    #[must_use]
    pub fn hook(&self, hook: Hook) -> Option<&HookRow> {
        self.hooks.iter().find(|row| row.hook == hook)
    }

    fn of(&mut self, event: &Event) -> &mut Process {
        let pid = event.owner.as_ref().map(|who| who.id()).unwrap_or_default();
        let process = self.processes.entry(pid).or_default();
        if let Some(who) = &event.owner {
            match &process.who {
                Some(known) if Rc::ptr_eq(known, who) => {}
                _ => process.who = Some(Rc::clone(who)),
            }
        }
        process
    }
}

/// What a trace lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records that found the ring buffer full.
    pub ring_full: u64,
    /// Records and entries that found a map full.
    pub map_full: u64,
    /// Runs that the kernel did not make.
    pub skipped: u64,
}

impl Lost {
    /// Whether anything is missing.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.ring_full + self.map_full + self.skipped > 0
    }
}

impl Sink for Aggregate {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.now = self.now.max(start.ts);
        self.start = Some(start.clone());
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.now = self.now.max(event.ts);
        let kind = event.detail.kind();
        match self.events.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.events.insert(kind.into(), 1);
            }
        }
        self.series.add(event);
        self.states.add(event);
        if let Detail::Connection {
            duration_us,
            connect_us,
            us_in_state,
            ..
        } = event.detail
        {
            let comm = event.owner.as_ref().map_or(UNKNOWN, |owner| &owner.comm);
            match self.programs.get_mut(comm) {
                Some(program) => program.add(connect_us, duration_us, &us_in_state),
                None => {
                    let mut program = Latency::default();
                    program.add(connect_us, duration_us, &us_in_state);
                    self.programs.insert(comm.to_owned(), program);
                }
            }
        }
        self.connections.add(event);
        self.of(event).add(event);
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.now = self.now.max(fact.ts);
        self.facts.add(fact);
        Ok(())
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.now = self.now.max(sums.ts);
        for (pid, past) in sums.folded() {
            self.facts.forget(&Subject::Process(pid));
            if let Some(process) = self.processes.remove(&pid) {
                self.processes.entry(past).or_default().merge(process);
            }
        }
        for row in &sums.processes {
            let pid = row.pid();
            if !row.is_empty() || self.processes.contains_key(&pid) {
                self.processes.entry(pid).or_default().set(sums.ts, row);
            }
        }
        self.hooks.clone_from(&sums.hooks);
        Ok(())
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.sums(&Sums {
            ts: end.ts,
            processes: end.processes.clone(),
            hooks: end.hooks.clone(),
        })?;
        self.end = Some(end.clone());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_common::{conn::OwnerSource, process::Totals, record::Cause};

    use super::*;
    use crate::{event::Ends, identity::Identity, trace::frame::ProcessRow};

    fn named(pid: u32) -> Rc<Identity> {
        Rc::new(Identity {
            pid,
            ..Identity::default()
        })
    }

    fn retransmit(at: u64, pid: u32, port: u16, segs: u32) -> Event {
        let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Event {
            conn_id: Some(u64::from(port)),
            owner: Some(named(pid)),
            owner_source: OwnerSource::Connect,
            ends: Some(Ends {
                local: end(40_000),
                remote: Some(end(port)),
            }),
            ..Event::nobody(Time(at), None, sample::retransmit(Cause::Rto, segs, 1))
        }
    }

    proptest! {
        /// Whatever events are lost, and in whatever order the others come: a process's totals are those
        /// that the kernel told last, and what is finer adds up to the events that came.
        #[test]
        fn any_loss_and_order_keep_the_totals(
            sent in proptest::collection::vec((1u32..4, 1u16..4, 1u32..9, any::<bool>()), 1..60),
            // How much later than it happened an event comes, in steps of all that is told.
            late in proptest::collection::vec(0u64..20, 60),
        ) {
            let mut aggregate = Aggregate::default();
            let mut kernel: BTreeMap<u32, u64> = BTreeMap::new();
            let mut came: BTreeMap<u32, u64> = BTreeMap::new();
            let mut steps = Vec::new();
            for ((at, (pid, port, segs, is_lost)), late) in (1..).zip(sent).zip(late) {
                *kernel.entry(pid).or_default() += u64::from(segs);
                let row = ProcessRow {
                    who: Some(named(pid)),
                    sockets: 1,
                    totals: Totals { retransmit_segs: kernel[&pid], ..Totals::default() },
                };
                let sums = Sums { ts: Time(at), processes: vec![row], hooks: Vec::new() };
                steps.push((at, None, Some(sums)));
                if !is_lost {
                    *came.entry(pid).or_default() += u64::from(segs);
                    steps.push((at + late, Some(retransmit(at, pid, port, segs)), None));
                }
            }
            steps.sort_by_key(|(when, ..)| *when);
            for (_, event, sums) in steps {
                event.iter().for_each(|event| aggregate.event(event).unwrap());
                sums.iter().for_each(|sums| aggregate.sums(sums).unwrap());
            }
            for (pid, segs) in kernel {
                let process = aggregate.process(named(pid).id()).unwrap();
                prop_assert_eq!(process.totals.retransmit_segs, segs);
                let came = came.get(&pid).copied().unwrap_or(0);
                prop_assert_eq!(process.flows.values().map(Flow::segs).sum::<u64>(), came);
                let over_time = process.series.recent(1, 2).retransmit_segs;
                prop_assert_eq!(u64::from(over_time), came);
            }
        }
    }
}

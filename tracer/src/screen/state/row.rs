//! A row of the table: a process or a group, and what happened to it.

use std::rc::Rc;

use tracer_common::process::Totals;

use super::{
    State,
    conditions::{Gauge, full_since},
    key::{self, Key},
    recent::{MINUTE, Rates, Recent, Tally},
};
use crate::{
    aggregate::{Flow, Process},
    identity::{Identity, Pid},
    time::Time,
};

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub key: Key,
    /// Its process, or one of them.
    pub who: Option<Rc<Identity>>,
    /// Processes in it.
    pub members: usize,
    /// Programs in it, one of them in `who`.
    pub programs: usize,
    /// Open sockets; `None` where they are not told apart.
    pub open: Option<u64>,
    /// Per second, lately.
    pub rates: Rates,
    /// The last minute's sum.
    pub minute: Tally,
    /// Trouble in each second of the last minute, if there was any.
    pub trouble: Option<Box<[u64; MINUTE as usize]>>,
    /// When the present trouble began.
    pub since: Option<Time>,
    /// What happened over the whole trace.
    pub totals: Totals,
    /// Its part of all segments sent again so far. How many it sent altogether nobody counts for a process.
    pub share: Option<f64>,
    /// Descriptors used of the limit (of the fullest process); of listeners the queue of the backlog.
    pub gauge: Option<Gauge>,
}

/// Since when a process has been in trouble.
pub(super) fn since(state: &State, pid: Pid) -> Option<Time> {
    let mut row = Row::new(Key::Process(pid));
    match state.aggregate.process(pid) {
        Some(process) => row.add_process(pid, process, state),
        None => row.add_descriptors(pid, state),
    }
    row.since
}

impl Row {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            who: None,
            members: 0,
            programs: 0,
            open: None,
            rates: Rates::default(),
            minute: Tally::default(),
            trouble: None,
            since: None,
            totals: Totals::default(),
            share: None,
            gauge: None,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.key {
            Key::Process(pid) => match &self.who {
                Some(who) => format!("{}[{pid}]", key::name(who)),
                None if pid.pid == 0 => "(owner unknown)".to_owned(),
                None => format!("[{}]", pid.pid),
            },
            Key::Program(name) | Key::Container(name) => name.clone(),
            Key::Peer(peer) => peer.to_string(),
            Key::Listener(port) => format!(":{}", port.port),
        }
    }

    /// Whose it is: the processes of a group, the unit or container of a process.
    #[must_use]
    pub fn note(&self) -> String {
        let who = self.who.as_deref();
        match &self.key {
            Key::Process(_) => who
                .and_then(|who| key::place(&who.place))
                .unwrap_or_default(),
            Key::Program(_) => self.members.to_string(),
            _ => match (self.members, self.programs, who) {
                (0, ..) => String::new(),
                (1, _, Some(who)) => format!("{}[{}]", key::name(who), who.id()),
                (members, 1, Some(who)) => format!("{members} x {}", key::name(who)),
                (1, ..) => "(owner unknown)".to_owned(),
                (members, ..) => format!("{members} processes"),
            },
        }
    }

    /// How bad it is. What fails a request (no descriptor, no connection) comes before what TCP mends by
    /// itself, however often that happens; within a kind the number decides. A process that is about to run
    /// out of descriptors counts before it has.
    pub(super) fn score(&self) -> f64 {
        let minute = &self.minute;
        let weighed: f64 = [
            (minute.descriptors, 10.0),
            (minute.failed, 8.0),
            (minute.segs, 4.0),
            (minute.resets, 2.0),
            (minute.overflows, 1.0),
        ]
        .into_iter()
        .map(|(count, weight)| f64::from(count).ln_1p() * weight)
        .sum();
        let is_full = self.gauge.is_some_and(Gauge::is_nearly_full);
        weighed + if is_full { 20.0 } else { 0.0 }
    }

    pub(super) fn add_recent(&mut self, recent: &Recent, state: &State) {
        let now = state.second();
        let more = recent.rates(now);
        let rates = &mut self.rates;
        rates.events += more.events;
        rates.opened += more.opened;
        rates.failed += more.failed;
        rates.segs += more.segs;
        rates.resets += more.resets;
        rates.overflows += more.overflows;
        rates.descriptors += more.descriptors;
        let sum = recent.sum(now, MINUTE);
        self.minute.add(&sum);
        if sum.trouble() > 0 {
            let minute = recent.minute(now, Tally::trouble);
            let trouble = self
                .trouble
                .get_or_insert_with(|| Box::new([0; MINUTE as usize]));
            for (to, from) in trouble.iter_mut().zip(minute) {
                *to += from;
            }
        }
        self.add_since(recent.began().map(|began| state.time_of(began)));
    }

    /// Of several the earliest.
    fn add_since(&mut self, more: Option<Time>) {
        self.since = self.since.into_iter().chain(more).min();
    }

    pub(super) fn add_member(&mut self, who: Option<&Rc<Identity>>) {
        self.members += 1;
        let is_another = match (&self.who, who) {
            (None, _) => true,
            (Some(known), Some(who)) => known.comm != who.comm,
            (Some(_), None) => true,
        };
        if is_another {
            self.programs += 1;
        }
        if self.who.is_none() {
            self.who = who.cloned();
        }
    }

    pub(super) fn add_process(&mut self, pid: Pid, process: &Process, state: &State) {
        self.add_member(process.who.as_ref());
        self.open = Some(self.open.unwrap_or(0) + process.sockets);
        self.totals.add(&process.totals);
        self.add_descriptors(pid, state);
        if let Some(recent) = state.recent_of(pid) {
            self.add_recent(recent, state);
        }
    }

    /// What a process has of its descriptors, and since when there have been too few.
    pub(super) fn add_descriptors(&mut self, pid: Pid, state: &State) {
        self.add_gauge(state.conditions.descriptors.get(&pid).copied());
        self.add_since(full_since(&state.aggregate.facts, pid, state.started()));
    }

    /// Of several the fullest.
    pub(super) fn add_gauge(&mut self, gauge: Option<Gauge>) {
        if let Some(gauge) = gauge
            && self.gauge.is_none_or(|known| known.share() < gauge.share())
        {
            self.gauge = Some(gauge);
        }
    }

    pub(super) fn add_flow(&mut self, flow: &Flow) {
        self.totals.add(&Totals {
            connections: flow.connections(),
            connect_failed: flow.failed(),
            retransmit_segs: flow.segs(),
            resets_sent: flow.resets_sent,
            resets_received: flow.resets_received,
            time_wait_overflow: flow.overflows,
            ..Totals::default()
        });
    }
}

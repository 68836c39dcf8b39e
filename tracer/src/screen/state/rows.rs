//! The table: processes, or groups of them, ranked.

use std::{net::IpAddr, rc::Rc};

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_common::process::Totals;

use super::{
    State,
    conditions::Gauge,
    key::{self, Grouping, Key},
    recent::{MINUTE, Rates, Recent, Tally},
    view::{Column, Sort},
};
use crate::{
    aggregate::{Flow, FlowKey, Process},
    identity::{Identity, Pid},
    time::Time,
};

/// A process without sockets and without trouble is shown from this share of its descriptors on.
const HALF: f64 = 0.5;

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
    /// Its share of all segments sent again.
    pub share: Option<f64>,
    /// Descriptors used of the limit (of the fullest process); of listeners the queue of the backlog.
    pub gauge: Option<Gauge>,
}

impl Row {
    fn new(key: Key) -> Self {
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
                Some(who) => format!("{}[{}]", key::name(who), who.pid),
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
                (1, _, Some(who)) => format!("{}[{}]", key::name(who), who.pid),
                (members, 1, Some(who)) => format!("{members} x {}", key::name(who)),
                (1, ..) => "(owner unknown)".to_owned(),
                (members, ..) => format!("{members} processes"),
            },
        }
    }

    /// How bad it is. What fails a request (no descriptor, no connection) comes before what TCP mends by
    /// itself, however often that happens; within a kind the number decides. A process that is about to run
    /// out of descriptors counts before it has.
    fn score(&self) -> f64 {
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

    fn add_recent(&mut self, recent: &Recent, state: &State) {
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
        if let Some(began) = recent.began() {
            let began = state.time_of(began);
            self.since = Some(self.since.map_or(began, |since| since.min(began)));
        }
    }

    fn add_member(&mut self, who: Option<&Rc<Identity>>) {
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

    fn add_process(&mut self, pid: Pid, process: &Process, state: &State) {
        self.add_member(process.who.as_ref());
        self.open = Some(self.open.unwrap_or(0) + process.sockets);
        add_totals(&mut self.totals, &process.totals);
        self.add_gauge(state.conditions.descriptors.get(&pid).copied());
        if let Some(recent) = state.recent_of(pid) {
            self.add_recent(recent, state);
        }
    }

    /// Of several the fullest.
    fn add_gauge(&mut self, gauge: Option<Gauge>) {
        if let Some(gauge) = gauge
            && self.gauge.is_none_or(|known| known.share() < gauge.share())
        {
            self.gauge = Some(gauge);
        }
    }

    fn add_flow(&mut self, flow: &Flow) {
        add_totals(
            &mut self.totals,
            &Totals {
                connections: flow.connections(),
                connect_failed: flow.failed(),
                retransmit_segs: flow.segs(),
                resets_sent: flow.resets_sent,
                resets_received: flow.resets_received,
                time_wait_overflow: flow.overflows,
                ..Totals::default()
            },
        );
    }
}

fn add_totals(sum: &mut Totals, more: &Totals) {
    sum.connections += more.connections;
    sum.connect_failed += more.connect_failed;
    sum.retransmit_segs += more.retransmit_segs;
    sum.resets_sent += more.resets_sent;
    sum.resets_received += more.resets_received;
    sum.time_wait_overflow += more.time_wait_overflow;
    sum.fd_exhausted += more.fd_exhausted;
    sum.lost += more.lost;
}

/// The table as it is grouped, filtered and sorted.
#[must_use]
pub(super) fn rows(state: &State) -> Vec<Row> {
    let view = &state.view;
    let mut rows = match view.grouping {
        Grouping::Process => processes(state),
        Grouping::Program => by_process(state, |who| {
            Key::Program(who.map_or_else(|| "(owner unknown)".to_owned(), key::name))
        }),
        Grouping::Container => by_process(state, |who| {
            let place = who.and_then(|who| key::place(&who.place));
            Key::Container(place.unwrap_or_else(|| "(no container, no unit)".to_owned()))
        }),
        Grouping::Peer => by_flow(state, |flow, is_owned| {
            Some(Key::Peer(state.listening.peer(flow, is_owned)))
        }),
        Grouping::Listener => listeners(state),
    };
    let segs: u64 = state
        .aggregate
        .processes
        .values()
        .map(|process| process.totals.retransmit_segs)
        .sum();
    for row in &mut rows {
        let own = row.totals.retransmit_segs;
        row.share = (own > 0 && segs > 0).then(|| own.min(segs) as f64 / segs as f64);
    }
    sort(&mut rows, view.sort);
    rows
}

fn sort(rows: &mut [Row], sort: Sort) {
    let by = |row: &Row| match sort.column {
        Column::Trouble => row.score(),
        Column::Open => row.open.unwrap_or(0) as f64,
        Column::Opened => row.rates.opened,
        Column::Failed => row.rates.failed,
        Column::Retransmits => row.rates.segs,
        Column::Resets => row.rates.resets,
        Column::Overflows => row.rates.overflows,
        Column::Descriptors => row.rates.descriptors,
        Column::Gauge => row.gauge.map_or(0.0, Gauge::share),
    };
    rows.sort_by(|one, other| {
        let order = by(other)
            .total_cmp(&by(one))
            .then_with(|| other.totals.trouble().cmp(&one.totals.trouble()))
            .then_with(|| {
                let share = |row: &Row| row.gauge.map_or(0.0, Gauge::share);
                share(other).total_cmp(&share(one))
            })
            .then_with(|| other.open.cmp(&one.open));
        let order = if sort.is_reversed {
            order.reverse()
        } else {
            order
        };
        order.then_with(|| one.key.cmp(&other.key))
    });
}

/// Whether a process is in the group that the table is narrowed to.
fn is_in_scope(state: &State, process: &Process) -> bool {
    let who = process.who.as_deref();
    let is_owned = who.is_some();
    match &state.view.scope {
        None | Some(Key::Process(_)) => true,
        Some(Key::Program(program)) => {
            who.map_or_else(|| "(owner unknown)".to_owned(), key::name) == *program
        }
        Some(Key::Container(container)) => {
            who.and_then(|who| key::place(&who.place))
                .as_deref()
                .unwrap_or("(no container, no unit)")
                == container
        }
        Some(Key::Peer(peer)) => process
            .flows
            .keys()
            .any(|flow| state.listening.peer(flow, is_owned) == *peer),
        Some(Key::Listener(port)) => process
            .flows
            .keys()
            .any(|flow| state.listening.port(flow, is_owned) == Some(*port)),
    }
}

fn ends(process: &Process) -> impl Iterator<Item = (IpAddr, u16)> + Clone {
    process.flows.keys().map(|flow| (flow.peer, flow.port))
}

/// Whether anything happened to a process, or it has what can run out.
fn is_telling(state: &State, pid: Pid, process: &Process) -> bool {
    process.sockets > 0
        || process.totals != Totals::default()
        || state
            .conditions
            .descriptors
            .get(&pid)
            .is_some_and(|gauge| gauge.share() >= HALF)
}

/// Processes that anything is known of: what happened to them, or how many descriptors they have.
fn processes(state: &State) -> Vec<Row> {
    let passes = |process: &Process| {
        is_in_scope(state, process)
            && (state.view.filter.is_empty()
                || state
                    .view
                    .filter
                    .subject("", process.who.as_deref().into_iter(), ends(process)))
    };
    let known = &state.aggregate.processes;
    let with_events = known
        .iter()
        .filter(|(pid, process)| is_telling(state, **pid, process))
        .filter(|(_, process)| passes(process))
        .map(|(pid, process)| {
            let mut row = Row::new(Key::Process(*pid));
            row.add_process(*pid, process, state);
            row
        });
    let only_facts = state
        .conditions
        .descriptors
        .iter()
        .filter(|(_, gauge)| gauge.share() >= HALF)
        .filter(|(pid, _)| !known.contains_key(pid) && state.view.scope.is_none())
        .filter_map(|(pid, gauge)| {
            let who = state.described(*pid);
            let passes = state.view.filter.is_empty()
                || state
                    .view
                    .filter
                    .subject("", who.as_deref().into_iter(), std::iter::empty());
            let mut row = Row::new(Key::Process(*pid));
            row.who = who;
            row.members = 1;
            row.add_gauge(Some(*gauge));
            passes.then_some(row)
        });
    with_events.chain(only_facts).collect()
}

fn by_process(state: &State, key: impl Fn(Option<&Identity>) -> Key) -> Vec<Row> {
    let mut rows: FxHashMap<Key, Row> = FxHashMap::default();
    for (pid, process) in &state.aggregate.processes {
        if !is_telling(state, *pid, process) {
            continue;
        }
        let key = key(process.who.as_deref());
        if !state.view.filter.is_empty() {
            let name = match &key {
                Key::Program(name) | Key::Container(name) => name.as_str(),
                _ => "",
            };
            let who = process.who.as_deref().into_iter();
            if !state.view.filter.subject(name, who, ends(process)) {
                continue;
            }
        }
        rows.entry(key.clone())
            .or_insert_with(|| Row::new(key))
            .add_process(*pid, process, state);
    }
    rows.into_values().collect()
}

fn by_flow(state: &State, key: impl Fn(&FlowKey, bool) -> Option<Key>) -> Vec<Row> {
    let mut rows: FxHashMap<Key, (Row, FxHashSet<Pid>)> = FxHashMap::default();
    for (pid, process) in &state.aggregate.processes {
        for (flow_key, flow) in &process.flows {
            let Some(key) = key(flow_key, process.who.is_some()) else {
                continue;
            };
            if !state.view.filter.is_empty() {
                let end = std::iter::once((flow_key.peer, flow_key.port));
                let who = process.who.as_deref().into_iter();
                if !state.view.filter.subject("", who, end) {
                    continue;
                }
            }
            let (row, members) = rows
                .entry(key.clone())
                .or_insert_with(|| (Row::new(key), FxHashSet::default()));
            row.add_flow(flow);
            if members.insert(*pid) {
                row.add_member(process.who.as_ref());
            }
        }
    }
    rows.into_values()
        .map(|(mut row, _)| {
            let recent = match &row.key {
                Key::Peer(peer) => state.recent_of_peer(peer),
                Key::Listener(port) => state.recent_of_port(*port),
                _ => None,
            };
            if let Some(recent) = recent {
                row.add_recent(recent, state);
            }
            row
        })
        .collect()
}

/// Ports with what came in there, and those whose queue was read.
fn listeners(state: &State) -> Vec<Row> {
    let mut rows = by_flow(state, |flow, is_owned| {
        state.listening.port(flow, is_owned).map(Key::Listener)
    });
    for queue in &state.conditions.queues {
        let key = Key::Listener(key::Port {
            netns: queue.netns,
            port: queue.local.port(),
        });
        let place = match rows.iter().position(|row| row.key == key) {
            Some(place) => place,
            None => {
                let who = queue.pid.and_then(|pid| state.by_number(pid));
                let ends = std::iter::once((queue.local.ip(), queue.local.port()));
                if !state
                    .view
                    .filter
                    .subject("", who.as_deref().into_iter(), ends)
                {
                    continue;
                }
                let mut row = Row::new(key);
                if who.is_some() {
                    row.add_member(who.as_ref());
                }
                rows.push(row);
                rows.len() - 1
            }
        };
        rows[place].add_gauge(Some(queue.gauge));
    }
    rows
}

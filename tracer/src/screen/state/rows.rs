//! The table: processes, or groups of them, ranked.

use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};
use tracer_common::process::Totals;

use super::{
    State,
    conditions::Gauge,
    key::{self, Grouping, Key},
    row::Row,
    view::{Column, Sort},
};
use crate::{
    aggregate::{FlowKey, Process},
    identity::{Identity, Pid},
};

/// A process without sockets and without trouble is shown from this share of its descriptors on.
const HALF: f64 = 0.5;

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

/// The ends that a process is found by: of what happened to it, and of how things stand.
fn ends(state: &State, pid: Pid, process: &Process) -> impl Iterator<Item = (IpAddr, u16)> + Clone {
    let flows = process.flows.keys().map(|flow| (flow.peer, flow.port));
    flows.chain(state.conditions.ends(pid))
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
    let filter = &state.view.filter;
    let passes = |pid: Pid, process: &Process| {
        let who = process.who.as_deref().into_iter();
        is_in_scope(state, process)
            && (filter.is_empty() || filter.subject("", who, ends(state, pid, process)))
    };
    let known = &state.aggregate.processes;
    let with_events = known
        .iter()
        .filter(|(pid, process)| is_telling(state, **pid, process))
        .filter(|(pid, process)| passes(**pid, process))
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
        .filter_map(|(pid, _)| {
            let who = state.described(*pid);
            let ends = state.conditions.ends(*pid);
            let passes = filter.is_empty() || filter.subject("", who.as_deref().into_iter(), ends);
            let mut row = Row::new(Key::Process(*pid));
            row.who = who;
            row.members = 1;
            row.add_descriptors(*pid, state);
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
            if !state
                .view
                .filter
                .subject(name, who, ends(state, *pid, process))
            {
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

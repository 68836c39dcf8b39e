//! What the screen shows: the trace's sums, its newest events, and what the user looks at. A pure sink:
//! no clock, no terminal.

mod age;
mod conditions;
mod connections;
mod filter;
mod key;
mod pace;
mod player;
mod recent;
mod row;
mod rows;
mod stream;
mod take;
mod trouble;
mod view;

use std::{path::PathBuf, rc::Rc};

use self::pace::Pace;
pub use self::{
    age::Age,
    conditions::{Conditions, Gauge, Queue, Stuck},
    connections::{Conn, connections},
    filter::Filter,
    key::{Grouping, Key, Listening, Peer, Port, name, place},
    player::{Player, Speed},
    recent::{MINUTE, Rates, Recent, Recents, Tally},
    row::Row,
    stream::Stream,
    trouble::Trouble,
    view::{Column, Focus, Kinds, Overlay, Page, Sort, View},
};
use crate::{
    aggregate::Aggregate,
    diagnose::Finding,
    event::Event,
    fact::{self, Subject},
    identity::{Identity, Pid},
    kernel::ladder::LADDER,
    time::Time,
};

const SECOND: u64 = 1_000_000_000;

/// Everything that the screen shows.
#[derive(Debug, Default)]
pub struct State {
    /// The trace's sums.
    pub aggregate: Aggregate,
    /// Its newest events.
    pub stream: Stream,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How things stand.
    pub conditions: Conditions,
    /// The table.
    pub rows: Vec<Row>,
    /// The connections of the process whose page is open.
    pub connections: Vec<Conn>,
    /// What happened to it, by kind.
    pub troubles: Vec<Trouble>,
    /// Since when it has been in trouble.
    pub since: Option<Time>,
    /// What the user looks at.
    pub view: View,
    /// Where the trace is recorded to, and since when.
    pub recording: Option<(PathBuf, Time)>,
    /// What was done last, or why it failed.
    pub message: Option<String>,
    /// The player of a recorded trace.
    pub player: Option<Player>,
    listening: Listening,
    all: Pace,
    processes: Recents<Pid>,
    peers: Recents<Peer>,
    ports: Recents<Port>,
    /// Seconds from the start to the latest sums.
    second: Option<u64>,
    /// What the stream was judged by.
    judged: (Kinds, Filter),
    is_stale: bool,
    has_news: bool,
}

impl State {
    /// The whole second, from the start, that all sums are known of.
    #[must_use]
    pub fn second(&self) -> u64 {
        self.second.unwrap_or(0)
    }

    /// The beginning of a second.
    #[must_use]
    pub fn time_of(&self, second: u64) -> Time {
        Time(self.started().0 + second.saturating_sub(1) * SECOND)
    }

    /// When the trace started.
    #[must_use]
    pub fn started(&self) -> Time {
        self.aggregate
            .start
            .as_ref()
            .map_or(Time(0), |start| start.ts)
    }

    /// Nanoseconds since the trace started.
    #[must_use]
    pub fn elapsed(&self) -> u64 {
        self.aggregate.now.since(self.started())
    }

    /// How long something has lasted that was first seen at `since`.
    #[must_use]
    pub fn age(&self, since: Time) -> Age {
        Age::new(self.started(), since, self.aggregate.now)
    }

    /// Events of any kind and owner, lately.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.all.recent().rates(self.second())
    }

    /// Moments that are not seen in the best way: the hook and its rung.
    #[must_use]
    pub fn degraded(&self) -> Vec<(&str, &str)> {
        let hooks = self.aggregate.start.iter().flat_map(|start| &start.hooks);
        hooks
            .filter(|attached| {
                let step = LADDER.iter().find(|step| step.hook.name() == attached.hook);
                step.and_then(|step| step.rungs.first())
                    .is_some_and(|best| best.name != attached.rung)
            })
            .map(|attached| (attached.hook.as_ref(), attached.rung.as_ref()))
            .collect()
    }

    /// Takes that the view has changed.
    pub const fn touch(&mut self) {
        self.is_stale = true;
        self.has_news = true;
    }

    /// Whether anything is to be drawn anew; asked once a frame.
    pub const fn take_news(&mut self) -> bool {
        std::mem::replace(&mut self.has_news, false)
    }

    /// Looks which events of the stream are shown, if the view asks for others than before.
    pub fn judge(&mut self) {
        let view = &self.view;
        if self.judged.0 != view.kinds || self.judged.1 != view.filter {
            self.stream.judge(|event| view.shows(event));
            self.judged = (view.kinds, view.filter.clone());
        }
    }

    /// Brings the table up to date, if anything that it depends on has changed.
    pub fn refresh(&mut self) {
        self.judge();
        if std::mem::replace(&mut self.is_stale, false) {
            self.conditions = Conditions::of(&self.aggregate.facts);
            self.rows = rows::rows(self);
            (self.connections, self.troubles, self.since) = match self.view.page {
                Page::Process(pid) => (
                    connections(self, pid),
                    trouble::troubles(self, pid),
                    row::since(self, pid),
                ),
                Page::Table | Page::Findings => Default::default(),
            };
        }
    }

    /// Takes what is wrong.
    pub fn set_findings(&mut self, findings: Vec<Finding>) {
        if self.findings != findings {
            self.findings = findings;
            self.has_news = true;
        }
    }

    /// Where the selected row is.
    #[must_use]
    pub fn selected(&self) -> usize {
        let Some(key) = &self.view.selected else {
            return 0;
        };
        self.rows
            .iter()
            .position(|row| row.key == *key)
            .unwrap_or(0)
    }

    /// Events that pass the filter, the newest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.stream.newest()
    }

    /// A process's last minute, if anything happened in it.
    #[must_use]
    pub fn recent_of(&self, pid: Pid) -> Option<&Recent> {
        self.processes.get(&pid)
    }

    /// As above, of a peer.
    #[must_use]
    pub fn recent_of_peer(&self, peer: &Peer) -> Option<&Recent> {
        self.peers.get(peer)
    }

    /// As above, of a port.
    #[must_use]
    pub fn recent_of_port(&self, port: Port) -> Option<&Recent> {
        self.ports.get(&port)
    }

    /// A process's own events that pass the filter, the newest first.
    pub fn events_of(&self, pid: Pid) -> impl Iterator<Item = &Event> {
        let owner = |event: &Event| event.owner.as_ref().map(|who| who.id()).unwrap_or_default();
        self.events().filter(move |event| owner(event) == pid)
    }

    /// Who a process is, as far as events or facts tell.
    #[must_use]
    pub fn described(&self, pid: Pid) -> Option<Rc<Identity>> {
        if let Some(who) = self
            .aggregate
            .process(pid)
            .and_then(|process| process.who.as_ref())
        {
            return Some(Rc::clone(who));
        }
        let comm = self
            .aggregate
            .facts
            .text(&Subject::Process(pid), fact::name::COMM)?;
        Some(Rc::new(Identity {
            pid: pid.pid,
            start: pid.start,
            comm: comm.to_owned(),
            ..Identity::default()
        }))
    }

    /// Who has a pid: of several the one that started last.
    #[must_use]
    pub fn by_number(&self, pid: u32) -> Option<Rc<Identity>> {
        let known = self
            .aggregate
            .processes
            .keys()
            .chain(self.conditions.descriptors.keys());
        let latest = known.filter(|known| known.pid == pid).max()?;
        self.described(*latest)
    }

    /// A process's ancestors, the nearest first, as far as they were read.
    #[must_use]
    pub fn ancestors(&self, pid: Pid) -> Vec<Pid> {
        let facts = &self.aggregate.facts;
        let mut chain = vec![pid];
        while let Some(child) = chain.last().map(|child| Subject::Process(*child))
            && let Some(parent) = facts.number(&child, fact::name::PARENT)
            && let Some(start) = facts.number(&child, fact::name::PARENT_START)
        {
            let parent = Pid {
                pid: u32::try_from(parent).unwrap_or(0),
                start: Time(u64::try_from(start).unwrap_or(0)),
            };
            // A recorded file may say anything.
            if chain.contains(&parent) {
                break;
            }
            chain.push(parent);
        }
        chain.remove(0);
        chain
    }

    /// Forgets the trace, as another begins; what the user looks at stays.
    pub fn restart(&mut self) {
        *self = Self {
            view: std::mem::take(&mut self.view),
            player: self.player,
            message: self.message.take(),
            ..Self::default()
        };
        self.touch();
    }
}

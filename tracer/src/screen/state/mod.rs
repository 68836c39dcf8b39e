//! What the screen shows: the trace's sums, its newest events, and what the user looks at. A pure sink:
//! no clock, no terminal.

mod conditions;
mod connections;
mod filter;
mod key;
mod recent;
mod rows;
mod stream;
mod view;

use std::{io, path::PathBuf, rc::Rc};

pub use self::{
    conditions::{Conditions, Gauge, Queue, Stuck},
    connections::{Conn, connections},
    filter::Filter,
    key::{Grouping, Key, Listening, Peer, Port, name, place},
    recent::{MINUTE, Rates, Recent, Recents, Tally},
    rows::Row,
    stream::Stream,
    view::{Column, Focus, Kinds, Overlay, Page, Sort, View},
};
use crate::{
    aggregate::{Aggregate, FlowKey, Process},
    diagnose::Finding,
    event::{Detail, Event},
    fact::{self, Fact, Subject},
    identity::{Identity, Pid},
    kernel::ladder::LADDER,
    sink::Sink,
    time::Time,
    trace::frame::{End, Start, Sums},
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
    /// What the user looks at.
    pub view: View,
    /// Where the trace is recorded to, and since when.
    pub recording: Option<(PathBuf, Time)>,
    /// What was done last, or why it failed.
    pub message: Option<String>,
    /// The player of a recorded trace.
    pub player: Option<Player>,
    listening: Listening,
    all: Recent,
    processes: Recents<Pid>,
    peers: Recents<Peer>,
    ports: Recents<Port>,
    /// Seconds from the start to the latest sums.
    second: Option<u64>,
    is_stale: bool,
    has_news: bool,
}

/// How a recorded trace is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Player {
    /// The trace's first instant.
    pub first: Time,
    /// Its last instant.
    pub last: Time,
    /// How fast.
    pub speed: Speed,
    /// Whether time stands.
    pub is_paused: bool,
}

/// How fast a recorded trace is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speed {
    /// As it was.
    #[default]
    Real,
    /// Ten times as fast.
    Ten,
    /// As fast as it can be read.
    Max,
}

impl Speed {
    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Real => Self::Ten,
            Self::Ten => Self::Max,
            Self::Max => Self::Real,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Real => "1x",
            Self::Ten => "10x",
            Self::Max => "max",
        }
    }
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

    /// Events of any kind and owner, lately.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.all.rates(self.second())
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

    /// Brings the table up to date, if anything that it depends on has changed.
    pub fn refresh(&mut self) {
        if std::mem::replace(&mut self.is_stale, false) {
            self.conditions = Conditions::of(&self.aggregate.facts);
            self.rows = rows::rows(self);
            self.connections = match self.view.page {
                Page::Process(pid) => connections(self, pid),
                Page::Table | Page::Findings => Vec::new(),
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
        self.stream.newest().filter(|event| {
            self.view.kinds.shows(&event.detail)
                && (self.view.filter.is_empty() || self.view.filter.event(event))
        })
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

    /// The second that an event is counted in: the one whose sums will have it.
    fn second_of(&self, ts: Time) -> u64 {
        ts.since(self.started()) / SECOND + 1
    }
}

/// What an event adds.
fn tally(event: &Event) -> Tally {
    let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let mut tally = Tally {
        events: 1,
        ..Tally::default()
    };
    match event.detail {
        Detail::ConnectFailed { .. } => tally.failed = 1,
        Detail::Retransmit { segs, .. } => tally.segs = segs,
        Detail::Reset { .. } => tally.resets = 1,
        Detail::TimeWaitOverflow { count, .. } => tally.overflows = clamp(count),
        Detail::FdExhausted { count, .. } => tally.descriptors = clamp(count),
        Detail::Connection { .. } => tally.opened = 1,
        Detail::State { .. } | Detail::Lost { .. } => {}
    }
    tally
}

/// What happened to a process since its last sums, as the kernel counted. Connections opened are those
/// that ended and those that are open now and were not before.
fn growth(before: &Process, sockets_before: u64, row: &crate::trace::frame::ProcessRow) -> Tally {
    let grown =
        |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
    let (now, then) = (&row.totals, &before.totals);
    Tally {
        events: 0,
        opened: grown(
            row.sockets + now.connections,
            sockets_before + then.connections,
        ),
        failed: grown(now.connect_failed, then.connect_failed),
        segs: grown(now.retransmit_segs, then.retransmit_segs),
        resets: grown(
            now.resets_sent + now.resets_received,
            then.resets_sent + then.resets_received,
        ),
        overflows: grown(now.time_wait_overflow, then.time_wait_overflow),
        descriptors: grown(now.fd_exhausted, then.fd_exhausted),
    }
}

impl Sink for State {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.touch();
        self.aggregate.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.has_news = true;
        self.aggregate.event(event)?;
        self.stream.push(event);
        let tally = tally(event);
        let second = self.second_of(event.ts);
        self.all.add(second, &tally);
        // Plain connections are most of a busy stream, and tell nothing of peers that counts here.
        if tally.trouble() > 0
            && let Some(flow) = FlowKey::of(event)
        {
            let is_owned = event.owner.is_some();
            self.peers
                .add(self.listening.peer(&flow, is_owned), second, &tally);
            if let Some(port) = self.listening.port(&flow, is_owned) {
                self.ports.add(port, second, &tally);
            }
        }
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        if let Subject::Listener { netns, local } = fact.subject {
            self.listening.add(Port {
                netns,
                port: local.port(),
            });
        }
        self.touch();
        self.aggregate.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        let first = self.second.is_none();
        let before = self.second();
        let now = ((sums.ts.since(self.started()) + SECOND / 2) / SECOND).max(before);
        self.second = Some(now);
        let nothing = Process::default();
        for row in &sums.processes {
            let pid = row.who.as_ref().map(|who| who.id()).unwrap_or_default();
            let process = self.aggregate.process(pid).unwrap_or(&nothing);
            // Sockets that were there before the trace were not opened in it.
            let sockets = if first { row.sockets } else { process.sockets };
            let grown = growth(process, sockets, row);
            self.processes.spread(pid, before, now, &grown);
        }
        self.processes.prune(now);
        self.peers.prune(now);
        self.ports.prune(now);
        self.touch();
        self.aggregate.sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.touch();
        self.aggregate.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

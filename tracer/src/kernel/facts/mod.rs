//! Facts beside the events: what stands at the start, the namespaces' own counters, and evidence of what
//! is in trouble. Nothing else is looked at: a healthy machine costs a few reads of `/proc` a second.
//!
//! A file per subject. Names stand in [`crate::fact::name`].

mod descriptors;
mod look;
mod looked_at;
mod loss;
mod machine;
mod namespace;
mod options;
mod pace;
mod process;
mod refused;
mod socket;
mod supervisor;
mod tell;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use tracer_common::{record::Cause, tcp::errno::ECONNREFUSED};

use self::{loss::Loss, process::Processes, tell::Tell, turns::Turns};
use super::{
    clock::Epoch,
    filters::Filters,
    netns::{self, Place},
    session::Session,
};
use crate::{
    event::{Detail, Ends, Errno, Event},
    fact::Subject,
    identity::{Identity, Pid},
    sink::Sink,
};

/// Counters of namespaces where nothing happens are read every so many ticks.
const CALM: u64 = 10;
/// Connections in trouble whose sockets are asked after.
const STALLED: usize = 64;
/// Processes in trouble that are looked at in a tick.
const TROUBLED: usize = 16;
/// Processes in trouble whose ancestors are read at once in a tick: they may be gone in a moment.
const HURRIED: usize = 256;
/// A timer that has doubled so often is looked into: one timeout happens on healthy paths.
const STALLED_BACKOFF: u8 = 2;

/// Reads facts, and remembers what it told.
pub struct Collector {
    filters: Filters,
    tell: Tell,
    processes: Processes,
    places: BTreeMap<u32, Place>,
    /// When namespaces were last searched for, and how long that took.
    searched: Option<(Instant, Duration)>,
    /// Namespaces with events that the last search did not find.
    unseen: BTreeSet<u32>,
    /// Namespaces that were there once.
    gone: BTreeSet<u32>,
    ticks: u64,
    /// When sockets were last listed for a closed window.
    probed: Option<u64>,
    /// The network namespace that this process is in.
    own: Option<u32>,
    /// Namespaces with events since they were last looked at.
    busy: Turns<u32>,
    loss: Loss,
    /// Processes that ran out of descriptors since they were last looked at.
    troubled: Turns<Pid>,
    /// Of those how many were new since the last tick.
    hurried: usize,
    /// Peers that refused connections.
    refused: refused::Peers,
    /// Connections of the process that somebody looks at.
    looked_at: looked_at::Told,
    /// Connections that nothing is acknowledged on, and whose they are.
    stalled: FxHashMap<(u32, Ends), Option<Pid>>,
}

impl Collector {
    /// Nothing read yet.
    #[must_use]
    pub fn new(epoch: Epoch, filters: Filters) -> Self {
        Self {
            tell: Tell::new(epoch),
            processes: Processes::new(epoch, filters.clone()),
            filters,
            places: BTreeMap::new(),
            searched: None,
            unseen: BTreeSet::new(),
            gone: BTreeSet::new(),
            ticks: 0,
            probed: None,
            own: netns::inode("/proc/self/ns/net".as_ref()).ok(),
            busy: Turns::default(),
            loss: Loss::default(),
            troubled: Turns::default(),
            hurried: 0,
            refused: refused::Peers::new(),
            looked_at: looked_at::Told::new(),
            stalled: FxHashMap::default(),
        }
    }

    /// Reads what stands now.
    pub fn read(&mut self) {
        self.search(&[]);
        self.tell.at_now();
        machine::tell(&mut self.tell);
        let mut sockets = Vec::new();
        for place in self.places.values() {
            namespace::tell_sysctls(&mut self.tell, place);
            namespace::tell_counters(&mut self.tell, place);
            let known = HashSet::new();
            let found = socket::snapshot(&mut self.tell, place, &self.filters, &known);
            sockets.extend(found.unwrap_or_default());
        }
        let wanted = sockets.iter().map(|(_, socket)| socket.inode).collect();
        let walk = self.processes.walk(&wanted);
        if self.filters.is_of_owners() {
            sockets.retain(|(_, socket)| walk.holders.contains_key(&socket.inode));
        }
        sockets = socket::worst_of_each(sockets);
        socket::tell_all(&mut self.tell, &sockets, &walk.holders);
        self.follow(&sockets, &walk.holders);
        for pid in walk.fullest.iter().chain(walk.holders.values()) {
            self.processes.tell(&mut self.tell, *pid);
        }
        for pid in &walk.fullest {
            self.processes.tell_parents(&mut self.tell, *pid, None);
        }
    }

    /// Tells what was read and not told yet.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn flush(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.tell.flush(sink)
    }

    /// An event went by.
    pub fn observe(&mut self, event: &Event, session: &mut Session) {
        let owner = event.owner.as_ref().map(|who| who.id());
        if let Some(netns) = event.netns {
            self.busy.insert(netns);
            // What was not there when it was searched for is there now.
            self.unseen.remove(&netns);
        }
        match event.detail {
            Detail::FdExhausted { .. } => {
                if let Some(who) = &event.owner {
                    self.troubled(who);
                }
            }
            Detail::ConnectFailed { errno, .. } if errno == Errno(ECONNREFUSED) => {
                if let (Some(netns), Some(ends)) = (event.netns, event.ends)
                    && let Some(remote) = ends.remote
                {
                    self.refused(netns, remote);
                }
            }
            Detail::Retransmit {
                cause,
                segs,
                backoff,
                ..
            } => {
                let is_stalled =
                    matches!(cause, Cause::Rto | Cause::Syn) && backoff >= STALLED_BACKOFF;
                if let (Some(netns), Some(ends)) = (event.netns, event.ends)
                    && is_stalled
                    && self.stalled.len() < STALLED
                {
                    self.stalled.insert((netns, ends), owner);
                }
                // What a namespace counted beside is told when the trace is over: too late to watch anything.
                if event.ends.is_some() {
                    self.loss.add(segs);
                    self.watch_drops(session);
                }
            }
            Detail::Connection { .. } => {
                if let (Some(netns), Some(ends)) = (event.netns, event.ends) {
                    self.stalled.remove(&(netns, ends));
                    self.tell.closed(Subject::Connection { netns, ends });
                }
            }
            _ => {}
        }
    }

    /// It ran out of descriptors. It may be gone in a moment, so its ancestors are read at once.
    fn troubled(&mut self, who: &Identity) {
        let pid = who.id();
        self.troubled.insert(pid);
        if self.hurried < HURRIED && !self.processes.knows_parents(pid) {
            self.hurried += 1;
            self.tell.at_now();
            let parent = (who.ppid != 0).then_some(who.ppid);
            self.processes.tell_parents(&mut self.tell, pid, parent);
        }
    }

    /// Tells what has changed; called once a second.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn tick(&mut self, session: &mut Session, sink: &mut dyn Sink) -> io::Result<()> {
        self.ticks += 1;
        self.tell.at_now();
        self.look_into_loss(session);
        self.look_at_namespaces();
        self.follow_stalled();
        self.look_at_refused(false);
        self.watch_drops(session);
        self.processes.tell_again(&mut self.tell);
        self.hurried = 0;
        for pid in self.troubled.take(TROUBLED) {
            self.processes.tell_troubled(&mut self.tell, pid);
        }
        self.tell.flush(sink)
    }

    /// Tells the counters a last time, and what was told before as it is now, and the sockets of the namespace that this is about: what has
    /// stood still through the trace made no event.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn end(&mut self, session: &mut Session, sink: &mut dyn Sink) -> io::Result<()> {
        self.ticks = CALM - 1;
        self.tick(session, sink)?;
        self.look_at_refused(true);
        let mut known: BTreeMap<u32, HashSet<Ends>> = BTreeMap::new();
        for (netns, ends) in self.tell.connections() {
            known.entry(netns).or_default().insert(ends);
        }
        let asked = match self.filters.netns.as_slice() {
            [] => self.own.as_slice(),
            asked => asked,
        };
        for netns in asked {
            known.entry(*netns).or_default();
        }
        for (netns, known) in known {
            self.look_at_sockets(netns, &known);
        }
        self.processes.tell_last(&mut self.tell);
        self.tell.flush(sink)
    }
}

//! Facts beside the events: what stands at the start, the namespaces' own counters, and evidence of what
//! is in trouble. Nothing else is looked at: a healthy machine costs a few reads of `/proc` a second.
//!
//! A file per subject. Names stand in [`crate::fact::name`].

mod looked_at;
mod machine;
mod namespace;
mod options;
mod process;
mod refused;
mod socket;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    time::{Duration, Instant},
};

use tracer_common::{record::Cause, tcp::errno::ECONNREFUSED};

use self::{process::Processes, tell::Tell};
use super::{
    clock::Epoch,
    filters::Filters,
    inet_diag::Socket,
    netns::{self, Place},
    session::Session,
};
use crate::{
    event::{Detail, Ends, Errno, Event},
    fact::Subject,
    identity::Pid,
    sink::Sink,
};

/// Namespaces are searched for anew this often at most: it is a walk over all threads.
const SEARCH: Duration = Duration::from_secs(30);
/// Counters of namespaces where nothing happens are read every so many ticks.
const CALM: u64 = 10;
/// Namespaces that are looked at in a tick, so that a hundred busy ones stay cheap.
const BUSY: usize = 16;
/// Ticks between listings of a namespace's sockets while windows stay closed: it goes over all of them.
const PROBED: u64 = 5;
/// Connections in trouble whose sockets are asked after.
const STALLED: usize = 64;
/// Processes in trouble that are looked at in a tick.
const TROUBLED: usize = 16;
/// Segments sent again in a tick from which on dropped packets are watched: a few are lost anywhere.
const LOSS: u32 = 10;
/// Ticks without such loss after which they are not watched any more.
const LOSS_OVER: u64 = 10;
/// A timer that has doubled so often is looked into: one timeout happens on healthy paths.
const STALLED_BACKOFF: u8 = 2;

/// Reads facts, and remembers what it told.
pub struct Collector {
    filters: Filters,
    tell: Tell,
    processes: Processes,
    places: BTreeMap<u32, Place>,
    searched: Option<Instant>,
    ticks: u64,
    /// When sockets were last listed for a closed window.
    probed: Option<u64>,
    /// The network namespace that this process is in.
    own: Option<u32>,
    /// Namespaces with events since the last tick.
    busy: BTreeSet<u32>,
    /// Segments sent again since the last tick.
    lost: u32,
    /// The last tick with loss, while dropped packets are watched.
    loss: Option<u64>,
    /// Processes that ran out of descriptors since the last tick.
    troubled: BTreeSet<Pid>,
    /// Peers that refused connections.
    refused: refused::Peers,
    /// Connections of the process that somebody looks at.
    looked_at: looked_at::Told,
    /// Connections that nothing is acknowledged on, and whose they are.
    stalled: HashMap<(u32, Ends), Option<Pid>>,
}

impl Collector {
    /// Nothing read yet.
    #[must_use]
    pub fn new(epoch: Epoch, filters: Filters) -> Self {
        Self {
            filters,
            tell: Tell::new(epoch),
            processes: Processes::new(epoch),
            places: BTreeMap::new(),
            searched: None,
            ticks: 0,
            probed: None,
            own: netns::inode("/proc/self/ns/net".as_ref()).ok(),
            busy: BTreeSet::new(),
            lost: 0,
            loss: None,
            troubled: BTreeSet::new(),
            refused: refused::Peers::new(),
            looked_at: looked_at::Told::new(),
            stalled: HashMap::new(),
        }
    }

    /// Reads what stands now.
    pub fn read(&mut self) {
        self.search();
        self.tell.at_now();
        machine::tell(&mut self.tell);
        let mut sockets = Vec::new();
        for place in self.places.values() {
            namespace::tell_sysctls(&mut self.tell, place);
            namespace::tell_counters(&mut self.tell, place);
            sockets.extend(socket::snapshot(place, &self.filters));
        }
        let wanted = sockets.iter().map(|(_, socket)| socket.inode).collect();
        let walk = self.processes.walk(&wanted, &self.filters);
        if self.filters.cgroup.is_some() {
            sockets.retain(|(_, socket)| walk.holders.contains_key(&socket.inode));
        }
        socket::tell_all(&mut self.tell, &sockets, &walk.holders);
        self.follow(&sockets, &walk.holders);
        for pid in walk.fullest.iter().chain(walk.holders.values()) {
            self.processes.tell(&mut self.tell, *pid);
        }
        for pid in &walk.fullest {
            self.processes.tell_parents(&mut self.tell, *pid);
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
        if let Detail::Retransmit { segs, .. } = event.detail {
            self.lost = self.lost.saturating_add(segs);
            if self.lost >= LOSS && self.loss.is_none() {
                session.watch_drops(true);
                self.loss = Some(self.ticks);
            }
        }
        let owner = event.owner.as_ref().map(|who| who.id());
        if let Some(netns) = event.netns {
            self.busy.insert(netns);
        }
        match event.detail {
            Detail::FdExhausted { .. } => self.troubled.extend(owner),
            Detail::ConnectFailed { errno, .. } if errno == Errno(ECONNREFUSED) => {
                if let (Some(netns), Some(ends)) = (event.netns, event.ends)
                    && let Some(remote) = ends.remote
                {
                    self.refused(netns, remote);
                }
            }
            Detail::Retransmit { cause, backoff, .. }
                if matches!(cause, Cause::Rto | Cause::Syn)
                    && backoff >= STALLED_BACKOFF
                    && self.stalled.len() < STALLED =>
            {
                if let (Some(netns), Some(ends)) = (event.netns, event.ends) {
                    self.stalled.insert((netns, ends), owner);
                }
            }
            Detail::Connection { .. } => {
                if let (Some(netns), Some(ends)) = (event.netns, event.ends) {
                    self.stalled.remove(&(netns, ends));
                    self.tell.connection_ended(netns, ends);
                }
            }
            _ => {}
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
        let is_unknown = self
            .busy
            .iter()
            .any(|netns| !self.places.contains_key(netns) && self.wants(*netns));
        if is_unknown || self.ticks.is_multiple_of(CALM) {
            self.search();
        }
        let mut busy = std::mem::take(&mut self.busy);
        // What happens in those is asked for: a queue that overflows for far clients makes no event.
        busy.extend(&self.filters.netns);
        busy.extend(self.own);
        for netns in busy.iter().take(BUSY) {
            self.look(*netns);
        }
        if self.ticks.is_multiple_of(CALM) {
            for (netns, place) in &self.places {
                if !busy.contains(netns) {
                    namespace::tell_counters(&mut self.tell, place);
                }
            }
            machine::tell(&mut self.tell);
        }
        self.follow_stalled();
        self.look_at_refused(false);
        for pid in std::mem::take(&mut self.troubled).iter().take(TROUBLED) {
            self.processes.tell_troubled(&mut self.tell, *pid);
        }
        self.tell.flush(sink)
    }

    /// Tells the counters a last time, and the sockets of the namespace that this is about: what has stood
    /// still through the trace made no event.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn end(&mut self, session: &mut Session, sink: &mut dyn Sink) -> io::Result<()> {
        self.ticks = CALM - 1;
        self.tick(session, sink)?;
        self.look_at_refused(true);
        let asked: Vec<u32> = match self.filters.netns.as_slice() {
            [] => self.own.into_iter().collect(),
            asked => asked.to_vec(),
        };
        for netns in asked {
            self.look_at_sockets(netns);
        }
        self.tell.flush(sink)
    }

    fn wants(&self, netns: u32) -> bool {
        self.filters.netns.is_empty() || self.filters.netns.contains(&netns)
    }

    /// Finds the namespaces, not too often; sysctls of new ones are told.
    fn search(&mut self) {
        if self.searched.is_some_and(|last| last.elapsed() < SEARCH) {
            return;
        }
        let is_first = self.searched.is_none();
        self.searched = Some(Instant::now());
        let mut places = netns::each(|place| Some(place.clone()));
        places.retain(|netns, _| self.wants(*netns));
        if !is_first {
            for (netns, place) in &places {
                if !self.places.contains_key(netns) {
                    namespace::tell_sysctls(&mut self.tell, place);
                }
            }
        }
        self.places = places;
    }

    /// Looks at a namespace in which something happens.
    fn look(&mut self, netns: u32) {
        let Some(place) = self.places.get(&netns) else {
            return;
        };
        let grown = namespace::tell_counters(&mut self.tell, place);
        if grown.listen {
            namespace::tell_sysctls(&mut self.tell, place);
            let (sockets, half_open) = socket::listeners(place, &self.filters);
            let holders = self.processes.holders(&sockets);
            socket::tell_all(&mut self.tell, &sockets, &holders);
            socket::tell_half_open(&mut self.tell, &sockets, &half_open);
            for pid in holders.values() {
                self.processes.tell(&mut self.tell, *pid);
            }
        }
        if grown.probes && self.probed.is_none_or(|last| self.ticks >= last + PROBED) {
            self.probed = Some(self.ticks);
            self.look_at_sockets(netns);
        }
    }

    /// Tells the sockets of a namespace that say something by themselves, and whose they are.
    fn look_at_sockets(&mut self, netns: u32) {
        let Some(place) = self.places.get(&netns) else {
            return;
        };
        let sockets = socket::snapshot(place, &self.filters);
        let holders = self.processes.holders(&sockets);
        socket::tell_all(&mut self.tell, &sockets, &holders);
        for pid in holders.values() {
            self.processes.tell(&mut self.tell, *pid);
        }
        self.follow(&sockets, &holders);
    }

    /// From now on asks after those on which nothing is acknowledged.
    fn follow(&mut self, sockets: &[(u32, Socket)], holders: &HashMap<u64, Pid>) {
        for (netns, socket) in sockets {
            if socket::is_stalled(socket) && self.stalled.len() < STALLED {
                let holder = holders.get(&socket.inode).copied();
                self.stalled.insert((*netns, socket.ends), holder);
            }
        }
    }

    /// Tells what was dropped, and stops watching when nothing is lost any more.
    fn look_into_loss(&mut self, session: &mut Session) {
        let lost = std::mem::take(&mut self.lost);
        let Some(last) = self.loss else { return };
        for dropped in session.dropped() {
            let name = format!(
                "drop.{} {} {}",
                dropped.reason, dropped.source, dropped.destination
            );
            let subject = Subject::Namespace(dropped.netns);
            // Counted from when it began to be watched.
            if self.tell.told(&subject, &name).is_none() {
                self.tell.number(subject, name.clone(), 0);
            }
            self.tell.number(subject, name, dropped.count);
        }
        if lost >= LOSS {
            self.loss = Some(self.ticks);
        } else if self.ticks.saturating_sub(last) > LOSS_OVER {
            session.watch_drops(false);
            self.loss = None;
        }
    }

    /// Asks after the connections that nothing is acknowledged on.
    fn follow_stalled(&mut self) {
        let mut over = Vec::new();
        for ((netns, ends), owner) in &self.stalled {
            let goes_on = self
                .places
                .get(netns)
                .is_some_and(|place| socket::follow(&mut self.tell, place, *ends, *owner));
            if !goes_on {
                over.push((*netns, *ends));
            }
        }
        for key in over {
            self.stalled.remove(&key);
        }
    }
}

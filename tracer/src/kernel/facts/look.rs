//! Looks at namespaces, their counters and their sockets.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{CALM, Collector, STALLED, machine, namespace, socket};
use crate::{
    event::Ends,
    fact::{Subject, name},
    identity::Pid,
    kernel::{inet_diag::Socket, netns},
};

/// Namespaces are searched for anew this often: it is a walk over all threads.
const SEARCH: Duration = Duration::from_secs(30);
/// As above, at most, where something happens in one that is not known, and so many times what the last search took.
const SEARCH_SOON: Duration = Duration::from_secs(1);
/// See above.
const SEARCH_COST: u32 = 20;
/// Namespaces that are looked at in a tick, so that a hundred busy ones stay cheap.
const BUSY: usize = 16;
/// Ticks between listings of a namespace's sockets while windows stay closed: it goes over all of them.
const PROBED: u64 = 5;

impl Collector {
    fn wants(&self, netns: u32) -> bool {
        self.filters.netns.is_empty() || self.filters.netns.contains(&netns)
    }

    /// Finds the namespaces, not too often, but soon where something happens in one that is unknown; sysctls of new ones are told.
    pub(super) fn search(&mut self, unknown: &[u32]) {
        let is_urgent = unknown.iter().any(|netns| !self.unseen.contains(netns));
        let pause = |cost: Duration| {
            if is_urgent {
                SEARCH_SOON.max(cost * SEARCH_COST)
            } else {
                SEARCH
            }
        };
        if let Some((last, cost)) = self.searched
            && last.elapsed() < pause(cost)
        {
            return;
        }
        let began = Instant::now();
        let mut places = netns::each(|place| Some(place.clone()));
        places.retain(|netns, _| self.wants(*netns));
        if self.searched.is_some() {
            for (netns, place) in &places {
                if !self.places.contains_key(netns) {
                    namespace::tell_sysctls(&mut self.tell, place);
                }
            }
        }
        self.places = places;
        if !is_urgent {
            self.unseen.clear();
        }
        let is_there = |netns: &u32| self.places.contains_key(netns);
        let unseen = unknown.iter().filter(|netns| !is_there(netns));
        self.unseen.extend(unseen);
        self.tell_gone();
        self.searched = Some((began, began.elapsed()));
    }

    /// Tells which namespaces are there no more, and no listener and connection of theirs.
    fn tell_gone(&mut self) {
        let told = self.tell.namespaces();
        let gone: Vec<u32> = told
            .filter(|netns| !self.places.contains_key(netns))
            .collect();
        for gone in gone {
            let subject = Subject::Namespace(gone);
            self.tell.number(subject, name::NAMESPACE_ENDED, 1);
            self.tell.forget(&subject);
            self.tell
                .closed_but(&HashSet::new(), |subject| match subject {
                    Subject::Listener { netns, .. } | Subject::Connection { netns, .. } => {
                        *netns == gone
                    }
                    _ => false,
                });
            self.gone.insert(gone);
        }
        for netns in self.places.keys() {
            if self.gone.remove(netns) {
                let subject = Subject::Namespace(*netns);
                self.tell.number(subject, name::NAMESPACE_ENDED, 0);
            }
        }
    }

    /// Looks at those in which something happens, and now and then at all others.
    pub(super) fn look_at_namespaces(&mut self) {
        // What happens in those is asked for: a queue that overflows for far clients makes no event.
        for netns in self.filters.netns.iter().chain(&self.own) {
            self.busy.insert(*netns);
        }
        let now = self.busy.take(BUSY);
        let is_calm = self.ticks.is_multiple_of(CALM);
        self.places.retain(|netns, place| {
            let is_looked_at = is_calm || now.contains(netns);
            !is_looked_at || place.is_there()
        });
        let unknown: Vec<u32> = now
            .iter()
            .filter(|netns| !self.places.contains_key(netns) && self.wants(**netns))
            .copied()
            .collect();
        self.search(&unknown);
        for netns in &now {
            self.look(*netns);
        }
        if is_calm {
            let all: Vec<u32> = self.places.keys().copied().collect();
            for netns in all {
                if !now.contains(&netns) {
                    self.look(netns);
                }
            }
            machine::tell(&mut self.tell);
        }
    }

    /// Looks at a namespace: its counters, its listeners, and what the counters give reason to.
    fn look(&mut self, netns: u32) {
        let Some(place) = self.places.get(&netns) else {
            return;
        };
        let grown = namespace::tell_counters(&mut self.tell, place);
        let half_open = grown.listen.then(|| {
            namespace::tell_sysctls(&mut self.tell, place);
            socket::half_open(place)
        });
        if let Some(mut sockets) = socket::listeners(&mut self.tell, place, &self.filters) {
            // Who holds those that turn nobody away is not worth a walk over all processes.
            let holders = if self.filters.is_of_owners() || half_open.is_some() {
                self.processes.holders(&mut sockets)
            } else {
                HashMap::new()
            };
            let are_all = socket::worst(&mut sockets);
            socket::tell_queues(&mut self.tell, netns, &sockets, are_all);
            if let Some(half_open) = half_open {
                socket::tell_all(&mut self.tell, &sockets, &holders);
                socket::tell_half_open(&mut self.tell, &sockets, &half_open);
                for pid in holders.values() {
                    self.processes.tell(&mut self.tell, *pid);
                }
            }
        }
        if grown.probes && self.probed.is_none_or(|last| self.ticks >= last + PROBED) {
            self.probed = Some(self.ticks);
            self.look_at_sockets(netns, &HashSet::new());
        }
    }

    /// Tells the sockets of a namespace that say something by themselves, and those that are known already, and whose they are.
    pub(super) fn look_at_sockets(&mut self, netns: u32, known: &HashSet<Ends>) {
        let Some(place) = self.places.get(&netns) else {
            return;
        };
        let Some(mut sockets) = socket::snapshot(&mut self.tell, place, &self.filters, known)
        else {
            return;
        };
        let living: HashSet<Ends> = sockets.iter().map(|(_, socket)| socket.ends).collect();
        let missing: Vec<Ends> = known.difference(&living).copied().collect();
        for ends in socket::ended(place, &missing) {
            self.tell.closed(Subject::Connection { netns, ends });
        }
        let holders = self.processes.holders(&mut sockets);
        socket::worst(&mut sockets);
        socket::tell_all(&mut self.tell, &sockets, &holders);
        for pid in holders.values() {
            self.processes.tell(&mut self.tell, *pid);
        }
        self.follow(&sockets, &holders);
    }

    /// From now on asks after those on which nothing is acknowledged.
    pub(super) fn follow(&mut self, sockets: &[(u32, Socket)], holders: &HashMap<u64, Pid>) {
        for (netns, socket) in sockets {
            if socket::is_stalled(socket) && self.stalled.len() < STALLED {
                let holder = holders.get(&socket.inode).copied();
                self.stalled.insert((*netns, socket.ends), holder);
            }
        }
    }

    /// Asks after the connections that nothing is acknowledged on.
    pub(super) fn follow_stalled(&mut self) {
        let mut over = Vec::new();
        let mut neighbours = HashMap::new();
        for ((netns, ends), owner) in &self.stalled {
            let goes_on = self.places.get(netns).is_some_and(|place| {
                let neighbours = neighbours
                    .entry(*netns)
                    .or_insert_with(|| socket::Neighbours::read(place));
                socket::follow(&mut self.tell, place, *ends, *owner, neighbours)
            });
            if !goes_on {
                over.push((*netns, *ends));
            }
        }
        for key in over {
            self.stalled.remove(&key);
        }
    }
}

//! Peers that refused connections, and whether they answer again.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::SocketAddr,
};

use netlink_packet_sock_diag::inet::StateFlags;

use super::Collector;
use crate::{
    event::Ends,
    fact::{Subject, name},
    kernel::{inet_diag, netns::Place},
};

/// Peers that are followed.
const MOST: usize = 64;
/// Ticks after the last refusal for which a peer is followed.
const OVER: u64 = 60;
/// Ticks between listings of a namespace's sockets: it goes over all of them.
const EVERY: u64 = 5;

/// By network namespace and address.
pub(super) type Peers = BTreeMap<(u32, SocketAddr), Peer>;

/// A peer that refused a connection.
pub(super) struct Peer {
    /// The tick of its last refusal.
    last: u64,
    /// Connections to it when they were last listed.
    known: Option<HashSet<Ends>>,
}

impl Collector {
    /// A peer has refused a connection.
    pub(super) fn refused(&mut self, netns: u32, remote: SocketAddr) {
        let at = (netns, remote);
        if self.refused.len() < MOST || self.refused.contains_key(&at) {
            let peer = self.refused.entry(at);
            let peer = peer.or_insert_with(|| Peer {
                last: 0,
                known: None,
            });
            peer.last = self.ticks;
        }
    }

    /// Tells a connection to a peer that has refused some, if there is one that was not there before: one that
    /// goes on makes no event.
    pub(super) fn look_at_refused(&mut self, is_end: bool) {
        let now = self.ticks;
        self.refused
            .retain(|_, peer| now.saturating_sub(peer.last) <= OVER);
        let is_due = is_end || now.is_multiple_of(EVERY);
        let mut wanted: BTreeMap<u32, BTreeSet<SocketAddr>> = BTreeMap::new();
        for ((netns, remote), peer) in &self.refused {
            if is_due || peer.known.is_none() {
                wanted.entry(*netns).or_default().insert(*remote);
            }
        }
        for (netns, remotes) in wanted {
            let Some(place) = self.places.get(&netns) else {
                continue;
            };
            let mut found = established(place, &remotes);
            for remote in remotes {
                let Some(peer) = self.refused.get_mut(&(netns, remote)) else {
                    continue;
                };
                let now = found.remove(&remote).unwrap_or_default();
                let new = peer
                    .known
                    .as_ref()
                    .and_then(|known| now.difference(known).next());
                if let Some(ends) = new {
                    let subject = Subject::Connection { netns, ends: *ends };
                    self.tell.number(subject, name::ANSWERED, 1);
                }
                peer.known = Some(now);
            }
        }
    }
}

/// The connections of a namespace to some peers.
fn established(
    place: &Place,
    remotes: &BTreeSet<SocketAddr>,
) -> BTreeMap<SocketAddr, HashSet<Ends>> {
    let found = place.inside(|| {
        let mut found: BTreeMap<SocketAddr, HashSet<Ends>> = BTreeMap::new();
        inet_diag::list(&StateFlags::ESTABLISHED, |socket| {
            if let Some(remote) = socket.ends.remote
                && remotes.contains(&remote)
            {
                found.entry(remote).or_default().insert(socket.ends);
            }
        })
        .ok()?;
        Some(found)
    });
    found.unwrap_or_default()
}

//! Listeners and connections.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    fs,
};

use ipnet::IpNet;
use netlink_packet_sock_diag::inet::{StateFlags, Timer};
use tracer_common::tcp::state;

use super::{options, tell::Tell};
use crate::{
    event::{Ends, State},
    fact::{Subject, name},
    identity::Pid,
    kernel::{
        filters::Filters,
        inet_diag::{self, Socket},
        netns::Place,
    },
};

/// Listeners and connections that are told of a namespace at once.
const MOST: usize = 512;
/// A receive queue of this many bytes is worth telling beside a peer that is held back by it.
const FULL: u32 = 64 << 10;
/// A connection is idle when nothing came or went for so long, ms: below that nobody waits in vain.
const IDLE_MS: u32 = 2_000;

/// The sockets of a namespace that say something by themselves: listeners; connections in back-off, with
/// a closed window, with much that was not read, or idle and unguarded; and those that are known already.
pub(super) fn snapshot(
    tell: &mut Tell,
    place: &Place,
    filters: &Filters,
    known: &HashSet<Ends>,
) -> Option<Vec<(u32, Socket)>> {
    let states = StateFlags::all() - StateFlags::TIME_WAIT - StateFlags::CLOSE;
    sockets(tell, place, filters, &states, known)
}

/// The listeners of a namespace.
pub(super) fn listeners(
    tell: &mut Tell,
    place: &Place,
    filters: &Filters,
) -> Option<Vec<(u32, Socket)>> {
    sockets(tell, place, filters, &StateFlags::LISTEN, &HashSet::new())
}

/// How many half-open requests wait at each port.
pub(super) fn half_open(place: &Place) -> HashMap<u16, u64> {
    let counted = place.inside(|| {
        let mut by_port = HashMap::new();
        inet_diag::list(&StateFlags::SYN_RECV, |socket| {
            *by_port.entry(socket.ends.local.port()).or_default() += 1;
        })
        .ok()?;
        Some(by_port)
    });
    counted.unwrap_or_default()
}

/// Tells how many half-open requests listeners have.
pub(super) fn tell_half_open(
    tell: &mut Tell,
    listeners: &[(u32, Socket)],
    by_port: &HashMap<u16, u64>,
) {
    for (netns, socket) in listeners {
        let local = socket.ends.local;
        let count = by_port.get(&local.port()).copied().unwrap_or(0);
        let subject = Subject::Listener {
            netns: *netns,
            local,
        };
        tell.number(subject, name::SYN_RECV, count);
    }
}

/// `None` where they can't be listed, which is told. Of whatever owner: who holds them is not known here.
fn sockets(
    tell: &mut Tell,
    place: &Place,
    filters: &Filters,
    states: &StateFlags,
    known: &HashSet<Ends>,
) -> Option<Vec<(u32, Socket)>> {
    let netns = place.inode();
    let found = place.inside(|| {
        let mut found = Vec::new();
        inet_diag::list(states, |socket| {
            if (is_telling(&socket) && lets_in(filters, &socket)) || known.contains(&socket.ends) {
                found.push((netns, socket));
            }
        })
        .ok()?;
        Some(found)
    });
    if found.is_none() && !place.is_there() {
        return None;
    }
    let subject = Subject::Namespace(netns);
    if found.is_none() || tell.told(&subject, name::SOCKETS_UNREAD).is_some() {
        let is_unread = i64::from(found.is_none());
        tell.number(subject, name::SOCKETS_UNREAD, is_unread);
    }
    found
}

/// Leaves the worst of them, the worst first, should there be too many; returns whether all are left.
pub(super) fn worst(sockets: &mut Vec<(u32, Socket)>) -> bool {
    sockets.sort_by_key(|(_, socket)| Reverse(rank(socket)));
    let are_all = sockets.len() <= MOST;
    sockets.truncate(MOST);
    are_all
}

/// As above, of several namespaces one after the other.
pub(super) fn worst_of_each(mut sockets: Vec<(u32, Socket)>) -> Vec<(u32, Socket)> {
    sockets.sort_by_key(|(netns, socket)| (*netns, Reverse(rank(socket))));
    let mut left: HashMap<u32, usize> = HashMap::new();
    sockets.retain(|(netns, _)| {
        let count = left.entry(*netns).or_default();
        *count += 1;
        *count <= MOST
    });
    sockets
}

fn rank(socket: &Socket) -> (bool, bool, u8, u32) {
    let backoff = socket.info.map_or(0, |info| info.backoff);
    let is_listener = socket.state == state::LISTEN;
    let is_full = is_listener && is_full(socket);
    (is_listener, is_full, backoff, socket.recv_queue)
}

/// `include/net/sock.h: sk_acceptq_is_full`
const fn is_full(listener: &Socket) -> bool {
    listener.recv_queue > listener.send_queue
}

fn lets_in(filters: &Filters, socket: &Socket) -> bool {
    let ends = [Some(socket.ends.local), socket.ends.remote];
    let mut ends = ends.into_iter().flatten();
    let is_port =
        filters.ports.is_empty() || ends.clone().any(|end| filters.ports.contains(&end.port()));
    let is_inside = filters.cidrs.is_empty()
        || ends.any(|end| {
            filters
                .cidrs
                .iter()
                .any(|net| net.contains(&IpNet::from(end.ip())))
        });
    is_port && is_inside
}

fn is_telling(socket: &Socket) -> bool {
    socket.state == state::LISTEN
        || is_stalled(socket)
        || socket.recv_queue >= FULL
        || is_unguarded(socket)
}

/// Nothing is acknowledged, or the peer's window is closed.
pub(super) fn is_stalled(socket: &Socket) -> bool {
    let Some(info) = socket.info else {
        return false;
    };
    match socket.timer {
        Some(Timer::Retransmit(..)) => info.retransmits > 0,
        Some(Timer::Probe(_)) => true,
        _ => false,
    }
}

/// Idle, and no timer runs: if the peer vanishes nothing will tell.
fn is_unguarded(socket: &Socket) -> bool {
    socket.state == state::ESTABLISHED
        && socket.timer.is_none()
        && socket.inode != 0
        && !socket.ends.local.ip().is_loopback()
        && socket.info.is_some_and(|info| {
            info.unacked == 0
                && socket.send_queue == 0
                && info.last_data_sent_ms.min(info.last_data_recv_ms) >= IDLE_MS
        })
}

/// Tells sockets, which come the worst first, and who holds them. Of several that listen in one place the fullest is told.
pub(super) fn tell_all(tell: &mut Tell, sockets: &[(u32, Socket)], holders: &HashMap<u64, Pid>) {
    for (netns, socket) in sockets {
        if socket.state != state::LISTEN {
            let holder = holders.get(&socket.inode).copied();
            tell_connection(tell, *netns, socket, holder);
        }
    }
    for (subject, socket) in fullest(sockets) {
        tell_queue(tell, subject, socket);
        if is_full(socket) {
            tell.number(subject, name::BACKLOG_FULL, socket.recv_queue);
        }
        tell_holder(tell, subject, holders.get(&socket.inode).copied());
    }
}

/// Tells the queues of all listeners of a namespace as they are now. `are_all` when there are no others: who listens no more is told, too.
pub(super) fn tell_queues(tell: &mut Tell, netns: u32, sockets: &[(u32, Socket)], are_all: bool) {
    let listening = fullest(sockets);
    for (subject, socket) in &listening {
        tell_queue(tell, *subject, socket);
    }
    if are_all {
        let listening: HashSet<Subject> = listening.into_iter().map(|(it, _)| it).collect();
        tell.closed_but(
            &listening,
            |subject| matches!(subject, Subject::Listener { netns: of, .. } if *of == netns),
        );
    }
}

/// Of those that listen in one place the first.
fn fullest(sockets: &[(u32, Socket)]) -> Vec<(Subject, &Socket)> {
    let mut seen = HashSet::new();
    sockets
        .iter()
        .filter(|(_, socket)| socket.state == state::LISTEN)
        .map(|(netns, socket)| {
            let (netns, local) = (*netns, socket.ends.local);
            (Subject::Listener { netns, local }, socket)
        })
        .filter(|(subject, _)| seen.insert(*subject))
        .collect()
}

fn tell_queue(tell: &mut Tell, subject: Subject, socket: &Socket) {
    tell.text(subject, name::STATE, State(socket.state).name());
    tell.number(subject, name::BACKLOG, socket.recv_queue);
    tell.number(subject, name::BACKLOG_MAX, socket.send_queue);
}

fn tell_holder(tell: &mut Tell, subject: Subject, holder: Option<Pid>) {
    if let Some(pid) = holder {
        tell.number(subject, name::CONNECTION_PID, pid.pid);
        tell.number(subject, name::CONNECTION_PID_START, pid.start.0);
    }
}

/// Tells a connection and who holds it.
pub(super) fn tell_connection(tell: &mut Tell, netns: u32, socket: &Socket, holder: Option<Pid>) {
    let ends = socket.ends;
    let subject = Subject::Connection { netns, ends };
    tell_holder(tell, subject, holder);
    tell.text(subject, name::STATE, State(socket.state).name());
    let timer = match socket.timer {
        Some(Timer::Retransmit(..)) => "retransmit",
        Some(Timer::KeepAlive(_)) => "keepalive",
        Some(Timer::Probe(_)) => "probe",
        Some(Timer::TimeWait) | None => "none",
    };
    tell.text(subject, name::TIMER, timer);
    let expires = socket.expires().map(|time| time.as_millis());
    tell.maybe(subject, name::EXPIRES_MS, expires);
    tell.number(subject, name::ORPHAN, i64::from(socket.inode == 0));
    tell.number(subject, name::SEND_QUEUE, socket.send_queue);
    tell.number(subject, name::RECV_QUEUE, socket.recv_queue);
    let Some(info) = socket.info else { return };
    tell.number(subject, name::RETRANSMITS, info.retransmits);
    tell.number(subject, name::PROBES, info.probes);
    tell.number(subject, name::BACKOFF, info.backoff);
    tell.number(subject, name::RTO_US, info.rto_us);
    tell.number(subject, name::SRTT_US, info.srtt_us);
    tell.number(subject, name::RTTVAR_US, info.rttvar_us);
    tell.number(subject, name::UNACKED, info.unacked);
    tell.number(subject, name::LAST_DATA_SENT_MS, info.last_data_sent_ms);
    tell.number(subject, name::LAST_DATA_RECV_MS, info.last_data_recv_ms);
    tell.number(subject, name::LAST_ACK_RECV_MS, info.last_ack_recv_ms);
    tell.number(subject, name::TOTAL_RETRANS, info.total_retrans);
    tell.maybe(subject, name::NOTSENT_BYTES, info.notsent_bytes);
    tell.maybe(subject, name::BUSY_US, info.busy_us);
    tell.maybe(subject, name::RWND_LIMITED_US, info.rwnd_limited_us);
}

/// Tells how a connection in trouble is now; false when it is gone or well again.
pub(super) fn follow(
    tell: &mut Tell,
    place: &Place,
    ends: Ends,
    holder: Option<Pid>,
    neighbours: &Neighbours,
) -> bool {
    let socket = place.inside(|| inet_diag::find(&ends).ok());
    let netns = place.inode();
    let subject = Subject::Connection { netns, ends };
    match socket {
        Some(Some(socket)) if socket.state != state::TIME_WAIT => {
            tell_connection(tell, netns, &socket, holder);
            tell.maybe(subject, name::NEIGHBOUR, neighbours.answers(&ends));
            // It takes a look at each descriptor of its process, and hardly ever changes.
            if tell.told(&subject, name::KEEPALIVE).is_none()
                && let Some(pid) = holder
                && let Some(options) = options::read(pid.pid, socket.inode)
            {
                tell.number(subject, name::USER_TIMEOUT_MS, options.user_timeout_ms);
                tell.number(subject, name::KEEPALIVE, i64::from(options.keepalive));
            }
            is_stalled(&socket)
        }
        Some(_) => {
            tell.closed(subject);
            false
        }
        None => true,
    }
}

/// Those that have ended of connections that a list does not have: one that is there may be left out of a list that others leave meanwhile.
pub(super) fn ended(place: &Place, missing: &[Ends]) -> Vec<Ends> {
    if missing.is_empty() {
        return Vec::new();
    }
    let is_over = |ends: &Ends| match inet_diag::find(ends) {
        Ok(found) => found.is_none_or(|socket| socket.state == state::TIME_WAIT),
        Err(_) => false,
    };
    let ended = place.inside(|| Some(missing.iter().copied().filter(is_over).collect()));
    ended.unwrap_or_default()
}

/// What a namespace knows of link addresses.
pub(super) struct Neighbours(Option<String>);

impl Neighbours {
    /// As it is now.
    pub(super) fn read(place: &Place) -> Self {
        Self(match place.task() {
            Some(task) => fs::read_to_string(task.join("net/arp")).ok(),
            None => place.inside(|| fs::read_to_string("/proc/thread-self/net/arp").ok()),
        })
    }

    /// Whether the peer's link address is known; `None` where the peer is behind a gateway, or speaks IPv6.
    fn answers(&self, ends: &Ends) -> Option<i64> {
        let peer = ends.remote?.ip().to_string();
        is_reachable(self.0.as_ref()?, &peer).map(i64::from)
    }
}

/// `net/ipv4/arp.c: arp_format_neigh_entry`: address, hardware type, flags; flag 2 (ATF_COM) is a complete entry.
fn is_reachable(arp: &str, peer: &str) -> Option<bool> {
    let line = arp
        .lines()
        .find(|line| line.split_ascii_whitespace().next() == Some(peer))?;
    let flags = line.split_ascii_whitespace().nth(2)?.strip_prefix("0x")?;
    Some(u32::from_str_radix(flags, 16).ok()? & 2 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_answers_or_not() {
        let arp = "IP address       HW type     Flags       HW address            Mask     Device\n\
                   10.0.0.2         0x1         0x2         02:00:00:00:00:01     *        eth0\n\
                   10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        assert_eq!(is_reachable(arp, "10.0.0.2"), Some(true));
        assert_eq!(is_reachable(arp, "10.0.0.3"), Some(false));
        assert_eq!(is_reachable(arp, "10.0.0.4"), None);
    }
}

//! Peers that refuse connections, and those that did until they answered: for
//! [`connect_refused`](super::connect_refused).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    aggregate::{Aggregate, Flow, Process, Streak},
    event::Role,
    fact::{Subject, name},
    identity::Pid,
    time::Time,
};

/// Refusals of one peer below which nothing is said: a port scan asks each port once or twice.
const FEW: u64 = 3;
/// Refusals that last less, ns, are a restart.
const SHORT: u64 = 2_000_000_000;
/// Refusals that lasted less, ns, and are over are none: a restart with a pause. Whoever was refused then has
/// been served since.
const LONG: u64 = 30_000_000_000;

/// Network namespace, address and port.
type At = (u32, IpAddr, u16);

/// All that is refused at one address and port.
pub(super) struct Peer<'a> {
    pub(super) netns: u32,
    pub(super) at: SocketAddr,
    pub(super) count: u64,
    pub(super) first: Time,
    pub(super) last: Time,
    /// It has answered since.
    pub(super) is_over: bool,
    pub(super) clients: BTreeMap<Pid, Vec<(Streak, &'a Flow)>>,
}

/// Who refuses, or has refused for long.
pub(super) fn peers(aggregate: &Aggregate) -> Vec<Peer<'_>> {
    let mut peers: BTreeMap<At, Vec<(Pid, &Flow)>> = BTreeMap::new();
    for (pid, process) in &aggregate.processes {
        for (key, flow) in process.known_flows() {
            if key.role != Some(Role::Passive) && flow.refused.count > 0 {
                let at = (key.netns, loopback_is_one(key.peer), key.port);
                peers.entry(at).or_default().push((*pid, flow));
            }
        }
    }
    peers.retain(|_, flows| {
        flows
            .iter()
            .map(|(_, flow)| flow.refused.count)
            .sum::<u64>()
            >= FEW
    });
    peers
        .into_iter()
        .filter_map(|(at, flows)| Peer::of(at, &flows, answered(aggregate, at, &flows)))
        .collect()
}

impl<'a> Peer<'a> {
    /// What is refused now, or what was refused for long until it answered.
    fn of(at: At, flows: &[(Pid, &'a Flow)], answered: Option<Time>) -> Option<Self> {
        let answered = answered.unwrap_or_default();
        let now = Self::sum(at, flows, |flow| {
            let streaks = [flow.refused, flow.refusing];
            streaks.into_iter().find(|streak| streak.last > answered)
        });
        // Where it answered between, it was there: another client is served.
        let is_now = |peer: &Self| peer.is_long(SHORT) && answered <= peer.first;
        if let Some(peer) = now.filter(is_now) {
            return Some(peer);
        }
        let past = Self::sum(at, flows, |flow| {
            Some(flow.refused).filter(|streak| streak.last <= answered)
        });
        let past = past.filter(|peer| peer.is_long(LONG))?;
        Some(Self {
            is_over: true,
            ..past
        })
    }

    fn sum(
        (netns, ip, port): At,
        flows: &[(Pid, &'a Flow)],
        streak: impl Fn(&Flow) -> Option<Streak>,
    ) -> Option<Self> {
        let mut sum: Option<Self> = None;
        for (pid, flow) in flows {
            let Some(streak) = streak(flow) else { continue };
            let peer = sum.get_or_insert_with(|| Self {
                netns,
                at: SocketAddr::new(ip, port),
                count: 0,
                first: streak.first,
                last: streak.last,
                is_over: false,
                clients: BTreeMap::new(),
            });
            peer.count += streak.count;
            peer.first = peer.first.min(streak.first);
            peer.last = peer.last.max(streak.last);
            peer.clients.entry(*pid).or_default().push((streak, flow));
        }
        sum
    }

    fn is_long(&self, enough: u64) -> bool {
        self.count >= FEW && self.last.since(self.first) >= enough
    }
}

/// A client that asks for `localhost` tries `::1` and then `127.0.0.1`: one backend. Other addresses of
/// `127.0.0.0/8` are hosts of their own.
fn loopback_is_one(ip: IpAddr) -> IpAddr {
    if ip == IpAddr::V6(Ipv6Addr::LOCALHOST) {
        Ipv4Addr::LOCALHOST.into()
    } else {
        ip
    }
}

/// When somebody's latest connection to that peer was established, if any was: the peer was there. One that
/// lives is known where its socket was first seen after the last refusal.
fn answered(aggregate: &Aggregate, at: At, flows: &[(Pid, &Flow)]) -> Option<Time> {
    let (netns, ip, port) = at;
    let ended = aggregate
        .processes
        .values()
        .flat_map(Process::known_flows)
        .filter(|(key, _)| {
            (key.netns, loopback_is_one(key.peer), key.port) == at && key.role == Some(Role::Active)
        })
        .filter_map(|(_, flow)| flow.last_established)
        .max();
    let last = flows
        .iter()
        .filter_map(|(_, flow)| flow.failures.times().last())
        .max()?;
    let is_at = |remote: SocketAddr| (loopback_is_one(remote.ip()), remote.port()) == (ip, port);
    let lives = aggregate
        .facts
        .subjects()
        .filter(|subject| match subject {
            Subject::Connection { netns: its, ends } => {
                *its == netns && ends.remote.is_some_and(is_at)
            }
            _ => false,
        })
        .filter_map(|subject| aggregate.facts.get(subject, name::ANSWERED))
        .map(|known| known.first.0)
        .filter(|seen| *seen > last)
        .max();
    ended.max(lives)
}

//! A process's traffic by peer and by listener.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use tracer_common::record::{Cause, End};

use super::who::Who;
use crate::{
    aggregate::{Flow, FlowKey, Process},
    document::{Column, Table, number, words},
    event::{Errno, Role},
    time::Time,
};

/// What passed, and what went wrong. Added up from events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    pub first: Time,
    pub last: Time,
    pub connections: u64,
    pub ends: BTreeMap<End, u64>,
    pub connect_failed: u64,
    pub errnos: BTreeMap<Errno, u64>,
    pub failed_unsent: u64,
    pub retransmit_segs: u64,
    pub causes: BTreeMap<Cause, u64>,
    pub lossy_connections: u64,
    pub lossy_segs: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    pub time_wait_overflow: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub segs_out: u64,
    pub srtt_us: Option<u32>,
}

impl Traffic {
    fn add(&mut self, flow: &Flow) {
        let is_first = self.first == Time::default();
        self.first = if is_first {
            flow.first
        } else {
            self.first.min(flow.first)
        };
        if flow.last >= self.last {
            self.srtt_us = flow.srtt_us.or(self.srtt_us);
        }
        self.last = self.last.max(flow.last);
        add_all(&mut self.ends, &flow.ends);
        add_all(&mut self.errnos, &flow.failed);
        add_all(&mut self.causes, &flow.retransmits);
        self.connections += flow.connections();
        self.connect_failed += flow.failed();
        self.retransmit_segs += flow.segs();
        self.failed_unsent += flow.failed_unsent;
        self.lossy_connections += flow.lossy;
        self.lossy_segs += flow.ended_segs;
        self.resets_sent += flow.resets_sent;
        self.resets_received += flow.resets_received;
        self.time_wait_overflow += flow.overflows;
        self.bytes_sent += flow.bytes_sent;
        self.bytes_received += flow.bytes_received;
        self.segs_out += flow.segs_out;
    }

    /// All of a process.
    #[must_use]
    pub fn of(process: &Process) -> Self {
        let mut sum = Self::default();
        process.flows.values().for_each(|flow| sum.add(flow));
        sum
    }
}

pub(super) fn add_all<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *to.entry(*key).or_default() += count;
    }
}

/// Who is at the other end, and of which service. Address and port are null in the row of those that are
/// not told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    pub netns: Option<u32>,
    pub role: Option<Role>,
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Where the process listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listener {
    pub netns: Option<u32>,
    pub port: u16,
    pub peers: u64,
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// A process's traffic by peer and by listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Apart {
    pub peers: Vec<Peer>,
    pub listeners: Vec<Listener>,
}

/// Tells a process's traffic apart, where there is any of `number`, those with most first.
pub(super) fn told_apart(process: &Process, number: impl Fn(&Traffic) -> u64) -> Apart {
    let netns = |key: &FlowKey| (key.netns != 0).then_some(key.netns);
    let mut flows: Vec<(&FlowKey, &Flow)> = process.flows.iter().collect();
    flows.sort_unstable_by_key(|(key, _)| **key);
    let mut listeners: BTreeMap<(u32, u16), Listener> = BTreeMap::new();
    let mut peers = Vec::new();
    for (key, flow) in flows {
        let mut traffic = Traffic::default();
        traffic.add(flow);
        if number(&traffic) == 0 {
            continue;
        }
        if key.role == Some(Role::Passive) {
            let listener = listeners
                .entry((key.netns, key.port))
                .or_insert_with(|| Listener {
                    netns: netns(key),
                    port: key.port,
                    peers: 0,
                    traffic: Traffic::default(),
                });
            listener.peers += 1;
            listener.traffic.add(flow);
        }
        let is_one = *key != FlowKey::OTHERS;
        peers.push(Peer {
            netns: netns(key),
            role: key.role,
            address: is_one.then_some(key.peer),
            port: is_one.then_some(key.port),
            traffic,
        });
    }
    peers.sort_by_key(|peer| u64::MAX - number(&peer.traffic));
    let mut listeners: Vec<Listener> = listeners.into_values().collect();
    listeners.sort_by_key(|listener| u64::MAX - number(&listener.traffic));
    Apart { peers, listeners }
}

impl Peer {
    /// As a table shows it: `10.0.0.2:5432`, which the process connected to, or `10.0.0.9 at :6379`, which
    /// connected to the process.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.address, self.port, self.role) {
            (Some(address), Some(port), Some(Role::Passive)) => format!("{address} at :{port}"),
            (Some(address), Some(port), Some(Role::Active)) => {
                std::net::SocketAddr::new(address, port).to_string()
            }
            // It is not known whose the port is.
            (Some(address), Some(port), None) => format!("{address}, port {port}"),
            _ => String::from("(others)"),
        }
    }
}

/// Two tables: by peer and by listener, of all processes, those with most of `number` first.
pub(super) fn tables(
    processes: &[(&Who, &Apart)],
    top: usize,
    number: impl Fn(&Traffic) -> u64,
    columns: &[Column],
    cells: impl Fn(&Traffic) -> Vec<String>,
) -> [Table; 2] {
    let mut peers: Vec<(&Who, String, &Traffic)> = processes
        .iter()
        .flat_map(|(who, apart)| {
            let peers = apart.peers.iter();
            peers.map(|peer| (*who, peer.name(), &peer.traffic))
        })
        .collect();
    let mut listeners: Vec<(&Who, String, &Traffic)> = processes
        .iter()
        .flat_map(|(who, apart)| {
            let name = |listener: &Listener| {
                format!(
                    ":{} ({})",
                    listener.port,
                    number::count(listener.peers, "peer")
                )
            };
            let listeners = apart.listeners.iter();
            listeners.map(move |listener| (*who, name(listener), &listener.traffic))
        })
        .collect();
    peers.sort_by_key(|(_, _, traffic)| u64::MAX - number(traffic));
    listeners.sort_by_key(|(_, _, traffic)| u64::MAX - number(traffic));
    let table = |title: &str, second: &'static str, rows: &[(&Who, String, &Traffic)]| {
        let columns = [words("PROCESS"), words(second)]
            .into_iter()
            .chain(columns.iter().cloned());
        Table::of(
            title,
            columns.collect(),
            rows,
            top,
            |(who, name, traffic)| {
                [who.name(), name.clone()]
                    .into_iter()
                    .chain(cells(traffic))
                    .collect()
            },
        )
        .without_empty_columns()
    };
    [
        table("By peer", "PEER", &peers),
        table("By listener", "LISTENER", &listeners),
    ]
}

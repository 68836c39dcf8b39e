//! The filters that the kernel programs apply.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tracer_common::{
    config::filter,
    conn::Address,
    process::{Process, ProcessKey, flag},
    record::Kind,
};

/// What is wanted. An empty list lets everything in; within a list one match is enough, and all lists
/// must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Kinds of events; the kernel sends no others.
    pub events: BTreeSet<Kind>,
    /// Owners, thread group ids.
    pub pids: Vec<u32>,
    /// Owners' names, at most 15 bytes.
    pub comms: Vec<String>,
    /// Local or remote ports.
    pub ports: Vec<u16>,
    /// Local or remote addresses.
    pub cidrs: Vec<IpNet>,
    /// Network namespaces, inode numbers.
    pub netns: Vec<u32>,
    /// Owners' cgroup (v2): its id.
    pub cgroup: Option<u64>,
}

impl Filters {
    /// Bits of the filters that are set, for the kernel programs.
    #[must_use]
    pub fn bits(&self) -> u32 {
        [
            (!self.pids.is_empty(), filter::PID),
            (!self.comms.is_empty(), filter::COMM),
            (!self.ports.is_empty(), filter::PORT),
            (!self.cidrs.is_empty(), filter::CIDR),
            (!self.netns.is_empty(), filter::NETNS),
            (self.cgroup.is_some(), filter::CGROUP),
        ]
        .into_iter()
        .filter_map(|(is_set, bit)| is_set.then_some(bit))
        .sum()
    }

    /// Bits of the wanted kinds, for the kernel programs.
    #[must_use]
    pub fn event_bits(&self) -> u32 {
        self.events.iter().map(|kind| 1 << *kind as u32).sum()
    }

    /// The filters that are set, as on the command line.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut set = Vec::new();
        set.extend(self.pids.iter().map(|pid| format!("--pid {pid}")));
        set.extend(self.comms.iter().map(|comm| format!("--comm {comm}")));
        set.extend(self.ports.iter().map(|port| format!("--port {port}")));
        set.extend(self.cidrs.iter().map(|net| format!("--cidr {net}")));
        set.extend(self.netns.iter().map(|inode| format!("--netns {inode}")));
        set.extend(self.cgroup.iter().map(|id| format!("--cgroup {id}")));
        set
    }

    /// Whether only some owners' sockets are wanted.
    #[must_use]
    pub fn is_of_owners(&self) -> bool {
        self.bits() & filter::OWNERS != 0
    }

    /// Whether the filters of owners let a process of the kernel's map in.
    #[must_use]
    pub fn lets_in(&self, key: &ProcessKey, process: &Process) -> bool {
        !self.is_of_owners()
            || ((self.pids.is_empty() || self.pids.contains(&key.tgid))
                && process.flags & flag::PASSES != 0)
    }

    /// Whether all of a kind is watched in whole namespaces, so that their counters can be compared.
    #[must_use]
    pub fn is_whole_namespaces(&self, kind: Kind) -> bool {
        self.bits() & !filter::NETNS == 0 && self.events.contains(&kind)
    }
}

/// A network as a key of the kernel's trie: prefix length and address, IPv4 mapped into IPv6.
#[must_use]
pub fn trie_key(net: &IpNet) -> (u32, Address) {
    let (prefix, address) = match net {
        IpNet::V4(net) => (
            96 + u32::from(net.prefix_len()),
            net.network().to_ipv6_mapped(),
        ),
        IpNet::V6(net) => (u32::from(net.prefix_len()), net.network()),
    };
    (prefix, bytemuck::cast(address.octets()))
}

/// A name as the kernel holds it.
#[must_use]
pub fn comm_key(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    let len = name.len().min(15);
    key[..len].copy_from_slice(&name.as_bytes()[..len]);
    key
}

//! What a row of the table is about, and how rows are grouped.

use std::{fmt, net::IpAddr};

use rustc_hash::FxHashSet;

use crate::{
    aggregate::FlowKey,
    event::Role,
    identity::{Identity, Pid, cgroup::Place},
};

/// What one row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// A process.
    #[default]
    Process,
    /// All processes of one name.
    Program,
    /// All processes of a container, or else of a unit.
    Container,
    /// All connections with a peer's service, or of a peer with a service of ours, whoever has them.
    Peer,
    /// All connections that came in at a port.
    Listener,
}

impl Grouping {
    /// All, in the order in which a key goes through them.
    pub const ALL: [Self; 5] = [
        Self::Process,
        Self::Program,
        Self::Container,
        Self::Peer,
        Self::Listener,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Program => "program",
            Self::Container => "container",
            Self::Peer => "peer",
            Self::Listener => "listener",
        }
    }

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        let place = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }
}

/// Names a row, so that a selection stays with it when the order changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A process; [`Pid::default`] for what has no known owner.
    Process(Pid),
    /// Processes of this name.
    Program(String),
    /// Processes of this container or unit.
    Container(String),
    /// A peer.
    Peer(Peer),
    /// A port.
    Listener(Port),
}

/// A peer, and the service that its connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The service's port.
    pub port: u16,
    /// Whether it connected to us: then the port is ours.
    pub is_client: bool,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            port,
            is_client,
        } = *self;
        if is_client {
            write!(f, "{address} -> :{port}")
        } else if address.is_ipv6() {
            write!(f, "[{address}]:{port}")
        } else {
            write!(f, "{address}:{port}")
        }
    }
}

/// A port of a network namespace that connections come in at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Network namespace.
    pub netns: u32,
    /// The port.
    pub port: u16,
}

/// The ports that something is known to listen at.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    ports: FxHashSet<Port>,
}

impl Listening {
    /// Notes a port.
    pub fn add(&mut self, port: Port) {
        self.ports.insert(port);
    }

    /// Whose side a flow's port is on. Of a connection that was there before the trace the flow does not
    /// say, but whether something listens at the port does. What belongs to nobody here (`is_owned`) was
    /// begun by the peer.
    fn is_passive(&self, flow: &FlowKey, is_owned: bool) -> bool {
        match flow.role {
            Some(role) => role == Role::Passive,
            None if !is_owned => true,
            None => self.ports.contains(&Port {
                netns: flow.netns,
                port: flow.port,
            }),
        }
    }

    /// The peer that a flow is with.
    #[must_use]
    pub fn peer(&self, flow: &FlowKey, is_owned: bool) -> Peer {
        Peer {
            address: flow.peer,
            port: flow.port,
            is_client: self.is_passive(flow, is_owned),
        }
    }

    /// The port that a flow came in at; `None` for one that this side opened.
    #[must_use]
    pub fn port(&self, flow: &FlowKey, is_owned: bool) -> Option<Port> {
        self.is_passive(flow, is_owned).then_some(Port {
            netns: flow.netns,
            port: flow.port,
        })
    }
}

/// Where a process runs, in a few letters: its container, else its unit.
#[must_use]
pub fn place(place: &Place) -> Option<String> {
    match (&place.container, &place.unit) {
        (Some(container), _) => {
            let id = container.id.get(..12).unwrap_or(&container.id);
            Some(format!("{}:{id}", container.runtime))
        }
        (None, unit) => unit.clone(),
    }
}

/// A process's name as the screen has it. It is chosen by the process: none of it may reach the terminal
/// as a control sequence.
#[must_use]
pub fn name(who: &Identity) -> String {
    crate::document::text::printable(&who.comm)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn flow(role: Option<Role>) -> FlowKey {
        FlowKey {
            netns: 7,
            role,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 80,
        }
    }

    #[test]
    fn a_flow_from_before_the_trace_is_a_clients_where_something_listens() {
        let mut listening = Listening::default();
        assert_eq!(
            listening.peer(&flow(None), true).to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(listening.port(&flow(None), true), None);
        assert!(listening.peer(&flow(None), false).is_client);
        listening.add(Port { netns: 7, port: 80 });
        assert_eq!(
            listening.peer(&flow(None), true).to_string(),
            "127.0.0.1 -> :80"
        );
        assert!(listening.port(&flow(None), true).is_some());
        assert_eq!(listening.port(&flow(Some(Role::Active)), true), None);
    }

    #[test]
    fn groupings_go_round() {
        let mut grouping = Grouping::default();
        for _ in Grouping::ALL {
            grouping = grouping.next();
        }
        assert_eq!(grouping, Grouping::default());
    }
}

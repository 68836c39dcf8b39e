//! An event: what happened, when, on which connection, and to which process.
//!
//! The kernel's records and the rows of a trace file become the same events. `docs/schema.md` documents
//! every field; names there and here are stable. An event owns nothing but references, so that making
//! one allocates nothing.

mod ends;
mod json;
mod name;
mod record;

use std::rc::Rc;

use serde::Serialize;
use tracer_common::{
    conn::OwnerSource,
    hook::Hook,
    record::{Cause, End, NO_TIME},
    tcp::state,
};

pub use self::{
    ends::Ends,
    name::{Errno, State, Syscall},
    record::Names,
};
use crate::{identity::Identity, time::Time};

/// An event: one JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub ts: Time,
    /// Which connection, unique within a trace.
    pub conn_id: Option<u64>,
    /// Whose it is; `None` where that is not known.
    pub owner: Option<Rc<Identity>>,
    /// How the owner is known.
    pub owner_source: OwnerSource,
    /// Network namespace, inode number.
    pub netns: Option<u32>,
    /// The connection's ends.
    pub ends: Option<Ends>,
    /// What is particular to the kind.
    pub detail: Detail,
}

impl Event {
    /// An event that belongs to nobody and no connection.
    #[must_use]
    pub const fn nobody(ts: Time, netns: Option<u32>, detail: Detail) -> Self {
        Self {
            ts,
            conn_id: None,
            owner: None,
            owner_source: OwnerSource::Unknown,
            netns,
            ends: None,
            detail,
        }
    }
}

/// What is particular to a kind of event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(
    missing_docs,
    reason = "docs/schema.md documents the fields, and a test compares the two"
)]
pub enum Detail {
    State {
        old: State,
        new: State,
        in_old_us: Option<u64>,
    },
    Connection {
        duration_us: Option<u64>,
        connect_us: Option<u64>,
        bytes_sent: u64,
        bytes_received: u64,
        segs_out: Option<u32>,
        segs_retrans: u32,
        srtt_us: Option<u32>,
        end: End,
        errno: Option<Errno>,
        role: Option<Role>,
        us_in_state: UsInState,
    },
    Retransmit {
        cause: Cause,
        segs: u32,
        seq: u32,
        backoff: u8,
        rto_us: Option<u64>,
        srtt_us: Option<u32>,
        unacked_bytes: u32,
        notsent_bytes: u32,
        err: i32,
    },
    Reset {
        direction: Direction,
        reason: Option<Rc<str>>,
    },
    ConnectFailed {
        errno: Errno,
        syn_sent: bool,
        connect_us: Option<u64>,
    },
    TimeWaitOverflow {
        tw_count: Option<u32>,
        tw_max: Option<u32>,
        inferred: bool,
        count: u64,
    },
    FdExhausted {
        errno: Errno,
        syscall: Option<Syscall>,
        count: u64,
        open_fds: Option<u32>,
        limit_soft: Option<u64>,
        limit_hard: Option<u64>,
    },
    Lost {
        #[serde(serialize_with = "json::hook")]
        hook: Hook,
        reason: LostReason,
        count: u64,
    },
}

impl Detail {
    /// The kind's name.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::State { .. } => "state",
            Self::Connection { .. } => "connection",
            Self::Retransmit { .. } => "retransmit",
            Self::Reset { .. } => "reset",
            Self::ConnectFailed { .. } => "connect_failed",
            Self::TimeWaitOverflow { .. } => "time_wait_overflow",
            Self::FdExhausted { .. } => "fd_exhausted",
            Self::Lost { .. } => "lost",
        }
    }
}

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// This side called connect.
    Active,
    /// It was a peer's SYN.
    Passive,
}

impl Role {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// Which way a reset went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From here.
    Sent,
    /// From the peer.
    Received,
}

impl Direction {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LostReason {
    /// The ring buffer had no room.
    RingFull,
    /// A map had no room.
    MapFull,
    /// The kernel did not run a program that interrupts itself.
    Recursion,
    /// The kernel had no room to note that a function was entered.
    KretprobeMissed,
}

impl LostReason {
    /// From its name in JSON.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::RingFull,
            Self::MapFull,
            Self::Recursion,
            Self::KretprobeMissed,
        ]
        .into_iter()
        .find(|reason| reason.name() == name)
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::MapFull => "map_full",
            Self::Recursion => "recursion",
            Self::KretprobeMissed => "kretprobe_missed",
        }
    }
}

/// Microseconds in each state, by the state's number; [`NO_TIME`] for one that it was never in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsInState(pub [u64; state::COUNT]);

impl Default for UsInState {
    fn default() -> Self {
        Self([NO_TIME; state::COUNT])
    }
}

impl UsInState {
    /// The states that it was in, and for how long.
    pub fn iter(&self) -> impl Iterator<Item = (State, u64)> {
        (0u8..)
            .zip(self.0)
            .filter(|(_, us)| *us != NO_TIME)
            .map(|(number, us)| (State(number), us))
    }
}

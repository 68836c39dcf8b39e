//! Facts: what was read beside the events, so that a finding can be told from a trace alone.
//!
//! A fact says that something had a value at a time: a limit of a process, a sysctl or a counter of a
//! network namespace, the queue of a listener. `docs/schema.md` lists the names.

use std::{borrow::Cow, fmt, net::SocketAddr};

use serde::{Serialize, Serializer};

use crate::{event::Ends, identity::Pid, time::Time};

/// What was read, of what, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// When it was read.
    pub ts: Time,
    /// What it is of.
    pub subject: Subject,
    /// Its name, such as `limit_nofile_soft` or `net.ipv4.tcp_max_tw_buckets`.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

/// What a fact is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The whole machine.
    Machine,
    /// A network namespace, by its inode number.
    Namespace(u32),
    /// A process.
    Process(Pid),
    /// A listener.
    Listener {
        /// Network namespace.
        netns: u32,
        /// Where it listens.
        local: SocketAddr,
    },
    /// A connection.
    Connection {
        /// Network namespace.
        netns: u32,
        /// Its ends.
        ends: Ends,
    },
}

/// A fact's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl Value {
    /// The number; `None` for a text.
    #[must_use]
    pub const fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_i64(*number),
            Self::Text(text) => to.serialize_str(text),
        }
    }
}

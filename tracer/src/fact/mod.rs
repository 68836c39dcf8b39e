//! Facts: what was read beside the events, so that a finding can be told from a trace alone.
//!
//! A fact says that something had a value at a time: a limit of a process, a sysctl or a counter of a
//! network namespace, the queue of a listener. `docs/schema.md` lists the names.

pub mod name;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
};

use serde::{Serialize, Serializer};

use tracer_common::tcp::state;

use crate::{
    event::{Ends, State},
    identity::Pid,
    time::Time,
};

/// The fact of which local ports a namespace hands out by itself: `32768 60999`.
pub const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

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

impl Subject {
    /// What kind of subject it is.
    #[must_use]
    pub const fn of(&self) -> name::Of {
        match self {
            Self::Machine => name::Of::Machine,
            Self::Namespace(_) => name::Of::Namespace,
            Self::Process(_) => name::Of::Process,
            Self::Listener { .. } => name::Of::Listener,
            Self::Connection { .. } => name::Of::Connection,
        }
    }
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

/// Connections that have ended, and listeners, that are remembered; of more the oldest are forgotten.
const CLOSED: usize = 1_024;

/// The facts of a trace: each one's first and latest value.
#[derive(Debug, Default)]
pub struct Facts {
    /// Those that are closed, the oldest first. One that was opened again may be among them.
    closed: VecDeque<Subject>,
    known: HashMap<Subject, BTreeMap<Cow<'static, str>, Known>>,
}

/// What is known under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The first value, and when.
    pub first: (Time, Value),
    /// The latest value, and when it was read.
    pub last: (Time, Value),
}

impl Known {
    /// How much a number has grown; 0 where it fell.
    #[must_use]
    pub fn growth(&self) -> u64 {
        let number = |value: &Value| value.number().unwrap_or(0);
        u64::try_from(number(&self.last.1).saturating_sub(number(&self.first.1))).unwrap_or(0)
    }
}

impl Facts {
    /// Takes a fact.
    pub fn add(&mut self, fact: &Fact) {
        let of = self.known.entry(fact.subject).or_default();
        let value = (fact.ts, fact.value.clone());
        match of.get_mut(&fact.name) {
            Some(known) => known.last = value,
            None => {
                let known = Known {
                    first: value.clone(),
                    last: value,
                };
                of.insert(fact.name.clone(), known);
            }
        }
        if fact.name == name::STATE && self.is_closed(&fact.subject) {
            self.closed.push_back(fact.subject);
            if self.closed.len() > CLOSED
                && let Some(oldest) = self.closed.pop_front()
                && self.is_closed(&oldest)
            {
                self.forget(&oldest);
            }
        }
    }

    /// Whether it is a connection that has ended, or nobody listens there any more.
    #[must_use]
    pub fn is_closed(&self, subject: &Subject) -> bool {
        self.text(subject, name::STATE) == Some(State(state::CLOSE).name())
    }

    /// Forgets all that is known of a subject.
    pub fn forget(&mut self, subject: &Subject) {
        self.known.remove(subject);
    }

    /// What is known of a subject under a name.
    #[must_use]
    pub fn get(&self, subject: &Subject, name: &str) -> Option<&Known> {
        self.known.get(subject)?.get(name)
    }

    /// The latest number.
    #[must_use]
    pub fn number(&self, subject: &Subject, name: &str) -> Option<i64> {
        self.get(subject, name)?.last.1.number()
    }

    /// The latest text.
    #[must_use]
    pub fn text(&self, subject: &Subject, name: &str) -> Option<&str> {
        match &self.get(subject, name)?.last.1 {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        }
    }

    /// How much a number has grown over the trace.
    #[must_use]
    pub fn growth(&self, subject: &Subject, name: &str) -> Option<u64> {
        self.get(subject, name).map(Known::growth)
    }

    /// The local ports that a namespace hands out by itself.
    #[must_use]
    pub fn ephemeral_ports(&self, netns: u32) -> Option<RangeInclusive<u16>> {
        let range = self.text(&Subject::Namespace(netns), PORT_RANGE)?;
        let (low, high) = range.split_once(' ')?;
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        (low <= high).then_some(low..=high)
    }

    /// Everything that has facts.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.known.keys()
    }

    /// All that is known of a subject, by name.
    pub fn of(&self, subject: &Subject) -> impl Iterator<Item = (&str, &Known)> {
        self.known
            .get(subject)
            .into_iter()
            .flatten()
            .map(|(name, known)| (name.as_ref(), known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_that_ended_the_oldest_are_forgotten() {
        let subject = |port| Subject::Connection {
            netns: 1,
            ends: Ends {
                local: ([10, 0, 0, 1], port).into(),
                remote: Some(([10, 0, 0, 2], 80).into()),
            },
        };
        let mut facts = Facts::default();
        let mut state = |port, state: &str| {
            facts.add(&Fact {
                ts: Time(1),
                subject: subject(port),
                name: name::STATE.into(),
                value: Value::Text(state.to_owned()),
            });
        };
        state(1, "ESTABLISHED");
        // One that ended and is there again.
        state(2, "CLOSE");
        state(2, "ESTABLISHED");
        for port in 3..5_000 {
            state(port, "ESTABLISHED");
            state(port, "CLOSE");
        }
        assert_eq!(facts.subjects().count(), CLOSED + 2);
        assert!(!facts.is_closed(&subject(1)) && !facts.is_closed(&subject(2)));
        assert_eq!(facts.text(&subject(3), name::STATE), None);
        assert!(facts.is_closed(&subject(4_999)));
    }
}

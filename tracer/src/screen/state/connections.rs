//! The connections of one process, for its page.

use std::{cmp::Reverse, collections::HashMap};

use super::State;
use crate::{
    aggregate::Connection,
    event::Ends,
    fact::{Subject, name},
    identity::Pid,
    time::Time,
};

/// A connection as the page shows it: what was read of it, and what happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conn {
    /// Its ends.
    pub ends: Option<Ends>,
    /// The kernel's name of its state, or how it ended.
    pub state: String,
    /// Whether it has ended.
    pub has_ended: bool,
    /// When it was first seen.
    pub first: Option<Time>,
    /// Smoothed round-trip time, us.
    pub srtt_us: Option<u64>,
    /// Segments sent again.
    pub segs: u64,
    /// How often the timer has doubled.
    pub backoff: u64,
    /// Retransmission timeout, us.
    pub rto_us: Option<u64>,
    /// Which timer runs: `retransmit`, `probe`, `keepalive`.
    pub timer: Option<String>,
    /// Sent and not acknowledged: segments where it was read, else bytes of the last retransmit.
    pub unacked: Option<u64>,
}

/// A process's connections, the most troubled first.
#[must_use]
pub fn connections(state: &State, pid: Pid) -> Vec<Conn> {
    let facts = &state.aggregate.facts;
    let mut live: HashMap<Ends, Conn> = HashMap::new();
    for subject in facts.subjects() {
        let Subject::Connection { ends, .. } = *subject else {
            continue;
        };
        let number = |name| {
            facts
                .number(subject, name)
                .and_then(|number| u64::try_from(number).ok())
        };
        if number(name::CONNECTION_PID) != Some(pid.pid.into()) {
            continue;
        }
        if facts.text(subject, name::STATE) == Some("CLOSE") {
            continue;
        }
        live.insert(
            ends,
            Conn {
                ends: Some(ends),
                state: facts.text(subject, name::STATE).unwrap_or("").to_owned(),
                first: number(name::BORN).map(Time),
                srtt_us: number(name::SRTT_US),
                segs: number(name::TOTAL_RETRANS).unwrap_or(0),
                backoff: number(name::BACKOFF).unwrap_or(0),
                rto_us: number(name::RTO_US),
                timer: facts.text(subject, name::TIMER).map(str::to_owned),
                unacked: number(name::UNACKED),
                has_ended: false,
            },
        );
    }
    let mut ended = Vec::new();
    let known = state.aggregate.connections.iter();
    for connection in known.filter(|one| one.owner.as_ref().is_some_and(|who| who.id() == pid)) {
        match connection.ends.and_then(|ends| live.get_mut(&ends)) {
            Some(one) if connection.end.is_none() => {
                one.segs = one.segs.max(connection.total_segs());
            }
            _ => ended.push(of(connection)),
        }
    }
    let mut all: Vec<_> = live.into_values().chain(ended).collect();
    all.sort_by_key(|one| {
        (
            one.has_ended,
            Reverse((one.backoff, one.segs, one.first)),
            one.ends.map(|ends| (ends.local, ends.remote)),
        )
    });
    all
}

/// What events tell of a connection.
fn of(connection: &Connection) -> Conn {
    let stall = connection.stall;
    let end = connection.end.map(|(end, errno)| match errno {
        Some(errno) => format!("{} {errno}", end.name()),
        None => end.name().to_owned(),
    });
    Conn {
        ends: connection.ends,
        has_ended: end.is_some(),
        state: end.unwrap_or_else(|| "open".to_owned()),
        first: Some(connection.first),
        srtt_us: connection.srtt_us.map(u64::from),
        segs: connection.total_segs(),
        backoff: stall.map_or(0, |stall| stall.backoff.into()),
        rto_us: stall.and_then(|stall| stall.rto_us),
        timer: None,
        unacked: None,
    }
}

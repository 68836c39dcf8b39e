//! A run made comparable with another one: pids, times and ephemeral ports are gone.

use std::{collections::BTreeMap, ops::RangeInclusive};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    aggregate::{Aggregate, FlowKey, Latency, Process},
    event::Role,
    fact::Facts,
    identity::UNKNOWN,
    measure::{Kind, Measure},
    time::Time,
};

/// Ports that the kernel hands out where the trace does not have `net.ipv4.ip_local_port_range`: a service on
/// one of them has another one in the next run.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// What processes are put together by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Their name
    #[default]
    Program,
    /// Their systemd unit; their name where they are in none
    Unit,
}

/// What counts are divided by to make runs comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Nothing: each run did the same work
    #[default]
    Run,
    /// The length of the run
    Second,
    /// The program's connections that ended
    Connection,
}

/// Whose a number is: a program, or its traffic with one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The program or unit.
    pub program: String,
    /// `10.0.0.2:6379`, which it connects to, or `:6379`, where it listens.
    pub service: Option<String>,
}

/// A run.
#[derive(Debug)]
pub struct Run {
    /// What is said of it.
    pub told: Told,
    /// Its numbers.
    pub counts: BTreeMap<(Subject, Measure), u64>,
    /// How long its connections took, by name (`comm`).
    pub programs: BTreeMap<String, Latency>,
}

/// What is said of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md documents the fields")]
pub struct Told {
    pub file: String,
    pub host: Option<String>,
    pub first: Option<Time>,
    pub duration_us: u64,
    pub connections: u64,
    pub truncated: Option<String>,
    pub lost: u64,
}

impl Run {
    /// Of a trace.
    #[must_use]
    pub fn of(file: String, aggregate: Aggregate, truncated: Option<String>, by: By) -> Self {
        let mut counts: BTreeMap<(Subject, Measure), u64> = BTreeMap::new();
        for process in aggregate.processes.values() {
            let program = program(process, by);
            let mut add = |service: Option<String>, measure, count| {
                if count > 0 {
                    let program = program.clone();
                    *counts
                        .entry((Subject { program, service }, measure))
                        .or_default() += count;
                }
            };
            for (measure, count) in Measure::all(process) {
                add(None, measure, count);
            }
            for (key, flow) in &process.flows {
                let Some(service) = service(key, &aggregate.facts) else {
                    continue;
                };
                for (kind, count) in [
                    (Kind::Connections, flow.connections()),
                    (Kind::ConnectFailed, flow.failed()),
                    (Kind::Retransmits, flow.segs()),
                    (Kind::ResetsSent, flow.resets_sent),
                    (Kind::ResetsReceived, flow.resets_received),
                    (Kind::TimeWaitOverflow, flow.overflows),
                ] {
                    add(Some(service.clone()), Measure { kind, sort: None }, count);
                }
            }
        }
        let lost = aggregate.lost();
        Self {
            told: Told {
                file,
                host: aggregate.start.as_ref().map(|start| start.host.clone()),
                first: aggregate.start.as_ref().map(|start| start.ts),
                duration_us: aggregate.duration_us(),
                connections: aggregate
                    .processes
                    .values()
                    .map(|process| process.totals.connections)
                    .sum(),
                truncated,
                lost: lost.ring_full + lost.map_full + lost.skipped,
            },
            counts,
            programs: aggregate.programs,
        }
    }

    /// A count; 0 where there is none.
    #[must_use]
    pub fn count(&self, subject: &Subject, measure: Measure) -> u64 {
        // A borrowed pair is no key of a map of pairs.
        self.counts
            .get(&(subject.clone(), measure))
            .copied()
            .unwrap_or(0)
    }

    /// What a subject's counts are divided by.
    #[must_use]
    pub fn exposure(&self, subject: &Subject, per: Per) -> f64 {
        match per {
            Per::Run => 1.0,
            Per::Second => self.told.duration_us.max(1) as f64 / 1e6,
            Per::Connection => {
                let program = Subject {
                    service: None,
                    ..subject.clone()
                };
                let kind = Kind::Connections;
                self.count(&program, Measure { kind, sort: None }).max(1) as f64
            }
        }
    }
}

fn program(process: &Process, by: By) -> String {
    let Some(who) = &process.who else {
        return String::from(UNKNOWN);
    };
    match (by, &who.place.unit) {
        (By::Unit, Some(unit)) => unit.clone(),
        _ => who.comm.clone(),
    }
}

/// A listener's clients are put together; `None` for what is not told apart.
fn service(key: &FlowKey, facts: &Facts) -> Option<String> {
    if *key == FlowKey::OTHERS {
        return None;
    }
    let ephemeral = facts.ephemeral_ports(key.netns).unwrap_or(EPHEMERAL);
    let port = if ephemeral.contains(&key.port) {
        String::from("ephemeral")
    } else {
        key.port.to_string()
    };
    Some(match key.role {
        Some(Role::Passive) => format!(":{port}"),
        _ if key.peer.is_ipv6() => format!("[{}]:{port}", key.peer),
        _ => format!("{}:{port}", key.peer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::sample::sample,
        fact::{Fact, PORT_RANGE, Subject, Value},
        sink::Sink as _,
    };

    #[test]
    fn a_port_is_ephemeral_where_the_namespace_hands_it_out() {
        let services = |aggregate: Aggregate| -> Vec<String> {
            let run = Run::of(String::new(), aggregate, None, By::Program);
            run.counts
                .into_keys()
                .filter_map(|(subject, _)| subject.service)
                .collect()
        };
        let is_all = |services: Vec<String>, port| {
            !services.is_empty() && services.iter().all(|service| service.ends_with(port))
        };
        assert!(is_all(services(sample().end(10)), ":6379"));
        let mut sample = sample();
        let mut processes = sample.aggregate.processes.values();
        let netns = processes.find_map(|process| Some(process.known_flows().next()?.0.netns));
        let range = Fact {
            ts: Time(1),
            subject: Subject::Namespace(netns.unwrap()),
            name: PORT_RANGE.into(),
            value: Value::Text(String::from("6000 6400")),
        };
        sample.aggregate.fact(&range).unwrap();
        assert!(is_all(services(sample.end(10)), ":ephemeral"));
    }
}

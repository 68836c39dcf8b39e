//! Processes as findings name them, from events and from facts.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use crate::{
    aggregate::Aggregate,
    fact::{Subject, name},
    identity::{Identity, Pid, cgroup::Container},
    time::Time,
};

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Who {
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub pid_start: Time,
    /// Its name.
    pub comm: String,
    /// Its user id.
    pub uid: Option<u32>,
    /// Its command line.
    pub cmdline: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its container.
    pub container: Option<Container>,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = Pid {
            pid: self.pid,
            start: self.pid_start,
        };
        write!(f, "{}[{id}]", self.comm)?;
        match &self.unit {
            Some(unit) => write!(f, " ({unit})"),
            None => Ok(()),
        }
    }
}

impl From<&Identity> for Who {
    fn from(identity: &Identity) -> Self {
        Self {
            pid: identity.pid,
            pid_start: identity.start,
            comm: identity.comm.clone(),
            uid: identity.uid,
            cmdline: identity.cmdline(),
            unit: identity.place.unit.clone(),
            container: identity.place.container.clone(),
        }
    }
}

/// Who it is, if anything says so.
pub(super) fn who(aggregate: &Aggregate, pid: Pid) -> Option<Who> {
    if let Some(identity) = aggregate.process(pid).and_then(|it| it.who.as_deref()) {
        return Some(identity.into());
    }
    let facts = &aggregate.facts;
    let subject = Subject::Process(pid);
    let text = |name| facts.text(&subject, name).map(str::to_owned);
    Some(Who {
        pid: pid.pid,
        pid_start: pid.start,
        comm: text(name::COMM)?,
        uid: facts
            .number(&subject, name::UID)
            .and_then(|uid| uid.try_into().ok()),
        cmdline: text(name::CMDLINE),
        unit: text(name::UNIT),
        container: None,
    })
}

/// How many processes these are.
pub(super) fn count<'a>(all: impl Iterator<Item = &'a Who>) -> usize {
    let ids: BTreeSet<_> = all.map(|who| (who.pid, who.pid_start)).collect();
    ids.len()
}

/// The process that a listener's or a connection's facts name.
pub(super) fn holder(aggregate: &Aggregate, subject: &Subject) -> Option<Pid> {
    named(
        aggregate,
        subject,
        name::CONNECTION_PID,
        name::CONNECTION_PID_START,
    )
}

/// A process's ancestors, the parent first, as far as facts tell.
pub(super) fn ancestors(aggregate: &Aggregate, pid: Pid) -> Vec<Pid> {
    let mut chain = Vec::new();
    let mut at = pid;
    while let Some(parent) = named(
        aggregate,
        &Subject::Process(at),
        name::PARENT,
        name::PARENT_START,
    ) && !chain.contains(&parent)
    {
        chain.push(parent);
        at = parent;
    }
    chain
}

fn named(aggregate: &Aggregate, subject: &Subject, pid: &str, start: &str) -> Option<Pid> {
    let number = |name| aggregate.facts.number(subject, name);
    Some(Pid {
        pid: number(pid)?.try_into().ok()?,
        start: Time(number(start)?.try_into().ok()?),
    })
}

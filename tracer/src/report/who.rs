//! A process as reports name it.

use std::rc::Rc;

use serde::Serialize;

use crate::{
    aggregate::{Aggregate, Process},
    identity::{Identity, UNKNOWN, cgroup::Container},
    time::Time,
};

/// Who a row is about; all fields are null in the row of what has no known owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Who {
    pub pid: Option<u32>,
    pub pid_start: Option<Time>,
    pub uid: Option<u32>,
    pub comm: Option<String>,
    pub cmdline: Option<String>,
    pub container: Option<Container>,
    pub unit: Option<String>,
}

impl Who {
    /// An owner, or nobody.
    #[must_use]
    pub fn of(identity: Option<&Rc<Identity>>) -> Self {
        identity.map_or_else(Self::default, |identity| Self {
            pid: Some(identity.pid),
            pid_start: Some(identity.start),
            uid: identity.uid,
            comm: Some(identity.comm.clone()),
            cmdline: identity.cmdline(),
            container: identity.place.container.clone(),
            unit: identity.place.unit.clone(),
        })
    }

    /// As a table shows it.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.comm, self.pid) {
            (Some(comm), Some(0)) => format!("{comm}[ended]"),
            (Some(comm), Some(pid)) => format!("{comm}[{pid}]"),
            _ => String::from(UNKNOWN),
        }
    }
}

/// The processes that have any of something, those with most of it first.
pub(super) fn most(aggregate: &Aggregate, of: impl Fn(&Process) -> u64) -> Vec<(&Process, u64)> {
    let mut most: Vec<(&Process, u64)> = aggregate
        .processes
        .values()
        .map(|process| (process, of(process)))
        .filter(|(_, number)| *number > 0)
        .collect();
    most.sort_by_cached_key(|(process, number)| {
        (u64::MAX - number, process.who.as_ref().map(|who| who.id()))
    });
    most
}

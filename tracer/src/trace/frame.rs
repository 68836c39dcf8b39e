//! What stands around a trace's events: its first and last line, and the sums of processes and hooks.

use std::{borrow::Cow, collections::BTreeMap, rc::Rc};

use serde::{Serialize, Serializer};
use tracer_common::process::Totals;

use crate::{
    identity::{Identity, Pid, cgroup::Container},
    kernel::counters::HookRow,
    time::Time,
};

/// The version of the schema, `docs/schema.md`.
pub const SCHEMA: u32 = 1;

/// The first line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(
    missing_docs,
    reason = "docs/schema.md documents the fields, and a test compares the two"
)]
pub struct Start {
    pub event: &'static str,
    pub schema: u32,
    pub ts: Time,
    pub host: String,
    pub kernel: String,
    pub version: Cow<'static, str>,
    pub hooks: Vec<HookStart>,
    pub filters: Vec<String>,
}

/// A hook and its rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct HookStart {
    pub hook: Cow<'static, str>,
    pub rung: Cow<'static, str>,
}

/// The last line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct End {
    pub event: &'static str,
    pub ts: Time,
    pub duration_us: u64,
    pub events: BTreeMap<Cow<'static, str>, u64>,
    pub hooks: Vec<HookRow>,
    pub processes: Vec<ProcessRow>,
}

/// A process and its totals so far, as the kernel counted them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRow {
    /// Who; `None` for what has no known owner.
    pub who: Option<Rc<Identity>>,
    /// Live sockets that it owns.
    pub sockets: u64,
    /// What happened to it.
    pub totals: Totals,
}

#[derive(Serialize)]
struct Row<'a> {
    pid: Option<u32>,
    pid_start: Option<Time>,
    uid: Option<u32>,
    comm: Option<&'a str>,
    cmdline: Option<String>,
    cgroup: Option<&'a str>,
    container: Option<&'a Container>,
    unit: Option<&'a str>,
    sockets: u64,
    #[serde(flatten)]
    totals: Totals,
}

impl Serialize for ProcessRow {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let who = self.who.as_deref();
        Row {
            pid: who.map(|who| who.pid),
            pid_start: who.map(|who| who.start),
            uid: who.and_then(|who| who.uid),
            comm: who.map(|who| who.comm.as_str()),
            cmdline: who.and_then(Identity::cmdline),
            cgroup: who.and_then(|who| who.place.path.as_deref()),
            container: who.and_then(|who| who.place.container.as_ref()),
            unit: who.and_then(|who| who.place.unit.as_deref()),
            sockets: self.sockets,
            totals: self.totals,
        }
        .serialize(to)
    }
}

impl ProcessRow {
    /// What names the process; [`Pid::default`] for what has no known owner.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.who.as_ref().map(|who| who.id()).unwrap_or_default()
    }

    /// Whether there is nothing to tell of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets == 0 && self.totals == Totals::default()
    }
}

/// Cumulative sums at a moment: rows that have changed since they were last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// When.
    pub ts: Time,
    /// Processes.
    pub processes: Vec<ProcessRow>,
    /// Hooks.
    pub hooks: Vec<HookRow>,
}

impl Sums {
    /// Ended processes that are told together with others of their program from now on, and what stands for
    /// these. What a process had is in the row of its program by now; its own row is empty.
    pub fn folded(&self) -> impl Iterator<Item = (Pid, Pid)> {
        let past: Vec<&Rc<Identity>> = self
            .processes
            .iter()
            .filter_map(|row| row.who.as_ref())
            .filter(|who| who.id().is_past())
            .collect();
        let of = move |who: &Identity| {
            let mut rows = past.iter();
            let own = rows.find(|past| past.is_past_of(who));
            own.or_else(|| past.iter().find(|past| past.is_past_of_others()))
                .map(|past| past.id())
        };
        self.processes
            .iter()
            .filter(|row| row.is_empty())
            .filter_map(|row| row.who.as_ref())
            .filter(|who| !who.id().is_past())
            .filter_map(move |who| Some((who.id(), of(who)?)))
    }
}

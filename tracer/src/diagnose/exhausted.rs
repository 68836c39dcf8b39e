//! Processes that have no descriptor left: for [`fd_limit`](super::fd_limit) and
//! [`fd_limit_inherited`](super::fd_limit_inherited).

use std::collections::BTreeMap;

use tracer_common::tcp::errno::EMFILE;

use super::{
    About, Evidence, Finding, Seen, Severity, Who, inotify_instances::is_inotify, origin, phrase,
    who,
};
use crate::{
    aggregate::{Aggregate, Process},
    event::{Errno, Syscall},
    fact::{Subject, name},
    identity::Pid,
    time::Time,
};

/// Failures a second from which on a process spins: it does nothing but fail. A server that waits, or whose
/// clients wait, stays far below.
const SPINS: u64 = 10_000;

/// A limit below that is meant: a sandbox takes itself the right to open anything (`RLIMIT_NOFILE` 0 or 1).
const MEANT: u64 = 16;

/// Processes of one program with one limit that have no descriptor left.
pub(super) struct Exhausted {
    /// The one with most failures.
    pub(super) who: Who,
    pid: Pid,
    processes: usize,
    calls: BTreeMap<String, u64>,
    first: Time,
    last: Time,
    open: Option<u64>,
    /// RLIMIT_NOFILE, soft and hard.
    pub(super) limits: (u64, u64),
    /// The ancestor that the limits come from, where it is another program.
    pub(super) origin: Option<Pid>,
}

/// Who has none left, by program and limit: forty workers are one.
pub(super) fn exhausted(aggregate: &Aggregate) -> Vec<Exhausted> {
    let mut groups: BTreeMap<(String, u64, Option<Pid>), Exhausted> = BTreeMap::new();
    let failing = aggregate
        .processes
        .iter()
        .filter_map(|(pid, process)| failed(aggregate, *pid, process));
    for one in failing.chain(full(aggregate)) {
        let key = (one.who.comm.clone(), one.limits.0, one.origin);
        match groups.get_mut(&key) {
            Some(group) => group.join(one),
            None => {
                groups.insert(key, one);
            }
        }
    }
    groups.into_values().collect()
}

/// Processes whose calls failed for their limit.
pub(super) fn failing(aggregate: &Aggregate) -> Vec<Pid> {
    let processes = aggregate.processes.iter();
    processes
        .filter(|(pid, process)| failed(aggregate, **pid, process).is_some())
        .map(|(pid, _)| *pid)
        .collect()
}

/// Calls of a process that failed for its limit: not those for inotify's.
fn failed(aggregate: &Aggregate, pid: Pid, process: &Process) -> Option<Exhausted> {
    let failed: Vec<_> = process
        .descriptors
        .iter()
        .filter(|((call, errno), sum)| *errno == Errno(EMFILE) && !is_inotify(*call, sum))
        .collect();
    let first = failed.iter().map(|(_, sum)| sum.first).min()?;
    let latest = failed.iter().max_by_key(|(_, sum)| sum.last)?.1;
    let fact = |name| number(aggregate, pid, name);
    let soft = latest.limit_soft.or_else(|| fact(name::LIMIT_SOFT));
    let hard = latest.limit_hard.or_else(|| fact(name::LIMIT_HARD));
    let limits = (soft?, hard.or(soft)?);
    Some(Exhausted {
        who: who::who(aggregate, pid)?,
        pid,
        processes: 1,
        calls: failed
            .iter()
            .map(|((call, _), sum)| (call_name(*call), sum.count))
            .collect(),
        first,
        last: latest.last,
        open: fact(name::OPEN_FDS).or(latest.open_fds.map(u64::from)),
        limits,
        origin: origin::of(aggregate, pid, limits),
    })
}

/// Processes that stood at their limit when they were looked at; none of their calls has failed since.
fn full(aggregate: &Aggregate) -> impl Iterator<Item = Exhausted> {
    aggregate.facts.subjects().filter_map(|subject| {
        let Subject::Process(pid) = *subject else {
            return None;
        };
        let open = aggregate.facts.get(subject, name::OPEN_FDS)?;
        let soft = number(aggregate, pid, name::LIMIT_SOFT)?;
        let hard = number(aggregate, pid, name::LIMIT_HARD)?;
        let count = u64::try_from(open.last.1.number()?).ok()?;
        let is_told = aggregate
            .process(pid)
            .is_some_and(|process| !process.descriptors.is_empty());
        let has_ended = number(aggregate, pid, name::ENDED) == Some(1);
        if count < soft || soft < MEANT || is_told || has_ended {
            return None;
        }
        Some(Exhausted {
            who: who::who(aggregate, pid)?,
            pid,
            processes: 1,
            calls: BTreeMap::new(),
            first: open.last.0,
            last: open.last.0,
            open: Some(count),
            limits: (soft, hard),
            origin: origin::of(aggregate, pid, (soft, hard)),
        })
    })
}

fn call_name(call: Option<Syscall>) -> String {
    call.map_or_else(
        || "io_uring or a passed descriptor".to_owned(),
        |call| call.to_string(),
    )
}

/// A number that was read of a process.
pub(super) fn number(aggregate: &Aggregate, pid: Pid, name: &str) -> Option<u64> {
    aggregate
        .facts
        .number(&Subject::Process(pid), name)?
        .try_into()
        .ok()
}

impl Exhausted {
    fn count(&self) -> u64 {
        self.calls.values().sum()
    }

    fn join(&mut self, mut other: Self) {
        if other.count() > self.count() {
            std::mem::swap(self, &mut other);
        }
        self.processes += other.processes;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for (call, count) in other.calls {
            *self.calls.entry(call).or_default() += count;
        }
    }

    /// The finding, without a remedy.
    pub(super) fn finding(&self, aggregate: &Aggregate) -> Finding {
        let (soft, hard) = self.limits;
        let who = phrase::and_more(&self.who.to_string(), self.processes);
        let count = self.count();
        let fails = if count > 0 {
            format!(
                "{} failed with EMFILE",
                phrase::count(count, "call", "calls")
            )
        } else {
            "its next call that needs one fails with EMFILE".to_owned()
        };
        let has = if self.processes == 1 { "has" } else { "have" };
        let mut sentence =
            format!("{who} {has} no descriptor left: the limit is {soft}, and {fails}.");
        let lasted = self.last.since(self.first);
        if count > 0
            && lasted > 0
            && u128::from(count) * 1_000_000_000 / u128::from(lasted) >= u128::from(SPINS)
        {
            sentence += " It tries again at once and burns a processor.";
        }
        let about = About {
            process: Some(self.who.clone()),
            processes: self.processes,
            ..About::default()
        };
        let severity = if count > 0 {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let mut finding = Finding::new(severity, self.first, self.last, sentence, about);
        if count == 0 {
            finding.seen = Seen::Lasting;
        }
        let pid = self.who.pid;
        for (call, count) in &self.calls {
            finding.evidence.push(Evidence::new(
                format!("EMFILE from {call}"),
                count,
                "event fd_exhausted",
            ));
        }
        let limits = format!("/proc/{pid}/limits");
        finding
            .evidence
            .push(Evidence::new(name::LIMIT_SOFT, soft, &limits));
        finding
            .evidence
            .push(Evidence::new(name::LIMIT_HARD, hard, &limits));
        for (name, value) in [
            (name::OPEN_FDS, self.open),
            (
                name::FDS_SOCKET,
                number(aggregate, self.pid, name::FDS_SOCKET),
            ),
        ] {
            if let Some(value) = value {
                finding
                    .evidence
                    .push(Evidence::new(name, value, format!("/proc/{pid}/fd")));
            }
        }
        let chain = origin::chain(aggregate, self.pid);
        if !chain.is_empty() {
            let source = "parents' /proc/PID/limits";
            finding
                .evidence
                .push(Evidence::new("parents", chain, source));
        }
        finding
    }

    /// What the soft limit could be instead.
    pub(super) fn enough(&self) -> u64 {
        self.limits.0.saturating_mul(4).max(65_536)
    }

    /// What holds whoever set the limit.
    pub(super) fn relief(&self) -> [String; 2] {
        let (soft, hard) = self.limits;
        let pid = self.who.pid;
        let enough = self.enough();
        let at_once = if soft < hard {
            format!(
                "Until it is restarted: `prlimit --pid {pid} --nofile={}:{hard}` raises the soft limit (now {soft}) at once.",
                enough.min(hard)
            )
        } else {
            format!(
                "Until it is restarted: `prlimit --pid {pid} --nofile={enough}` raises both limits (now {soft}) at once; above the hard limit that takes CAP_SYS_RESOURCE."
            )
        };
        let not = "See whether it leaks: a higher limit only delays a leak. Sockets in TIME_WAIT are not the cause, they hold no descriptor: leave net.ipv4.tcp_tw_reuse alone (tcp_tw_recycle is gone from Linux since 4.12).";
        [at_once, not.to_owned()]
    }
}

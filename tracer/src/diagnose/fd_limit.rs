//! `fd-limit`: a process, or the machine, has no descriptor left.

use std::collections::BTreeMap;

use tracer_common::tcp::errno::{EMFILE, ENFILE};

use super::{About, Evidence, Finding, Rule, Severity, Who, phrase, who};
use crate::{
    aggregate::{Aggregate, Descriptors, Process},
    event::{Errno, Syscall},
    fact::{Subject, name},
    identity::Pid,
    time::Time,
};

/// Failures a second from which on a process spins: it does nothing but fail. A server that waits, or whose
/// clients wait, stays far below.
const SPINS: u64 = 10_000;

pub(super) struct FdLimit;

impl Rule for FdLimit {
    fn name(&self) -> &'static str {
        "fd-limit"
    }

    fn page(&self) -> &'static str {
        "docs/findings/fd-limit.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let mut findings: Vec<Finding> = exhausted(aggregate)
            .into_iter()
            .filter(|group| group.origin.is_none())
            .map(|group| {
                let mut finding = group.finding(aggregate);
                finding.remedy = remedy(&group);
                finding
            })
            .collect();
        findings.extend(machine(aggregate));
        findings
    }
}

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
        origin: origin(aggregate, pid, limits),
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
            .processes
            .iter()
            .any(|(known, process)| who::is_same(*known, pid) && !process.descriptors.is_empty());
        if count < soft || is_told {
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
            origin: origin(aggregate, pid, (soft, hard)),
        })
    })
}

/// The farthest ancestor with the same limits, where one above it has others: there they were set. A master
/// of the same program does not count, nor does a container's runtime. supervisord counts in any case: it
/// sets its own limits.
fn origin(aggregate: &Aggregate, pid: Pid, limits: (u64, u64)) -> Option<Pid> {
    let comm = who::who(aggregate, pid)?.comm;
    let mut origin = None;
    for ancestor in who::ancestors(aggregate, pid) {
        let soft = number(aggregate, ancestor, name::LIMIT_SOFT)?;
        let hard = number(aggregate, ancestor, name::LIMIT_HARD)?;
        let who = who::who(aggregate, ancestor)?;
        if (soft, hard) != limits {
            return origin;
        }
        if is_supervisord(&who) {
            return Some(ancestor);
        }
        if who.comm != comm && !is_runtime(&who) {
            origin = Some(ancestor);
        }
    }
    // The same up to the first process: nobody set them for this one.
    None
}

/// supervisord, whatever runs it.
pub(super) fn is_supervisord(who: &Who) -> bool {
    who.comm == "supervisord"
        || who.cmdline.as_ref().is_some_and(|line| {
            line.split(' ')
                .take(2)
                .any(|word| word.rsplit('/').next() == Some("supervisord"))
        })
}

fn is_runtime(who: &Who) -> bool {
    ["containerd-shim", "conmon", "docker-init", "tini", "runc"]
        .iter()
        .any(|runtime| who.comm.starts_with(runtime))
}

/// A call that makes an inotify instance, while descriptors are left: it is the user's instances that are
/// used up.
pub(super) fn is_inotify(call: Option<Syscall>, sum: &Descriptors) -> bool {
    let is_call = call.is_some_and(|call| {
        [libc::SYS_inotify_init, libc::SYS_inotify_init1].contains(&i64::from(call.0))
    });
    let is_full = match (sum.open_fds, sum.limit_soft) {
        (Some(open), Some(soft)) => u64::from(open) >= soft,
        _ => false,
    };
    is_call && !is_full
}

fn call_name(call: Option<Syscall>) -> String {
    call.map_or_else(
        || "io_uring or a passed descriptor".to_owned(),
        |call| call.to_string(),
    )
}

fn number(aggregate: &Aggregate, pid: Pid, name: &str) -> Option<u64> {
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
        let chain = chain(aggregate, self.pid);
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

/// `supervisord[12] 64:64 < bash[7] 1024:4096`: the limits, soft and hard, of each ancestor.
fn chain(aggregate: &Aggregate, pid: Pid) -> String {
    let ancestors = who::ancestors(aggregate, pid);
    let links: Vec<String> = ancestors
        .iter()
        .filter_map(|ancestor| {
            let soft = number(aggregate, *ancestor, name::LIMIT_SOFT)?;
            let hard = number(aggregate, *ancestor, name::LIMIT_HARD)?;
            let who = who::who(aggregate, *ancestor)?;
            Some(format!("{}[{}] {soft}:{hard}", who.comm, who.pid))
        })
        .collect();
    links.join(" < ")
}

fn remedy(group: &Exhausted) -> Vec<String> {
    let (soft, hard) = group.limits;
    let enough = group.enough();
    let who = &group.who;
    let own = if who.comm.starts_with("nginx") {
        format!(
            "Set `worker_rlimit_nofile {enough};` in nginx.conf (its workers now have {soft}), at least twice `worker_connections`, and reload nginx."
        )
    } else if who.container.is_some() {
        format!(
            "Start the container with `--ulimit nofile={enough}:{enough}` (now {soft}:{hard}), or set it in the runtime's default limits."
        )
    } else if let Some(unit) = who.unit.as_ref().filter(|unit| unit.ends_with(".service")) {
        format!(
            "Set `LimitNOFILE={enough}` in the unit {unit} (`systemctl edit {unit}`; now {soft}:{hard}) and restart it."
        )
    } else {
        format!(
            "Set RLIMIT_NOFILE to {enough} where {} is started (`ulimit -n {enough}`, `LimitNOFILE={enough}` in a systemd unit; now {soft}:{hard}) and restart it.",
            who.comm
        )
    };
    std::iter::once(own).chain(group.relief()).collect()
}

/// The machine's table of files is full.
fn machine(aggregate: &Aggregate) -> Option<Finding> {
    let mut count = 0;
    let mut worst: Option<(u64, Pid)> = None;
    let mut processes = 0;
    let (mut first, mut last) = (Time(u64::MAX), Time(0));
    for (pid, process) in &aggregate.processes {
        let mut own = 0;
        for ((_, errno), sum) in &process.descriptors {
            if *errno == Errno(ENFILE) {
                own += sum.count;
                first = first.min(sum.first);
                last = last.max(sum.last);
            }
        }
        if own > 0 {
            count += own;
            processes += 1;
            worst = worst.max(Some((own, *pid)));
        }
    }
    let who = who::who(aggregate, worst?.1)?;
    let fact = |name| aggregate.facts.number(&Subject::Machine, name);
    let max = fact(name::FILE_MAX);
    let now = max.map_or_else(String::new, |max| format!(" (now {max})"));
    let sentence = format!(
        "The machine has no file left: fs.file-max{now} is reached, and {} of {} failed with ENFILE.",
        phrase::count(count, "call", "calls"),
        phrase::and_more(&who.to_string(), processes)
    );
    let about = About {
        process: Some(who),
        processes,
        ..About::default()
    };
    let mut finding = Finding::new(Severity::Critical, first, last, sentence, about);
    finding
        .evidence
        .push(Evidence::new("ENFILE", count, "event fd_exhausted"));
    for name in [name::FILE_NR, name::FILE_MAX] {
        if let Some(value) = fact(name) {
            finding
                .evidence
                .push(Evidence::new(name, value, "/proc/sys/fs/file-nr"));
        }
    }
    let enough = max.map_or(1_000_000, |max| max.saturating_mul(2));
    finding.remedy = vec![
        format!("Raise the machine's table: `sysctl -w fs.file-max={enough}`{now}; root's processes are exempt."),
        "Find who holds the files: `lsof` or the fullest /proc/PID/fd. No process's own limit is the cause: raising LimitNOFILE would make it worse.".to_owned(),
    ];
    Some(finding)
}

#[cfg(test)]
mod tests {
    use crate::{
        diagnose::{
            Severity,
            synthetic::{Synthetic, process},
        },
        fact::{Subject, name},
    };

    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;

    #[test]
    fn forty_workers_at_one_limit_are_one_finding() {
        let mut trace = Synthetic::default();
        for pid in 1..=40 {
            let worker = process("app", pid);
            trace.descriptors(10, &worker, "socket", EMFILE, 5, 64, 64);
            trace.descriptors(20, &worker, "openat", EMFILE, 1, 64, 64);
        }
        let finding = trace.only();
        assert_eq!(finding.name, "fd-limit");
        assert_eq!(finding.about.processes, 40);
        assert_eq!(finding.value("EMFILE from socket"), "200");
        assert_eq!(finding.value("EMFILE from openat"), "40");
        assert!(
            finding
                .sentence
                .contains("the limit is 64, and 240 calls failed"),
            "{}",
            finding.sentence
        );
        assert!(finding.advises(&["LimitNOFILE", "now 64:64"]));
        assert!(finding.advises(&["TIME_WAIT", "not the cause"]));
    }

    #[test]
    fn nginx_has_a_knob_of_its_own_whoever_started_it() {
        let (worker, master, shell) =
            (process("nginx", 3), process("nginx", 2), process("bash", 1));
        let mut trace = Synthetic::default();
        trace
            .limits(&worker, 32, 32, Some(&master))
            .limits(&master, 32, 32, Some(&shell));
        trace.limits(&shell, 1024, 4096, None);
        trace.descriptors(10, &worker, "accept4", EMFILE, 2, 32, 32);
        let finding = trace.only();
        assert_eq!(finding.name, "fd-limit");
        assert!(finding.advises(&["worker_rlimit_nofile", "32"]));
        assert_eq!(
            finding.value("parents"),
            "nginx[2] 32:32 < bash[1] 1024:4096"
        );
    }

    #[test]
    fn a_machine_without_files_is_not_a_process_at_its_limit() {
        let mut trace = Synthetic::default();
        trace.fact(0, Subject::Machine, name::FILE_MAX, 1_000);
        trace.descriptors(10, &process("app", 1), "openat", ENFILE, 7, 12, 1024);
        let finding = trace.only();
        assert!(
            finding.advises(&["fs.file-max=2000", "now 1000"]),
            "{:#?}",
            finding.remedy
        );
        assert!(!finding.advises(&["prlimit"]));
    }

    #[test]
    fn a_process_found_at_its_limit_is_told_before_it_fails() {
        let app = process("app", 1);
        let subject = Subject::Process(app.id());
        let mut trace = Synthetic::default();
        trace
            .limits(&app, 64, 64, None)
            .fact(0, subject, name::OPEN_FDS, 64);
        assert_eq!(trace.only().severity, Severity::Warning);
        let mut near = Synthetic::default();
        near.limits(&app, 64, 64, None)
            .fact(0, subject, name::OPEN_FDS, 63);
        assert!(near.names().is_empty());
    }

    #[test]
    fn inotify_instances_are_not_descriptors() {
        let mut trace = Synthetic::default();
        trace.descriptors(
            10,
            &process("tail", 1),
            "inotify_init",
            EMFILE,
            1,
            5,
            20_000,
        );
        assert!(!trace.names().contains(&"fd-limit"));
    }
}

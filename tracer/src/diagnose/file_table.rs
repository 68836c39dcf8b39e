//! The machine's table of open files: part of [`fd_limit`](super::fd_limit).

use tracer_common::tcp::errno::ENFILE;

use super::{About, Evidence, Finding, Severity, phrase, who};
use crate::{
    aggregate::Aggregate,
    event::Errno,
    fact::{Subject, name},
    identity::Pid,
    time::Time,
};

/// The table is full.
pub(super) fn finding(aggregate: &Aggregate) -> Option<Finding> {
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

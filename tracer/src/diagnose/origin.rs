//! Whom a process has its limit of descriptors from.

use super::{Who, exhausted::number, who};
use crate::{aggregate::Aggregate, fact::name, identity::Pid};

/// The farthest ancestor with the same limits, where one above it has others: there they were set. A master
/// of the same program does not count, nor does a container's runtime. supervisord counts in any case: it
/// sets its own limits.
pub(super) fn of(aggregate: &Aggregate, pid: Pid, limits: (u64, u64)) -> Option<Pid> {
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

/// `supervisord[12] 64:64 < bash[7] 1024:4096`: the limits, soft and hard, of each ancestor.
pub(super) fn chain(aggregate: &Aggregate, pid: Pid) -> String {
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

//! `inotify-instances`: a user has no inotify instance left, which looks like a lack of descriptors.

use std::collections::BTreeMap;

use super::{About, Evidence, Finding, Rule, Severity, phrase, who};
use crate::{
    aggregate::{Aggregate, Descriptors},
    event::{Errno, Syscall},
    fact::{Subject, name},
    identity::Pid,
};

/// The sysctl.
const MAX: &str = name::INOTIFY_MAX;

pub(super) struct InotifyInstances;

impl Rule for InotifyInstances {
    fn name(&self) -> &'static str {
        "inotify-instances"
    }

    fn page(&self) -> &'static str {
        "docs/findings/inotify-instances.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let mut users: BTreeMap<Option<u32>, Vec<(Pid, &Descriptors)>> = BTreeMap::new();
        for (pid, process) in &aggregate.processes {
            let uid = process.who.as_ref().and_then(|who| who.uid);
            for ((call, errno), sum) in &process.descriptors {
                if *errno == Errno(libc::EMFILE) && is_inotify(*call, sum) {
                    users.entry(uid).or_default().push((*pid, sum));
                }
            }
        }
        users
            .into_iter()
            .filter_map(|(uid, all)| finding(aggregate, uid, &all))
            .collect()
    }
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

fn finding(
    aggregate: &Aggregate,
    uid: Option<u32>,
    all: &[(Pid, &Descriptors)],
) -> Option<Finding> {
    let (pid, worst) = all.iter().max_by_key(|(_, sum)| sum.count)?;
    let who = who::who(aggregate, *pid)?;
    let count: u64 = all.iter().map(|(_, sum)| sum.count).sum();
    let mut pids: Vec<_> = all.iter().map(|(pid, _)| *pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let process = |name| {
        pids.iter()
            .filter_map(|pid| aggregate.facts.number(&Subject::Process(*pid), name))
            .max()
    };
    let machine = |name| aggregate.facts.number(&Subject::Machine, name);
    let (held, max) = (process(name::INOTIFY_OF_USER), machine(MAX));
    let is_own = match (
        process(name::USER_NAMESPACE),
        machine(name::OWN_USER_NAMESPACE),
    ) {
        (Some(its), Some(own)) => its == own,
        _ => true,
    };
    let user = uid.map_or_else(|| "the user".to_owned(), |uid| format!("user {uid}"));
    let descriptors = match (worst.open_fds, worst.limit_soft) {
        (Some(open), Some(soft)) => {
            format!("; descriptors are not short: it has {open} of {soft} open")
        }
        _ => String::new(),
    };
    let sentence = format!(
        "{} can't watch files: {user} has no inotify instance left, and {} failed with EMFILE{descriptors}.",
        phrase::and_more(&who.to_string(), pids.len()),
        phrase::count(count, "call", "calls"),
    );
    let about = About {
        process: Some(who),
        processes: pids.len(),
        ..About::default()
    };
    let first = all.iter().map(|(_, sum)| sum.first).min()?;
    let last = all.iter().map(|(_, sum)| sum.last).max()?;
    let mut finding = Finding::new(Severity::Critical, first, last, sentence, about);
    let mut add = |name: &str, value: Option<i64>, source: &str| {
        if let Some(value) = value {
            finding.evidence.push(Evidence::new(name, value, source));
        }
    };
    add(
        "EMFILE from inotify_init",
        count.try_into().ok(),
        "event fd_exhausted",
    );
    add(
        name::INOTIFY_OF_USER,
        held,
        "/proc/*/fd of the user's processes",
    );
    add(MAX, max, "sysctl");
    add(
        name::OPEN_FDS,
        worst.open_fds.map(i64::from),
        "event fd_exhausted",
    );
    add(
        name::LIMIT_SOFT,
        worst.limit_soft.and_then(|soft| soft.try_into().ok()),
        "event fd_exhausted",
    );
    let now = max.map_or_else(String::new, |max| format!(" (now {max})"));
    let enough = max.map_or(1_024, |max| max.saturating_mul(8).max(1_024));
    let raise = format!(
        "Raise `{MAX}` to {enough}{now}: `sysctl -w {MAX}={enough}`; it counts the instances of all processes of a user."
    );
    let inside = "It runs in a user namespace of its own: there `user.max_inotify_instances` may be the limit, which root of that namespace (or of the one above it) raises.".to_owned();
    finding.remedy = if is_own {
        vec![raise]
    } else {
        vec![inside, raise]
    };
    finding.remedy.push("Do not raise RLIMIT_NOFILE (`ulimit -n`, LimitNOFILE): it has nothing to do with it. Nor fs.inotify.max_user_watches: without watches the error would be ENOSPC.".to_owned());
    Some(finding)
}

#[cfg(test)]
mod tests {
    use crate::{
        diagnose::synthetic::{Synthetic, process},
        fact::{Subject, name},
    };

    #[test]
    fn the_users_instances_are_told_from_descriptors() {
        let tail = process("tail", 130);
        let mut trace = Synthetic::default();
        trace.fact(0, Subject::Machine, name::INOTIFY_MAX, 128);
        trace.fact(20, Subject::Process(tail.id()), name::INOTIFY_OF_USER, 128);
        trace.descriptors(10, &tail, "inotify_init1", libc::EMFILE, 1, 5, 20_000);
        let finding = trace.only();
        assert_eq!(finding.name, "inotify-instances");
        assert_eq!(
            (
                finding.value("inotify_instances_of_user"),
                finding.value(name::INOTIFY_MAX)
            ),
            ("128", "128")
        );
        assert!(finding.advises(&["fs.inotify.max_user_instances", "now 128"]));
        assert!(finding.advises(&["Do not raise RLIMIT_NOFILE"]));
    }

    #[test]
    fn a_process_at_its_limit_fails_with_inotify_too() {
        let app = process("app", 1);
        let mut trace = Synthetic::default();
        trace.descriptors(10, &app, "inotify_init1", libc::EMFILE, 1, 64, 64);
        assert_eq!(trace.names(), ["fd-limit"]);
    }
}

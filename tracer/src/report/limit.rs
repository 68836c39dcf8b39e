//! Where a process's RLIMIT_NOFILE comes from: limits are inherited, so the oldest ancestor that has the
//! same one is where it was set.

use crate::{
    aggregate::Aggregate,
    fact::{Facts, Subject, name},
    identity::Pid,
    time::Time,
};

/// Ancestors that are asked.
const GENERATIONS: usize = 32;

/// A sentence about a limit that was in force, soft and hard; `None` where the trace does not tell.
pub(super) fn set_by(aggregate: &Aggregate, pid: Pid, own: (u64, u64)) -> Option<String> {
    let facts = &aggregate.facts;
    let limits = |pid: Pid| {
        // RLIM_INFINITY is -1 as a signed number.
        let limit = |name| Some(facts.number(&Subject::Process(pid), name)?.cast_unsigned());
        Some((limit(name::LIMIT_SOFT)?, limit(name::LIMIT_HARD)?))
    };
    let mut setter = pid;
    for _ in 0..GENERATIONS {
        let parent = parent(facts, setter)?;
        let theirs = limits(parent)?;
        if theirs == own {
            setter = parent;
            continue;
        }
        let process = |pid: Pid| match facts.text(&Subject::Process(pid), name::COMM) {
            Some(comm) => format!("{comm}[{}]", pid.pid),
            None => format!("process {}", pid.pid),
        };
        let whose = if setter == pid {
            String::from("not inherited: set by itself or as it was started")
        } else {
            format!("inherited from {}", process(setter))
        };
        return Some(format!(
            "{whose}; above it {} has {} (hard {})",
            process(parent),
            shown(theirs.0),
            shown(theirs.1)
        ));
    }
    None
}

fn parent(facts: &Facts, pid: Pid) -> Option<Pid> {
    let number = |name| u64::try_from(facts.number(&Subject::Process(pid), name)?).ok();
    Some(Pid {
        pid: u32::try_from(number(name::PARENT)?)
            .ok()
            .filter(|pid| *pid != 0)?,
        start: Time(number(name::PARENT_START)?),
    })
}

/// A limit as a table shows it.
pub(super) fn shown(limit: u64) -> String {
    match limit {
        u64::MAX => String::from("unlimited"),
        limit => limit.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{Fact, Value};

    fn facts(rows: &[(u32, &str, Value)]) -> Aggregate {
        let mut aggregate = Aggregate::default();
        for (pid, name, value) in rows {
            aggregate.facts.add(&Fact {
                ts: Time(1),
                subject: Subject::Process(id(*pid)),
                name: (*name).to_owned().into(),
                value: value.clone(),
            });
        }
        aggregate
    }

    fn id(pid: u32) -> Pid {
        Pid {
            pid,
            start: Time(u64::from(pid)),
        }
    }

    fn process(pid: u32, comm: &str, parent: i64, soft: i64) -> Vec<(u32, &'static str, Value)> {
        vec![
            (pid, "comm", Value::Text(comm.to_owned())),
            (pid, "parent", Value::Number(parent)),
            (pid, "parent_start", Value::Number(parent)),
            (pid, "limit_nofile_soft", Value::Number(soft)),
            (pid, "limit_nofile_hard", Value::Number(4096)),
        ]
    }

    #[test]
    fn the_oldest_ancestor_with_the_same_limit_set_it() {
        let rows = [
            process(30, "worker", 20, 64),
            process(20, "supervisord", 10, 64),
            process(10, "sh", 1, 1024),
        ]
        .concat();
        let aggregate = facts(&rows);
        assert_eq!(
            set_by(&aggregate, id(30), (64, 4096)).as_deref(),
            Some("inherited from supervisord[20]; above it sh[10] has 1024 (hard 4096)")
        );
        assert_eq!(
            set_by(&aggregate, id(20), (64, 4096)).as_deref(),
            Some(
                "not inherited: set by itself or as it was started; above it sh[10] has 1024 (hard 4096)"
            )
        );
        assert_eq!(
            set_by(&aggregate, id(10), (1024, 4096)),
            None,
            "its parent is not known"
        );
    }
}

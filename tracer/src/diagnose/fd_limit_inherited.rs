//! `fd-limit-inherited`: a process has no descriptor left, and has its limit from the one that started it.

use super::{
    Evidence, Finding, Rule, Who,
    exhausted::{Exhausted, exhausted},
    origin, who,
};
use crate::{
    aggregate::Aggregate,
    fact::{Subject, name},
};

pub(super) struct FdLimitInherited;

impl Rule for FdLimitInherited {
    fn name(&self) -> &'static str {
        "fd-limit-inherited"
    }

    fn page(&self) -> &'static str {
        "docs/findings/fd-limit-inherited.md"
    }

    fn check(&self, aggregate: &Aggregate) -> Vec<Finding> {
        let groups = exhausted(aggregate);
        groups
            .iter()
            .filter_map(|group| {
                let pid = group.origin?;
                let origin = who::who(aggregate, pid)?;
                let mut finding = group.finding(aggregate);
                finding.sentence += &format!(" It has that limit from {origin}, which started it.");
                let minfds = aggregate.facts.number(&Subject::Process(pid), name::MINFDS);
                if let Some(minfds) = minfds {
                    let source = "supervisord's arguments or configuration file";
                    finding
                        .evidence
                        .push(Evidence::new(name::MINFDS, minfds, source));
                }
                finding.remedy = if origin::is_supervisord(&origin) {
                    by_supervisord(group, &origin, minfds)
                } else {
                    by_other(group, &origin)
                };
                finding.remedy.extend(group.relief());
                Some(finding)
            })
            .collect()
    }
}

fn by_supervisord(group: &Exhausted, origin: &Who, minfds: Option<i64>) -> Vec<String> {
    let (_, hard) = group.limits;
    let enough = group.enough();
    let now = minfds.map_or_else(String::new, |minfds| format!(" (now {minfds})"));
    let mut remedy = vec![format!(
        "Set `minfds={enough}`{now} in the section [supervisord] of supervisord's configuration and restart supervisord: it raises its own limit to that, and its programs inherit it. Nothing in the program's own section can."
    )];
    if hard < enough {
        let unit = origin
            .unit
            .as_ref()
            .filter(|unit| unit.ends_with(".service"));
        let place = unit.map_or_else(
            || {
                "the systemd unit that starts supervisord, or `ulimit -Hn` in the script that does"
                    .to_owned()
            },
            |unit| format!("the unit {unit}"),
        );
        remedy.push(format!(
            "supervisord's own hard limit is {hard}, and without root it can't pass it: set `LimitNOFILE={enough}` in {place} first."
        ));
    }
    remedy
}

fn by_other(group: &Exhausted, origin: &Who) -> Vec<String> {
    let (soft, hard) = group.limits;
    let enough = group.enough();
    let unit = origin
        .unit
        .as_ref()
        .filter(|unit| unit.ends_with(".service"));
    let place = unit.map_or_else(
        || format!("where {origin} sets it (`ulimit -n`, setrlimit), or where that is started"),
        |unit| format!("with `LimitNOFILE={enough}` in the unit {unit}"),
    );
    vec![format!(
        "Raise RLIMIT_NOFILE (now {soft}:{hard}) to {enough} {place}, and restart both: a limit is inherited when a process is started."
    )]
}

#[cfg(test)]
mod tests {
    use crate::{
        diagnose::synthetic::{Synthetic, process},
        fact::{Subject, name},
    };

    const EMFILE: i32 = 24;

    #[test]
    fn supervisord_is_named_with_its_knob() {
        let (app, supervisord) = (process("python3", 3), process("supervisord", 2));
        let shell = process("bash", 1);
        let mut trace = Synthetic::default();
        trace.limits(&app, 200, 4096, Some(&supervisord));
        trace
            .limits(&supervisord, 200, 4096, Some(&shell))
            .limits(&shell, 64, 4096, None);
        trace.fact(0, Subject::Process(supervisord.id()), name::MINFDS, 200);
        trace.descriptors(10, &app, "socket", EMFILE, 1_000, 200, 200);
        let finding = trace.only();
        assert_eq!(finding.name, "fd-limit-inherited");
        assert!(
            finding.sentence.contains("from supervisord[2]"),
            "{}",
            finding.sentence
        );
        assert_eq!(finding.value("minfds"), "200");
        assert!(
            finding.remedy[0].contains("`minfds=65536` (now 200)"),
            "{:#?}",
            finding.remedy
        );
        assert!(finding.advises(&["hard limit is 4096", "LimitNOFILE="]));
    }

    #[test]
    fn what_was_not_read_is_not_made_up() {
        let (app, supervisord) = (process("python3", 3), process("supervisord", 2));
        let mut trace = Synthetic::default();
        trace
            .limits(&app, 200, 4096, Some(&supervisord))
            .limits(&supervisord, 200, 4096, None);
        trace.descriptors(10, &app, "socket", EMFILE, 1_000, 200, 200);
        let remedy = &trace.only().remedy[0];
        assert!(remedy.starts_with("Set `minfds=65536` in"), "{remedy}");
    }

    #[test]
    fn limits_that_everybody_has_come_from_nobody() {
        let (app, shell, init) = (process("app", 3), process("bash", 2), process("init", 1));
        let mut trace = Synthetic::default();
        trace
            .limits(&app, 1024, 4096, Some(&shell))
            .limits(&shell, 1024, 4096, Some(&init));
        trace.limits(&init, 1024, 4096, None);
        trace.descriptors(10, &app, "socket", EMFILE, 10, 1024, 1024);
        assert_eq!(trace.names(), ["fd-limit"]);
    }

    #[test]
    fn a_limit_of_its_own_is_not_inherited() {
        let (app, supervisord) = (process("python3", 3), process("supervisord", 2));
        let mut trace = Synthetic::default();
        trace
            .limits(&app, 24, 24, Some(&supervisord))
            .limits(&supervisord, 1024, 4096, None);
        trace.descriptors(10, &app, "socket", EMFILE, 10, 24, 24);
        assert_eq!(trace.names(), ["fd-limit"]);
    }
}

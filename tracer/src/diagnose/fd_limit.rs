//! `fd-limit`: a process, or the machine, has no descriptor left.

use super::{
    Finding, Rule,
    exhausted::{Exhausted, exhausted},
    file_table,
};
use crate::aggregate::Aggregate;

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
        findings.extend(file_table::finding(aggregate));
        findings
    }
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
        trace.fact(9, subject, name::ENDED, 1);
        assert!(trace.names().is_empty(), "it needs none any more");
        // Who may have none has asked for it.
        for limit in [0, 1] {
            let mut sandbox = Synthetic::default();
            sandbox
                .limits(&app, limit, limit, None)
                .fact(0, subject, name::OPEN_FDS, 5);
            assert!(sandbox.names().is_empty());
        }
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

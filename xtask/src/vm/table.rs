//! The table at the end: one line per kernel and rung, and below it what did not pass.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde_json::{Value, json};
use vm_init::{plan::Plan, report::Outcome};

use super::{
    console::{Ending, TestResult},
    programs::LEFT_OUT,
    qemu::Run,
    rung::Rung,
    series::Series,
};

/// tcptrace's exit code when the kernel refuses what it needs.
const REFUSED: i32 = 3;

/// What a test that is left out lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// Kernel modules.
    Modules,
    /// One of [`LEFT_OUT`].
    Program(&'static str, &'static str),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modules => f.write_str("no kernel modules to be had"),
            Self::Program(program, why) => write!(f, "no {program} ({why})"),
        }
    }
}

/// What one rung did on one kernel.
#[derive(Clone, Debug)]
pub(super) struct Row {
    series: Series,
    release: String,
    rung: Rung,
    planned: usize,
    passed: usize,
    /// They need a kernel module, and the mirror has none for this kernel, or a program that the machines do not have.
    left_out: Vec<(String, Lack)>,
    refused: bool,
    ending: Ending,
    /// In words, one line each.
    complaints: Vec<String>,
    seconds: u64,
}

impl Row {
    /// Reads the rung's part of a run.
    pub(super) fn new(series: Series, rung: Rung, release: &str, plan: &Plan, run: &Run) -> Self {
        let name = rung.to_string();
        let results = || {
            run.console
                .results
                .iter()
                .filter(|result| result.rung == name)
        };
        let lack = |result: &TestResult| {
            let program = result.lacked_program.as_deref();
            let program = LEFT_OUT.iter().find(|(name, _)| Some(*name) == program);
            // Only where there are no modules at all: a module that does not do its work is a failure.
            let lacked_module = plan.modules.is_empty() && result.lacked_module;
            match program {
                _ if result.outcome == Outcome::Passed => None,
                Some((program, why)) => Some(Lack::Program(program, why)),
                None => lacked_module.then_some(Lack::Modules),
            }
        };
        let mut complaints: Vec<String> = results()
            .filter(|result| result.outcome != Outcome::Passed && lack(result).is_none())
            .map(|result| {
                format!(
                    "{} ({}, {:.1} s)",
                    result.name,
                    result.outcome,
                    result.took.as_secs_f64()
                )
            })
            .collect();
        if let Some((_, test)) = run
            .console
            .running
            .as_ref()
            .filter(|(rung, _)| *rung == name)
        {
            complaints.push(format!("{test} did not end"));
        }
        complaints.extend(
            run.console
                .faults
                .iter()
                .map(|fault| format!("kernel: {fault}")),
        );
        complaints.extend(run.console.notes.iter().map(|note| format!("init: {note}")));
        match &run.console.release {
            Some(running) if running != release => {
                complaints.push(format!("the running kernel is {running}"))
            }
            Some(_) => {}
            None => complaints.push("the init did not start".to_owned()),
        }
        Self {
            series,
            release: release.to_owned(),
            rung,
            planned: plan.tests.iter().filter(|test| test.rung == name).count(),
            passed: results()
                .filter(|result| result.outcome == Outcome::Passed)
                .count(),
            left_out: results()
                .filter_map(|result| Some((result.name.clone(), lack(result)?)))
                .collect(),
            refused: results().any(|result| result.outcome == Outcome::Failed(REFUSED)),
            ending: run.ending,
            complaints,
            seconds: run.took.as_secs(),
        }
    }

    /// The row of the machine that runs the virtual ones.
    pub(super) fn of_this_machine(mut self) -> Self {
        self.release += ", this machine's own";
        self
    }

    /// All is well, or the kernel is too old for the rung.
    pub(super) fn passed(&self) -> bool {
        let too_old = self.refused && self.series < self.rung.minimum();
        self.ending == Ending::Done
            && ((self.passed + self.left_out.len() == self.planned && self.complaints.is_empty())
                || too_old)
    }

    fn verdict(&self) -> &'static str {
        match self.ending {
            _ if self.passed() && self.refused => "too old",
            _ if self.passed() => "passed",
            Ending::Hung => "HUNG",
            Ending::Stopped => "STOPPED",
            Ending::Done if self.refused => "REFUSED",
            Ending::Done => "FAILED",
        }
    }
}

/// The rows, what was tested and the checksum of the tracer that ran, for other programs: README's table is made from it.
pub(super) fn json(rows: &[Row], covers: &str, tracer: Option<&str>) -> Value {
    let row = |row: &Row| {
        json!({
            "kernel": row.series.to_string(),
            "release": row.release,
            "rung": row.rung.to_string(),
            "result": row.verdict(),
            "planned": row.planned,
            "passed": row.passed,
            "left_out": row.left_out.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "complaints": row.complaints,
            "seconds": row.seconds,
        })
    };
    json!({
        "covers": covers,
        "tcptrace_sha256": tracer,
        "rows": rows.iter().map(row).collect::<Value>(),
    })
}

/// The table, and below it what each line complains about.
pub(super) fn render(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.release.len())
        .max()
        .unwrap_or(0)
        .max("release".len());
    let mut text = format!(
        "{:<7} {:<width$} {:<11} {:<8} {:>9} {:>6}\n",
        "kernel", "release", "rung", "result", "tests", "time"
    );
    for row in rows {
        let tests = format!("{}/{}", row.passed, row.planned);
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{:<7} {:<width$} {:<11} {:<8} {tests:>9} {:>4} s",
            row.series,
            row.release,
            row.rung,
            row.verdict(),
            row.seconds
        );
    }
    for row in rows.iter().filter(|row| !row.left_out.is_empty()) {
        let mut by_lack: BTreeMap<&Lack, Vec<&str>> = BTreeMap::new();
        for (name, lack) in &row.left_out {
            by_lack.entry(lack).or_default().push(name);
        }
        for (lack, names) in by_lack {
            let (series, rung, names) = (row.series, row.rung, names.join(", "));
            let _ = writeln!(text, "\n{series} {rung} left out, {lack}: {names}");
        }
    }
    for row in rows.iter().filter(|row| !row.complaints.is_empty()) {
        let _ = writeln!(text, "\n{} {}:", row.series, row.rung);
        for complaint in &row.complaints {
            let _ = writeln!(text, "  {complaint}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vm_init::plan::Test;

    use super::{super::console::Console, *};

    const SERIES: Series = Series {
        major: 6,
        minor: 12,
    };

    fn row(console: &str, ending: Ending) -> Row {
        row_with(&[], console, ending)
    }

    fn row_with(modules: &[&str], console: &str, ending: Ending) -> Row {
        let test = Test {
            name: "states".to_owned(),
            rung: "auto".to_owned(),
            timeout: Duration::from_secs(1),
            argv: vec!["/init".to_owned()],
        };
        let plan = Plan {
            modules: modules.iter().map(|module| (*module).to_owned()).collect(),
            tests: vec![test],
            ..Plan::default()
        };
        let mut run = Run {
            console: Console::default(),
            ending,
            took: Duration::from_secs(7),
        };
        for line in console.lines() {
            run.console.take(line);
        }
        Row::new(SERIES, Rung::Auto, "6.12.1", &plan, &run)
    }

    const PASSED: &str =
        "@vm booted 6.12.1\n@vm begin auto states\n@vm end auto passed 5 states\n@vm done 1 0\n";

    #[test]
    fn a_run_without_complaints_passes() {
        let row = row(PASSED, Ending::Done);
        assert!(row.passed());
        let expected = "\
kernel  release rung        result       tests   time
6.12    6.12.1  auto        passed         1/1    7 s
";
        assert_eq!(render(&[row]), expected);
    }

    #[test]
    fn another_program_reads_the_same_result() {
        let value = json(&[row(PASSED, Ending::Done)], "all", Some("5c5c"));
        assert_eq!(value["covers"], "all");
        let row = &value["rows"][0];
        assert_eq!(value["tcptrace_sha256"], "5c5c");
        assert_eq!(row["kernel"], "6.12");
        assert_eq!(row["result"], "passed");
        assert_eq!(row["planned"], 1);
    }

    #[test]
    fn a_complaint_of_the_kernel_fails_the_line_though_all_tests_passed() {
        let row = row(
            &format!("{PASSED}[    3.1] WARNING: CPU: 0\n"),
            Ending::Done,
        );
        assert!(!row.passed());
        assert!(render(&[row]).contains("kernel: WARNING: CPU: 0"));
    }

    #[test]
    fn a_rung_refused_where_it_should_be_is_told_apart() {
        let row = row(
            "@vm booted 6.12.1\n@vm end auto exit=3 5 states\n@vm done 0 1\n",
            Ending::Done,
        );
        assert_eq!((row.passed(), row.verdict()), (false, "REFUSED"));
    }

    #[test]
    fn a_hang_names_its_test_and_a_stop_is_no_pass() {
        let row_hung = row("@vm booted 6.12.1\n@vm begin auto states\n", Ending::Hung);
        assert_eq!(row_hung.verdict(), "HUNG");
        assert!(render(&[row_hung]).contains("states did not end"));
        assert_eq!(row("", Ending::Stopped).verdict(), "STOPPED");
    }

    #[test]
    fn another_kernel_than_the_one_that_was_unpacked_is_no_pass() {
        assert!(!row(&PASSED.replace("6.12.1", "6.18.1"), Ending::Done).passed());
    }

    #[test]
    fn what_lacks_a_module_is_left_out_where_there_are_none_and_fails_elsewhere() {
        let console = PASSED
            .replace("auto passed 5 states", "auto exit=101 5 states")
            .replace("@vm end", "    Error: Unknown device type.\n@vm end");
        let without = row(&console, Ending::Done);
        assert!(without.passed());
        assert!(render(&[without]).contains("left out, no kernel modules to be had: states"));
        let with = row_with(&["veth.ko"], &console, Ending::Done);
        assert!(!with.passed());
    }

    #[test]
    fn what_lacks_a_program_of_the_list_is_left_out_with_the_reason_and_else_fails() {
        let lacking = |program: &str| {
            let need =
                format!("    this test needs the program `{program}` (Debian package)\n@vm end");
            let console = PASSED.replace("auto passed 5 states", "auto exit=101 5 states");
            row_with(
                &["veth.ko"],
                &console.replace("@vm end", &need),
                Ending::Done,
            )
        };
        let left_out = lacking("chromium");
        assert!(left_out.passed());
        let text = render(&[left_out]);
        assert!(
            text.contains("6.12 auto left out, no chromium (a machine has all its files in memory"),
            "{text}"
        );
        assert!(text.contains("): states"), "{text}");
        assert!(!lacking("curl").passed());
    }
}

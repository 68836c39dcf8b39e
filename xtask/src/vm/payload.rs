//! What is built to run in the machines: the init, the tracer and the end-to-end suite, all without shared libraries.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use vm_init::plan::{Plan, Test};

use super::{command::stdout, representative, rung::Rung};
use crate::build;

/// The check that traces.
const STATES: &str = "states";

/// Where the tracer stands in the machines.
pub(super) const TCPTRACE: &str = "/usr/bin/tcptrace";

/// Where the test binaries stand. They look for the helper program beside this folder, as in cargo's.
const TESTS: &str = "/vm/suite/deps";

/// What tests run in its place, and its text: it forces the rung.
pub(super) const WRAPPER: (&str, &str) = ("/vm/tcptrace", include_str!("tcptrace.sh"));

/// Time limits. A machine is about 28 times slower than its host.
const CHECK_LIMIT: Duration = Duration::from_secs(120);
const SUITE_LIMIT: Duration = Duration::from_secs(300);
/// What a test waits for comes within this many seconds, also while other machines boot.
const DEADLINE: &str = "120";

/// How much is tested on each kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Depth {
    /// The machine alone: it boots, and what the tests build on works.
    Boot,
    /// One traced connection, too.
    Smoke,
    /// Of the end-to-end suite, one test for each hook and rung.
    Representative,
    /// The end-to-end suite, too.
    Suite,
}

impl Depth {
    /// What a line of the table says, in words.
    pub(super) fn covers(self) -> &'static str {
        match self {
            Self::Boot => "that the machine boots, without tcptrace",
            Self::Smoke => {
                "one traced connection: every state with the right process, every hook on the rung, all counters add up"
            }
            Self::Representative => {
                "one traced connection (every state with the right process, every hook on the rung, all counters add up) and a test of \
                 each hook: on `auto` of those that have one rung, on the others of those that have several"
            }
            Self::Suite => "the whole end-to-end suite",
        }
    }
}

/// A file that was built, and where it goes.
pub(super) struct Built {
    pub(super) file: PathBuf,
    pub(super) inside: String,
}

impl Built {
    /// A test binary is for a plan that runs it, everything else for every plan.
    pub(super) fn is_for(&self, plan: &Plan) -> bool {
        !self.inside.starts_with(TESTS)
            || plan
                .tests
                .iter()
                .any(|test| test.argv.first() == Some(&self.inside))
    }
}

/// Everything that was built.
pub(super) struct Payload {
    depth: Depth,
    pub(super) built: Vec<Built>,
    checks: &'static [&'static str],
    /// Path inside the machine, name of the test binary, its tests.
    suites: Vec<(String, String, Vec<String>)>,
}

/// Builds it.
pub(super) fn build(depth: Depth) -> Result<Payload> {
    let mut built = vec![Built {
        file: build::program("vm-init", "vm-init")?,
        inside: "/init".to_owned(),
    }];
    let mut suites = Vec::new();
    if depth >= Depth::Smoke {
        built.push(Built {
            file: build::tcptrace()?,
            inside: TCPTRACE.to_owned(),
        });
    }
    if depth >= Depth::Representative {
        for artifact in build::end_to_end_tests()? {
            let folder = if artifact.is_test { TESTS } else { "/vm/suite" };
            let inside = format!("{folder}/{}", artifact.name);
            if artifact.is_test {
                let tests = tests_of(&artifact.executable)?;
                if tests.is_empty() {
                    continue;
                }
                suites.push((inside.clone(), artifact.name, tests));
            }
            built.push(Built {
                file: artifact.executable,
                inside,
            });
        }
    }
    let checks: &[_] = if depth == Depth::Boot {
        &["loopback", "network"]
    } else {
        &["loopback", "network", STATES]
    };
    let payload = Payload {
        depth,
        built,
        checks,
        suites,
    };
    let names = payload.names();
    let gone = representative::gone(names.iter().map(String::as_str));
    ensure!(
        depth != Depth::Representative || gone.is_empty(),
        "no longer in the suite: {}",
        gone.join(", ")
    );
    Ok(payload)
}

impl Payload {
    /// The names of the suite's tests.
    fn names(&self) -> Vec<String> {
        let suites = self.suites.iter();
        suites
            .flat_map(|(_, suite, tests)| tests.iter().map(move |test| format!("{suite}::{test}")))
            .collect()
    }

    /// The environment of every test.
    pub(super) fn env(&self, show: bool) -> Vec<(String, String)> {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        vec![
            pair("PATH", "/usr/sbin:/usr/bin"),
            pair("HOME", "/tmp"),
            pair("RUST_BACKTRACE", "1"),
            pair("TCPTRACE_BIN", WRAPPER.0),
            pair("TCPTRACE_TEST_DEADLINE", DEADLINE),
            pair("VM_SHOW", if show { "1" } else { "0" }),
        ]
    }

    /// Of the tracer that ran, if one did.
    pub(super) fn tracer_checksum(&self) -> Result<Option<String>> {
        let Some(tracer) = self.built.iter().find(|built| built.inside == TCPTRACE) else {
            return Ok(None);
        };
        let text = stdout(Command::new("sha256sum").arg(&tracer.file))?;
        Ok(text.split_whitespace().next().map(str::to_owned))
    }

    /// The tests whose name holds one of the filters, all of them without a filter, on each rung.
    pub(super) fn tests(&self, rungs: &[Rung], filters: &[String]) -> Vec<Test> {
        let mut tests = Vec::new();
        let mut add = |name: String, rung: Rung, timeout, argv: &[&str]| {
            let is_asked_for =
                filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
            let is_in_depth =
                self.depth != Depth::Representative || representative::is_one(&name, rung);
            if is_asked_for && is_in_depth {
                let argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
                let rung = rung.to_string();
                tests.push(Test {
                    name,
                    rung,
                    timeout,
                    argv,
                });
            }
        };
        for rung in rungs {
            // What is checked of the machine itself has nothing to do with the rung.
            let is_first = Some(rung) == rungs.first();
            let checks = self.checks.iter();
            for check in checks.filter(|check| is_first || **check == STATES) {
                let argv = ["/init", "check", check];
                add(format!("init::{check}"), *rung, CHECK_LIMIT, &argv);
            }
            for (program, suite, names) in &self.suites {
                for name in names {
                    let argv = [
                        program.as_str(),
                        "--exact",
                        name,
                        "--nocapture",
                        "--test-threads=1",
                    ];
                    add(format!("{suite}::{name}"), *rung, SUITE_LIMIT, &argv);
                }
            }
        }
        // What it does to the machine lasts until that is off.
        if let Some(rung) = rungs.last().filter(|_| self.depth >= Depth::Representative) {
            let argv = ["/init", "check", "lockdown"];
            add("init::lockdown".to_owned(), *rung, CHECK_LIMIT, &argv);
        }
        tests
    }
}

/// The tests of a test binary. They run one by one, so that one that hangs takes no other with it.
fn tests_of(binary: &Path) -> Result<Vec<String>> {
    let text = stdout(Command::new(binary).args(["--list", "--format", "terse"]))?;
    Ok(text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_picks_tests_by_a_part_of_their_name_on_every_rung() {
        let payload = Payload {
            depth: Depth::Suite,
            built: Vec::new(),
            checks: &["loopback", "states"],
            suites: vec![(
                "/vm/tests/resets".to_owned(),
                "resets".to_owned(),
                vec!["sent".to_owned()],
            )],
        };
        let names = |filters: &[&str]| -> Vec<String> {
            let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
            payload
                .tests(&[Rung::Auto, Rung::Kprobe], &filters)
                .into_iter()
                .map(|test| test.rung + " " + &test.name)
                .collect()
        };
        assert_eq!(
            names(&["sent"]),
            ["auto resets::sent", "kprobe resets::sent"]
        );
        assert_eq!(names(&[]).len(), 6);
        assert_eq!(
            names(&[]).last().map(String::as_str),
            Some("kprobe init::lockdown")
        );
        assert!(names(&["nothing"]).is_empty());
    }
}

//! The report: lines on the serial console that say what the init does. The kernel writes to the same console, so a
//! line of the report may stand behind other text.

use std::fmt;
use std::time::Duration;

/// Starts every line of the report.
const MARK: &str = "@vm ";

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The init runs; the release is what the kernel calls itself.
    Booted {
        /// `uname -r`.
        release: String,
    },
    /// Something that the plan asks for could not be had. Tests may pass all the same.
    Note {
        /// What is missing.
        text: String,
    },
    /// A test starts.
    Begin {
        /// The rung it is made to use.
        rung: String,
        /// Its name.
        name: String,
    },
    /// A test has ended.
    End {
        /// The rung it was made to use.
        rung: String,
        /// Its name.
        name: String,
        /// How it ended.
        outcome: Outcome,
        /// How long it took, in the VM's time.
        took: Duration,
    },
    /// The last line: every test of the plan has ended.
    Done {
        /// Tests that passed.
        passed: usize,
        /// Tests that did not.
        failed: usize,
    },
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with 0.
    Passed,
    /// It exited with another code.
    Failed(i32),
    /// It was killed by a signal that the init did not send.
    Killed(i32),
    /// It was still running at its time limit.
    TimedOut,
    /// The program could not be started.
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(code) => write!(f, "exit={code}"),
            Self::Killed(signal) => write!(f, "signal={signal}"),
            Self::TimedOut => f.write_str("timeout"),
            Self::NotRun => f.write_str("not-run"),
        }
    }
}

impl Outcome {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('=') {
            None => match text {
                "passed" => Some(Self::Passed),
                "timeout" => Some(Self::TimedOut),
                "not-run" => Some(Self::NotRun),
                _ => None,
            },
            Some(("exit", code)) => code.parse().ok().map(Self::Failed),
            Some(("signal", signal)) => signal.parse().ok().map(Self::Killed),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MARK)?;
        match self {
            Self::Booted { release } => write!(f, "booted {release}"),
            Self::Note { text } => write!(f, "note {text}"),
            Self::Begin { rung, name } => write!(f, "begin {rung} {name}"),
            Self::End {
                rung,
                name,
                outcome,
                took,
            } => {
                write!(f, "end {rung} {outcome} {} {name}", took.as_millis())
            }
            Self::Done { passed, failed } => write!(f, "done {passed} {failed}"),
        }
    }
}

impl Line {
    /// Finds the report in a line of the console, `None` when there is none.
    #[must_use]
    pub fn find(console: &str) -> Option<Self> {
        let (_, text) = console.trim_end().split_once(MARK)?;
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "booted" => Some(Self::Booted {
                release: rest.to_owned(),
            }),
            "note" => Some(Self::Note {
                text: rest.to_owned(),
            }),
            "begin" => {
                let (rung, name) = rest.split_once(' ')?;
                Some(Self::Begin {
                    rung: rung.to_owned(),
                    name: name.to_owned(),
                })
            }
            "end" => {
                let mut fields = rest.splitn(4, ' ');
                let rung = fields.next()?.to_owned();
                let outcome = Outcome::parse(fields.next()?)?;
                let took = Duration::from_millis(fields.next()?.parse().ok()?);
                Some(Self::End {
                    rung,
                    outcome,
                    took,
                    name: fields.next()?.to_owned(),
                })
            }
            "done" => {
                let (passed, failed) = rest.split_once(' ')?;
                Some(Self::Done {
                    passed: passed.parse().ok()?,
                    failed: failed.parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let end = |outcome| Line::End {
            rung: "auto".to_owned(),
            name: "a name with spaces".to_owned(),
            outcome,
            took: Duration::from_millis(1234),
        };
        vec![
            Line::Booted {
                release: "6.12.1+deb13-cloud-amd64".to_owned(),
            },
            Line::Note {
                text: "no module veth".to_owned(),
            },
            Line::Begin {
                rung: "auto".to_owned(),
                name: "states".to_owned(),
            },
            end(Outcome::Passed),
            end(Outcome::Failed(101)),
            end(Outcome::Killed(11)),
            end(Outcome::TimedOut),
            end(Outcome::NotRun),
            Line::Done {
                passed: 3,
                failed: 0,
            },
        ]
    }

    #[test]
    fn what_is_written_is_found_again() {
        for line in lines() {
            assert_eq!(Line::find(&line.to_string()), Some(line));
        }
    }

    #[test]
    fn the_report_is_found_behind_kernel_text() {
        let console = "[    1.234567] eth0: @vm done 3 1\r\n";
        assert_eq!(
            Line::find(console),
            Some(Line::Done {
                passed: 3,
                failed: 1
            })
        );
    }

    #[test]
    fn other_text_is_no_report() {
        for console in [
            "",
            "@vm",
            "@vm done",
            "@vm done x 1",
            "@vm end auto odd 1 name",
            "email me@vm.example",
        ] {
            assert_eq!(Line::find(console), None, "{console}");
        }
    }
}

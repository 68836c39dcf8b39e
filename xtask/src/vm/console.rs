//! Judges the serial console of one boot, line by line: what the init reports and what the kernel complains about.

use std::time::Duration;

use vm_init::report::{Line, Outcome};

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The init reported that every test had ended.
    Done,
    /// Nothing was reported for too long.
    Hung,
    /// The machine stopped before the tests had ended.
    Stopped,
}

/// A test that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestResult {
    pub(super) rung: String,
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// Its output says that the kernel has no module for what it wanted.
    pub(super) lacked_module: bool,
    /// The program that it found missing, as its output says.
    pub(super) lacked_program: Option<String>,
}

/// What a console has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Console {
    /// `uname -r` of the running kernel.
    pub(super) release: Option<String>,
    pub(super) results: Vec<TestResult>,
    /// The test that runs: rung and name.
    pub(super) running: Option<(String, String)>,
    /// The running test's output says so.
    lacks_module: bool,
    lacks_program: Option<String>,
    /// What the init could not do.
    pub(super) notes: Vec<String>,
    /// The kernel's complaints: the first line of each.
    pub(super) faults: Vec<String>,
    pub(super) done: bool,
}

/// What the kernel prints when something is wrong with itself. Each must be in a line of the kernel's.
const FAULTS: &[&str] = &[
    "BUG:",
    "Oops:",
    "Kernel panic",
    "general protection fault",
    "unable to handle",
    "WARNING:",
    "UBSAN:",
    "blocked for more than",
    "detected stall",
    "soft lockup",
    // The machine then lacks files, and tests fail for that.
    "Initramfs unpacking failed",
];

/// What `ip`, `nft` and `tcptrace` print when the kernel knows neither a veth pair, nor rules, nor
/// sock_diag.
const LACKING: &[&str] = &[
    "Unknown device type",
    "Could not process rule: Operation not supported",
    "Unable to initialize Netlink socket: Protocol not supported",
    "load the module tcp_diag",
];

/// What a test says that lacks a program, up to its name: `tests/src/need.rs`.
const NO_PROGRAM: &str = "this test needs the program `";

impl Console {
    /// Takes a line; true when it is one of the report's, so the machine gets on.
    pub(super) fn take(&mut self, line: &str) -> bool {
        let Some(report) = Line::find(line) else {
            if let Some(text) = kernel_text(line)
                && FAULTS.iter().any(|fault| text.contains(fault))
            {
                self.faults.push(text.to_owned());
            }
            self.lacks_module |= LACKING.iter().any(|text| line.contains(text));
            if let Some((_, rest)) = line.split_once(NO_PROGRAM) {
                self.lacks_program = rest.split('`').next().map(str::to_owned);
            }
            return false;
        };
        match report {
            Line::Booted { release } => self.release = Some(release),
            Line::Note { text } => self.notes.push(text),
            Line::Begin { rung, name } => {
                self.running = Some((rung, name));
                self.lacks_module = false;
                self.lacks_program = None;
            }
            Line::End {
                rung,
                name,
                outcome,
                took,
            } => {
                self.running = None;
                self.results.push(TestResult {
                    rung,
                    name,
                    outcome,
                    took,
                    lacked_module: self.lacks_module,
                    lacked_program: self.lacks_program.take(),
                });
            }
            Line::Done { .. } => self.done = true,
        }
        true
    }
}

/// What the kernel says in a line such as `[    1.234567] text`, which may stand behind a program's text.
fn kernel_text(line: &str) -> Option<&str> {
    line.match_indices('[').find_map(|(at, _)| {
        let (time, text) = line.get(at + 1..)?.split_once("] ")?;
        let (seconds, fraction) = time.trim_start().split_once('.')?;
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(seconds) && digits(fraction)).then(|| text.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &str) -> Console {
        let mut console = Console::default();
        for line in text.lines() {
            console.take(line);
        }
        console
    }

    #[test]
    fn a_whole_run_is_read() {
        let console = console(
            "[    0.000000] Linux version 6.12\r\n@vm booted 6.12.1\r\n@vm begin auto states\r\n    {\"event\":\"start\"}\r\n\
             @vm end auto passed 1500 states\r\n@vm done 1 0\r\n",
        );
        assert_eq!(console.release.as_deref(), Some("6.12.1"));
        assert_eq!(console.results.len(), 1);
        assert!(console.done && console.faults.is_empty() && console.running.is_none());
    }

    #[test]
    fn the_kernels_complaints_are_kept() {
        for fault in [
            "[   12.5] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[   12.500000] Oops: int3: 0000 [#1] PREEMPT SMP",
            "[   12.500000] WARNING: CPU: 1 PID: 80 at kernel/bpf/verifier.c:100",
            "text without an end[  363.1] INFO: task tcptrace:80 blocked for more than 120 seconds.",
            "[   60.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        ] {
            assert_eq!(console(fault).faults.len(), 1, "{fault}");
        }
    }

    #[test]
    fn a_programs_own_text_is_no_complaint() {
        for text in [
            "    BUG: this is a test's",
            "WARNING: [1] is no time",
            "    [ok] BUG:",
            "[    1.0] all is well",
        ] {
            assert!(console(text).faults.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_test_that_does_not_end_is_known() {
        let console = console("@vm booted 6.12.1\n@vm begin kprobe retransmits::rto\n");
        assert_eq!(
            console.running,
            Some(("kprobe".to_owned(), "retransmits::rto".to_owned()))
        );
        assert!(!console.done);
    }

    #[test]
    fn a_test_without_its_module_is_known_and_the_next_one_is_not_confused() {
        let console = console(
            "@vm begin auto one\n    Error: Unknown device type.\n@vm end auto exit=101 5 one\n\
             @vm begin auto two\n    other\n@vm end auto exit=101 5 two\n",
        );
        let lacked: Vec<bool> = console
            .results
            .iter()
            .map(|result| result.lacked_module)
            .collect();
        assert_eq!(lacked, [true, false]);
    }

    #[test]
    fn a_test_without_its_program_names_it() {
        let console = console(
            "@vm begin auto one\n    this test needs the program `tmux` (Debian package `tmux`): run\n\
             @vm end auto exit=101 5 one\n@vm begin auto two\n@vm end auto exit=101 5 two\n",
        );
        let lacked = console.results.iter();
        let lacked: Vec<_> = lacked
            .map(|result| result.lacked_program.as_deref())
            .collect();
        assert_eq!(lacked, [Some("tmux"), None]);
        // As the tests say it.
        let need = include_str!("../../../tests/src/need.rs");
        assert!(need.contains(NO_PROGRAM));
    }
}

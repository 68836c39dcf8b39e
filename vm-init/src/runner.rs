//! Runs one test to its end or its time limit, and reaps whatever it leaves behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use vm_init::plan::Test;
use vm_init::report::Outcome;

/// Where a test's output goes: a file, so that no reader can fall behind a writer.
const OUTPUT: &str = "/run/vm-output";
/// How much of the output is shown. A verifier log can be longer, and its end says what is wrong.
const SHOWN: usize = 48 * 1024;
/// How often a running test is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What came of a test.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// What it printed, for a test that did not pass or that asks for it (`VM_SHOW=1`).
    pub(crate) output: String,
}

/// Runs a test.
pub(crate) fn run(test: &Test, env: &[(String, String)]) -> Run {
    let start = Instant::now();
    let outcome = match spawn(test, env) {
        Ok(pid) => wait(pid, start + test.timeout),
        Err(error) => {
            return Run {
                outcome: Outcome::NotRun,
                took: start.elapsed(),
                output: format!("{:?}: {error}", test.argv),
            };
        }
    };
    let took = start.elapsed();
    end_everything();
    let shown = outcome != Outcome::Passed
        || env
            .iter()
            .any(|(key, value)| key == "VM_SHOW" && value == "1");
    let output = if shown {
        tail(&fs::read(OUTPUT).unwrap_or_default(), SHOWN)
    } else {
        String::new()
    };
    Run {
        outcome,
        took,
        output,
    }
}

fn spawn(test: &Test, env: &[(String, String)]) -> io::Result<Pid> {
    let output = File::create(OUTPUT)?;
    let Some((program, arguments)) = test.argv.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env.iter().map(|(key, value)| (key, value)))
        .env("VM_RUNG", &test.rung)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    // A pid is positive and fits: /proc/sys/kernel/pid_max is at most 2^22.
    Ok(Pid::from_raw(
        i32::try_from(child.id()).map_err(io::Error::other)?,
    ))
}

/// Waits for the test and reaps every orphan meanwhile, as the first process must.
fn wait(test: Pid, deadline: Instant) -> Outcome {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, 0)) if pid == test => return Outcome::Passed,
            Ok(WaitStatus::Exited(pid, code)) if pid == test => return Outcome::Failed(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == test => {
                return Outcome::Killed(signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => {
                if Instant::now() >= deadline {
                    return Outcome::TimedOut;
                }
                sleep(LOOK);
            }
            Ok(_) => {}
        }
    }
}

/// Kills every other process and reaps it, so that a test starts on a machine without leftovers. Bounded: a process
/// that the kernel does not let die is the console watcher's business (a hung task).
fn end_everything() {
    let deadline = Instant::now() + Duration::from_secs(5);
    // ESRCH: nobody is left.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while Instant::now() < deadline {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => sleep(LOOK),
            Ok(_) | Err(_) => {}
        }
    }
}

/// The last `most` bytes, from the start of a line, as text.
fn tail(bytes: &[u8], most: usize) -> String {
    let Some(from) = bytes.len().checked_sub(most).filter(|from| *from > 0) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let rest = bytes.get(from..).unwrap_or_default();
    let line = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    format!(
        "[{} bytes left out]\n{}",
        from + line,
        String::from_utf8_lossy(rest.get(line..).unwrap_or_default())
    )
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn a_short_output_is_shown_whole() {
        assert_eq!(tail(b"one\ntwo\n", 100), "one\ntwo\n");
    }

    #[test]
    fn a_long_output_is_cut_at_a_line() {
        assert_eq!(tail(b"one\ntwo\nthree\n", 8), "[8 bytes left out]\nthree\n");
    }
}

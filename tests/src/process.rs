//! Processes that make traffic on command, so that a test knows which process did what.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    ops::{Deref, DerefMut},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};

use crate::{Netns, wait};

/// A child that is killed when the test ends, however it ends.
pub struct Reaped(pub Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Reaped {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Reaped {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// A process that is no child of the test, killed when the test ends.
pub struct Killed(pub u32);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(Pid::from_raw(self.0 as i32), Signal::SIGKILL);
    }
}

/// A program with children of its own. It is ended with SIGTERM so that it ends them; what then is left is killed.
pub struct Server(Reaped);

impl Server {
    /// How long it may take to end by itself.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Starts `command`, without input and output where the command has none of its own.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(Reaped(child.unwrap_or_else(|error| {
            panic!("start {:?}: {error}", command.get_program())
        })))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("wait for a child").is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let tree: Vec<_> = descendants(self.pid())
            .into_iter()
            .filter_map(|pid| Some((pid, start_time_of(pid)?)))
            .collect();
        signal(self.pid(), Signal::SIGTERM);
        wait::holds_within(Self::PATIENCE, || self.has_ended());
        for (pid, start) in tree {
            // A process that was started later under the same number is somebody else's.
            if start_time_of(pid) == Some(start) {
                signal(pid, Signal::SIGKILL);
            }
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid as i32), signal);
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return vec![];
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|pids| {
            pids.split_whitespace()
                .map(|pid| pid.parse().expect("a process id"))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn descendants(pid: u32) -> Vec<u32> {
    children(pid)
        .into_iter()
        .flat_map(|child| [vec![child], descendants(child)].concat())
        .collect()
}

/// A process of the helper program `traffic`: it reads a command a line and answers `ok ...` or `error ERRNO`.
pub struct Traffic {
    child: Reaped,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Traffic {
    /// Starts one inside `netns`.
    pub fn start(netns: &Netns) -> Self {
        Self::spawn(netns.command(Self::path()))
    }

    /// Where the helper program is.
    pub fn path() -> PathBuf {
        let test = std::env::current_exe().expect("the test's own path");
        test.ancestors()
            .nth(2)
            .expect("target folder")
            .join("traffic")
    }

    /// Starts `command`, which must end in the helper program.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = Reaped(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("start the helper `traffic`"),
        );
        let (input, output) = (
            child.stdin.take().expect("piped"),
            child.stdout.take().expect("piped"),
        );
        let mut traffic = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        assert_eq!(traffic.hear(), "ok", "the helper's first line");
        traffic
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command without waiting for its answer.
    pub fn say(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the helper lives");
    }

    /// The answer to the oldest command that has none yet.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("read from the helper");
        assert!(!line.is_empty(), "the helper ended");
        line.trim_end().to_owned()
    }

    /// Gives a command and returns the whole answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.hear()
    }

    /// Gives a command that must succeed, and returns the numbers of its answer.
    pub fn ok(&mut self, command: &str) -> Vec<u64> {
        self.say(command);
        self.ok_heard()
    }

    /// The numbers of the oldest answer not yet heard, which must be a success.
    pub fn ok_heard(&mut self) -> Vec<u64> {
        let answer = self.hear();
        let numbers = answer
            .strip_prefix("ok")
            .unwrap_or_else(|| panic!("the helper answered: {answer}"));
        numbers
            .split_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect()
    }

    /// Gives a command that must fail, and returns the error's name.
    pub fn error(&mut self, command: &str) -> String {
        let answer = self.ask(command);
        answer
            .strip_prefix("error ")
            .unwrap_or_else(|| panic!("{command}: {answer}"))
            .to_owned()
    }

    /// Lets the process exit, and waits until it has.
    pub fn exit(mut self) {
        self.say("exit");
        self.child.wait().expect("wait for the helper");
    }
}

/// A process' name in `/proc`.
pub fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .expect("the process lives")
        .trim_end()
        .to_owned()
}

/// A process' start in clock ticks after boot.
pub fn start_time(pid: u32) -> u64 {
    start_time_of(pid).expect("the process lives")
}

fn start_time_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')').expect("a name").1;
    after_name
        .split_whitespace()
        .nth(19)
        .map(|word| word.parse().expect("field 22 of stat"))
}

/// How many descriptors a process has open.
pub fn open_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process lives")
        .count()
}

/// A process' limits of descriptors, as `/proc/PID/limits` says them: soft and hard.
pub fn descriptor_limits(pid: u32) -> (u64, u64) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the process lives");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a line for open files");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    let mut next = || numbers.next().expect("a number");
    (next(), next())
}

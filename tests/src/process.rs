//! Processes that make traffic on command, so that a test knows which process did what.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    ops::{Deref, DerefMut},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::Netns;

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
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    after_name
        .split_whitespace()
        .nth(19)
        .and_then(|word| word.parse().ok())
        .expect("field 22 of stat")
}

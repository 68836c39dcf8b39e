//! A running `tcptrace watch --format json`.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;

use crate::{Netns, events::Event, require_root, wait::DEADLINE};

/// Where the binary under test is: `TCPTRACE_BIN`, else the release build of the same target folder.
pub fn tcptrace_path() -> PathBuf {
    let path = env::var_os("TCPTRACE_BIN").map_or_else(
        || {
            let test = env::current_exe().expect("the test's own path");
            test.ancestors()
                .nth(3)
                .expect("target folder")
                .join("release/tcptrace")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no tcptrace at {}: run `cargo build --release`, or set TCPTRACE_BIN (`cargo xtask test` does)",
        path.display()
    );
    path
}

/// A command that runs the binary under test.
pub fn tcptrace<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(tcptrace_path());
    command.args(arguments);
    command
}

#[derive(Default)]
struct Heard {
    lines: Vec<Event>,
    closed: bool,
}

/// A running trace; it is ended when it is dropped.
pub struct Trace {
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    reader: Option<JoinHandle<()>>,
    errors: Option<JoinHandle<String>>,
    may_lose: bool,
}

/// What a trace said by its end.
pub struct Ended {
    /// The events in the order of their time, without `start` and `end`.
    pub events: Vec<Event>,
    /// The first line.
    pub start: Event,
    /// The last line.
    pub end: Event,
    /// What it printed on stderr.
    pub summary: String,
    /// How it exited.
    pub status: ExitStatus,
}

impl Trace {
    /// Traces one namespace; returns when it is attached.
    pub fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let inode = netns.inode().to_string();
        Self::spawn(tcptrace(["watch", "--format", "json", "--netns", &inode]).args(arguments))
    }

    /// Traces the whole machine but for what `arguments` keep out; returns when it is attached.
    pub fn start_everywhere(arguments: &[&str]) -> Self {
        Self::spawn(tcptrace(["watch", "--format", "json"]).args(arguments))
    }

    /// Starts `command`, which must print JSON lines.
    pub fn spawn(command: &mut Command) -> Self {
        require_root();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start tcptrace");
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let (stdout, mut stderr) = (
            child.stdout.take().expect("piped"),
            child.stderr.take().expect("piped"),
        );
        let told = Arc::clone(&heard);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.expect("tcptrace prints text");
                let value: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
                told.0.lock().expect("lock").lines.push(Event(value));
                told.1.notify_all();
            }
            told.0.lock().expect("lock").closed = true;
            told.1.notify_all();
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr
                .read_to_string(&mut text)
                .expect("tcptrace prints text");
            text
        });
        let mut trace = Self {
            child,
            heard,
            reader: Some(reader),
            errors: Some(errors),
            may_lose: false,
        };
        if !trace.wait(|lines| lines.iter().any(|line| line.kind() == "start")) {
            let _ = trace.child.kill();
            let text = trace.errors.take().expect("once").join().expect("stderr");
            panic!("tcptrace printed no start line; it said: {text}");
        }
        trace
    }

    /// The process id of the trace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops tcptrace from reading while `work` is done: whatever happens meanwhile waits in its buffers.
    pub fn paused<T>(&self, work: impl FnOnce() -> T) -> T {
        let pid = Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, Signal::SIGSTOP).expect("stop tcptrace");
        let result = work();
        nix::sys::signal::kill(pid, Signal::SIGCONT).expect("continue tcptrace");
        result
    }

    /// The test makes events get lost on purpose.
    pub fn may_lose(mut self) -> Self {
        self.may_lose = true;
        self
    }

    /// Waits until the events so far satisfy `condition`.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&[Event]) -> bool) {
        if !self.wait(condition) {
            let lines = self.so_far();
            let last: Vec<_> = lines
                .iter()
                .rev()
                .take(30)
                .map(|line| line.0.to_string())
                .collect();
            panic!(
                "{what}: not within {:?}; {} lines, the last ones first:\n{}",
                *DEADLINE,
                lines.len(),
                last.join("\n")
            );
        }
    }

    /// The events so far.
    pub fn so_far(&self) -> Vec<Event> {
        self.heard.0.lock().expect("lock").lines.clone()
    }

    fn wait(&self, condition: impl Fn(&[Event]) -> bool) -> bool {
        let deadline = Instant::now() + *DEADLINE;
        let mut heard = self.heard.0.lock().expect("lock");
        while !condition(&heard.lines) {
            let left = deadline.saturating_duration_since(Instant::now());
            if heard.closed || left.is_zero() {
                return false;
            }
            heard = self.heard.1.wait_timeout(heard, left).expect("lock").0;
        }
        true
    }

    /// Ends the trace with SIGTERM.
    pub fn stop(self) -> Ended {
        self.stop_with(Signal::SIGTERM)
    }

    /// Ends the trace with `signal`, and holds it to its promises: it exits with 0, says `end`, every hook's books balance,
    /// and nothing was lost.
    pub fn stop_with(self, signal: Signal) -> Ended {
        nix::sys::signal::kill(Pid::from_raw(self.child.id() as i32), signal)
            .expect("signal tcptrace");
        self.ended()
    }

    /// Waits for a trace that ends by itself, and holds it to the same promises.
    pub fn ended(mut self) -> Ended {
        self.reader
            .take()
            .expect("once")
            .join()
            .expect("every line is JSON");
        let status = self.child.wait().expect("wait for tcptrace");
        let summary = self.errors.take().expect("once").join().expect("stderr");
        let mut events = std::mem::take(&mut self.heard.0.lock().expect("lock").lines);
        assert!(status.success(), "tcptrace ended with {status}: {summary}");
        let start = events.remove(0);
        assert_eq!(start.kind(), "start", "the first line");
        let end = events.pop().expect("a last line");
        assert_eq!(end.kind(), "end", "the last line; stderr: {summary}");
        events.sort_by(|a, b| a.text("ts").cmp(b.text("ts")));
        let ended = Ended {
            events,
            start,
            end,
            summary,
            status,
        };
        ended.books_balance();
        ended.owners_are_whole();
        if !self.may_lose {
            ended.nothing_lost();
        }
        ended
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The events of one kind.
    pub fn of(&self, kind: &str) -> Vec<&Event> {
        crate::events::of(&self.events, kind)
    }

    /// The first event of one kind; fails with all that was said when there is none.
    pub fn first(&self, kind: &str) -> &Event {
        let first = self.events.iter().find(|event| event.kind() == kind);
        first.unwrap_or_else(|| panic!("no {kind} in {:#?}, {}", self.events, self.end.0))
    }

    /// The sum of a number over the events of one kind.
    pub fn sum(&self, kind: &str, field: &str) -> u64 {
        crate::events::sum(&self.events, kind, field)
    }

    /// The counters' row of one hook in the end line.
    pub fn hook(&self, name: &str) -> &Value {
        self.hooks()
            .iter()
            .find(|row| row["hook"] == name)
            .unwrap_or_else(|| panic!("no hook {name} in {}", self.end.0))
    }

    /// The counters' rows of all hooks.
    pub fn hooks(&self) -> &[Value] {
        self.end.field("hooks").as_array().expect("hooks is a list")
    }

    /// A process' row in the end line.
    pub fn process(&self, pid: u32) -> &Value {
        let rows = self
            .end
            .field("processes")
            .as_array()
            .expect("processes is a list");
        let mut rows = rows.iter().filter(|row| row["pid"] == pid);
        let row = rows
            .next()
            .unwrap_or_else(|| panic!("no process {pid} in {}", self.end.0));
        assert!(rows.next().is_none(), "two rows of process {pid}");
        row
    }

    /// An owner is known with all that names it, or not at all.
    fn owners_are_whole(&self) {
        for event in self.events.iter().filter(|event| event.kind() != "lost") {
            let unknown = event.text("owner_source") == "unknown";
            for field in ["pid", "pid_start", "comm", "uid"] {
                assert_eq!(
                    event.field(field).is_null(),
                    unknown,
                    "{field} of {event:?}"
                );
            }
        }
    }

    fn books_balance(&self) {
        assert!(!self.hooks().is_empty(), "no hooks in {}", self.end.0);
        for row in self.hooks() {
            let number = |value: &Value| {
                value
                    .as_u64()
                    .unwrap_or_else(|| panic!("not a count: {row}"))
            };
            let lost = number(&row["lost"]["ring_full"]) + number(&row["lost"]["map_full"]);
            let accounted = number(&row["emitted"])
                + number(&row["filtered"])
                + number(&row["aggregated"])
                + lost;
            assert_eq!(
                number(&row["entered"]),
                accounted,
                "entered = emitted + filtered + aggregated + lost in {row}"
            );
            number(&row["skipped"]);
        }
    }

    fn nothing_lost(&self) {
        for row in self.hooks() {
            assert_eq!(row["lost"]["ring_full"], 0, "{row}");
            assert_eq!(row["lost"]["map_full"], 0, "{row}");
        }
        let lost: Vec<_> = self
            .of("lost")
            .into_iter()
            .filter(|event| event.text("reason") != "recursion")
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}

//! Recorded traces: what `tcptrace replay --format json` says of a file.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Netns, Reaped, events::Event, finding, program::venv, require_root, tcptrace, wait};

/// A `tcptrace record` at work; it is ended when it is dropped.
pub struct Recording {
    child: Reaped,
    folder: TempDir,
}

impl Recording {
    /// Starts it; returns when it watches, and has read what stood before.
    pub fn start(namespaces: &[&Netns]) -> Self {
        require_root();
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = tcptrace(["record", "-o"]);
        command.arg(folder.path().join("trace"));
        for netns in namespaces {
            command.args(["--netns", &netns.inode().to_string()]);
        }
        let errors = File::create(folder.path().join("errors")).expect("a file for errors");
        let child = command.stdin(Stdio::null()).stderr(errors).spawn();
        let mut recording = Self {
            child: Reaped(child.expect("start tcptrace")),
            folder,
        };
        wait::until_true("it watches its buffers", || {
            let ended = recording.child.try_wait().expect("wait for tcptrace");
            assert!(ended.is_none(), "it ended: {}", recording.summary());
            finding::watches(recording.child.id())
        });
        // What stood before is its first write, and each second has one.
        for _ in 0..2 {
            let before = recording.size();
            wait::until_true("it writes", || recording.size() > before);
        }
        recording
    }

    /// The trace's file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    fn size(&self) -> u64 {
        fs::metadata(self.file()).map_or(0, |file| file.len())
    }

    /// Ends it as Ctrl-C does; returns its summary.
    pub fn end(&mut self) -> String {
        finding::interrupt(self.child.id());
        let status = self.child.wait().expect("wait for tcptrace");
        let summary = self.summary();
        assert!(status.success(), "tcptrace ended with {status}: {summary}");
        summary
    }

    /// Fails where its events and facts name a process by two starts. Read by Arrow's own library.
    pub fn has_one_name_for_each_process(&self) {
        const STARTS: &str = "
import collections, json, pyarrow.ipc, sys
table = pyarrow.ipc.open_stream(sys.argv[1]).read_all()
columns = [table[name].to_pylist() for name in ('event', 'pid', 'name', 'value')]
columns.append(table['pid_start'].cast('int64').to_pylist())
starts, rows, latest = collections.defaultdict(set), collections.Counter(), {}
for event, pid, name, value, start in zip(*columns):
    if pid:
        rows[event] += 1
        starts[pid].add(start)
    # Of a parent, a listener or a connection: its process, and then when that started.
    if name in ('pid', 'parent'):
        latest[name] = value
    elif name in ('pid_start', 'parent_start'):
        rows[name] += 1
        starts[latest[name.removesuffix('_start')]].add(value)
print(json.dumps({'starts': {pid: list(of) for pid, of in starts.items()}, 'rows': rows}))
";
        let output = Command::new(venv().join("bin/python"))
            .args(["-c", STARTS])
            .arg(self.file())
            .output()
            .expect("run Python");
        assert!(output.status.success(), "{output:?}");
        let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for kind in ["fact", "fd_exhausted", "parent_start"] {
            assert!(read["rows"][kind].as_u64() > Some(0), "{kind}: {read}");
        }
        for (pid, starts) in read["starts"].as_object().expect("an object") {
            assert_eq!(
                starts.as_array().expect("a list").len(),
                1,
                "{pid}: {starts}"
            );
        }
    }

    fn summary(&self) -> String {
        let mut text = String::new();
        File::open(self.folder.path().join("errors"))
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("its errors");
        text
    }
}

/// A replayed trace.
pub struct Replay {
    /// The lines as they were printed.
    pub text: String,
    /// The first line.
    pub start: Event,
    /// The events, in the order of the file.
    pub events: Vec<Event>,
    /// The last line; none for a truncated file.
    pub end: Option<Event>,
    /// What was said on stderr.
    pub stderr: String,
}

impl Replay {
    /// Reads `file`, which must work; without root's doing.
    pub fn of(file: &Path) -> Self {
        Self::with(file, &[])
    }

    /// As above, with more arguments.
    pub fn with(file: &Path, arguments: &[&str]) -> Self {
        let output = tcptrace(["replay", "--format", "json"])
            .args(arguments)
            .arg(file)
            .output()
            .expect("run tcptrace");
        Self::read(&output)
    }

    fn read(output: &Output) -> Self {
        let stderr = String::from_utf8(output.stderr.clone()).expect("text");
        assert!(output.status.success(), "replay failed: {stderr}");
        let text = String::from_utf8(output.stdout.clone()).expect("text");
        let mut events: Vec<Event> = text
            .lines()
            .map(|line| Event(serde_json::from_str(line).expect("JSON")))
            .collect();
        assert!(!events.is_empty(), "an empty replay; stderr: {stderr}");
        let start = events.remove(0);
        assert_eq!(start.kind(), "start", "the first line");
        let end = events.pop_if(|last| last.kind() == "end");
        Self {
            text,
            start,
            events,
            end,
            stderr,
        }
    }

    /// The events of one kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Event> {
        crate::events::of(&self.events, kind)
    }

    /// The sum of a number over the events of one kind.
    pub fn sum(&self, kind: &str, field: &str) -> u64 {
        crate::events::sum(&self.events, kind, field)
    }
}

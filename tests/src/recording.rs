//! Recorded traces: what `tcptrace replay --format json` says of a file.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use tempfile::TempDir;

use crate::{Netns, Reaped, events::Event, finding, require_root, tcptrace, wait};

/// A `tcptrace record` at work; it is ended when it is dropped.
pub struct Recording {
    child: Reaped,
    folder: TempDir,
}

impl Recording {
    /// Starts it; returns when it has begun to watch.
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
        recording
    }

    /// The trace's file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    /// Ends it as Ctrl-C does; returns its summary.
    pub fn end(&mut self) -> String {
        finding::interrupt(self.child.id());
        let status = self.child.wait().expect("wait for tcptrace");
        let summary = self.summary();
        assert!(status.success(), "tcptrace ended with {status}: {summary}");
        summary
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

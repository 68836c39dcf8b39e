//! Recorded traces: what `tcptrace replay --format json` says of a file.

use std::{path::Path, process::Output};

use crate::{events::Event, tcptrace};

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

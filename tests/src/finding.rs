//! What `tcptrace diagnose` finds.

use std::{
    fmt, fs,
    io::Read as _,
    path::Path,
    process::{Child, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;

use crate::{Netns, require_root, tcptrace, wait};

/// One finding.
#[derive(Clone, PartialEq)]
pub struct Finding(pub Value);

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// What `tcptrace diagnose` finds in a namespace that it watches for so long.
pub fn findings(netns: &Netns, duration: Duration) -> Vec<Finding> {
    Diagnosis::start(netns, duration).findings()
}

/// What `tcptrace diagnose --from` finds in a recorded trace.
pub fn recorded(file: &Path) -> Vec<Finding> {
    let mut command = tcptrace(["diagnose", "--format", "json", "--from"]);
    let output = command.arg(file).output().expect("run tcptrace");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "diagnose --from failed: {err}");
    read(&String::from_utf8(output.stdout).expect("text"))
}

fn read(out: &str) -> Vec<Finding> {
    let findings: Vec<_> = out
        .lines()
        .map(|line| Finding(serde_json::from_str(line).expect("a line of JSON")))
        .collect();
    for finding in &findings {
        finding.is_whole();
    }
    findings
}

/// The only finding, by its name.
pub fn the_only(name: &str, findings: &[Finding]) -> Finding {
    let [finding] = findings else {
        panic!("only {name} was to be found: {findings:#?}");
    };
    assert_eq!(finding.name(), name, "{finding:#?}");
    finding.clone()
}

/// A `tcptrace diagnose` at work; it is ended when it is dropped.
pub struct Diagnosis {
    child: Child,
    output: Option<JoinHandle<[String; 2]>>,
}

impl Diagnosis {
    /// Starts it; returns when it has begun to watch.
    pub fn start(netns: &Netns, duration: Duration) -> Self {
        Self::of(&[netns], duration)
    }

    /// As above, of several namespaces.
    pub fn of(namespaces: &[&Netns], duration: Duration) -> Self {
        require_root();
        let mut command = tcptrace(["diagnose", "--format", "json"]);
        for netns in namespaces {
            command.args(["--netns", &netns.inode().to_string()]);
        }
        command.args(["--duration", &format!("{}ms", duration.as_millis())]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start tcptrace");
        let (mut out, mut err) = (
            child.stdout.take().expect("piped"),
            child.stderr.take().expect("piped"),
        );
        let output = thread::spawn(move || {
            let errors = thread::spawn(move || {
                let mut text = String::new();
                err.read_to_string(&mut text).expect("stderr is text");
                text
            });
            let mut text = String::new();
            out.read_to_string(&mut text).expect("stdout is text");
            [text, errors.join().expect("stderr")]
        });
        let mut diagnosis = Self {
            child,
            output: Some(output),
        };
        wait::until_true("it watches its buffers", || {
            let ended = diagnosis.child.try_wait().expect("wait for tcptrace");
            assert!(ended.is_none(), "it ended: {:?}", diagnosis.output());
            watches(diagnosis.child.id())
        });
        diagnosis
    }

    /// Lets it end now.
    pub fn interrupt(&self) {
        interrupt(self.child.id());
    }

    /// Waits for its end, and returns what it found, the worst first.
    pub fn findings(mut self) -> Vec<Finding> {
        let [out, err] = self.output();
        let status = self.child.wait().expect("wait for tcptrace");
        assert!(status.success(), "tcptrace ended with {status}: {err}");
        read(&out)
    }

    fn output(&mut self) -> [String; 2] {
        let output = self.output.take().expect("once");
        output.join().expect("its output")
    }
}

impl Drop for Diagnosis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a `tcptrace` as Ctrl-C does.
pub(crate) fn interrupt(pid: u32) {
    nix::sys::signal::kill(Pid::from_raw(pid as i32), Signal::SIGINT).expect("interrupt tcptrace");
}

/// Whether a process waits for a buffer of the kernel's programs: an epoll of its knows a BPF map.
pub(crate) fn watches(pid: u32) -> bool {
    let is = |descriptor: &str, kind: &str| {
        fs::read_link(format!("/proc/{pid}/fd/{descriptor}"))
            .is_ok_and(|link| link.to_string_lossy().contains(kind))
    };
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|descriptor| is(descriptor, "[eventpoll]"))
        .filter_map(|descriptor| {
            fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")).ok()
        })
        .any(|information| {
            information
                .lines()
                .filter_map(|line| line.strip_prefix("tfd:")?.split_whitespace().next())
                .any(|watched| is(watched, "bpf-map"))
        })
}

impl Finding {
    /// Its name: `fd-limit`.
    pub fn name(&self) -> &str {
        self.text("finding")
    }

    /// How bad it is: `critical`, `warning` or `notice`.
    pub fn severity(&self) -> &str {
        self.text("severity")
    }

    /// What is wrong, in a sentence.
    pub fn sentence(&self) -> &str {
        self.text("sentence")
    }

    /// The other side, `ADDRESS:PORT`.
    pub fn peer(&self) -> &str {
        self.text("peer")
    }

    /// The network namespace that it is about, 0 when there is none.
    pub fn netns(&self) -> u64 {
        self.0["netns"].as_u64().unwrap_or(0)
    }

    /// The process that it is about, 0 when there is none.
    pub fn pid(&self) -> u32 {
        self.0["process"]["pid"].as_u64().unwrap_or(0) as u32
    }

    /// That process' name.
    pub fn comm(&self) -> &str {
        self.0["process"]["comm"].as_str().unwrap_or_default()
    }

    /// How many processes have it.
    pub fn processes(&self) -> u64 {
        self.0["processes"].as_u64().expect("a number")
    }

    /// The value of the first piece of evidence whose name has `name` in it, and where it comes from.
    pub fn evidence(&self, name: &str) -> (&str, &str) {
        let list = self.0["evidence"].as_array().expect("a list");
        let found = list.iter().find(|piece| {
            piece["name"]
                .as_str()
                .is_some_and(|text| text.contains(name))
        });
        let piece = found.unwrap_or_else(|| panic!("no evidence {name} in {self:#?}"));
        let text = |field: &str| piece[field].as_str().expect("a text");
        (text("value"), text("source"))
    }

    /// A piece of evidence that is a number.
    pub fn number(&self, name: &str) -> u64 {
        let value = self.evidence(name).0;
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}"))
    }

    /// What to do, a step a line.
    pub fn remedy(&self) -> String {
        let steps = self.0["remedy"].as_array().expect("a list").iter();
        let steps: Vec<_> = steps.map(|step| step.as_str().expect("a text")).collect();
        steps.join("\n")
    }

    /// Fails unless the remedy has each of `words` in it.
    pub fn recommends(&self, words: &[&str]) {
        let remedy = self.remedy();
        for word in words {
            assert!(remedy.contains(word), "no {word} in the remedy: {remedy}");
        }
    }

    fn text(&self, field: &str) -> &str {
        self.0[field]
            .as_str()
            .unwrap_or_else(|| panic!("no text `{field}` in {:#}", self.0))
    }

    /// Each finding has all that a finding has.
    fn is_whole(&self) {
        let page = self.text("page");
        assert_eq!(page, format!("docs/findings/{}.md", self.name()));
        assert!(self.text("first") <= self.text("last"), "{self:#?}");
        assert!(self.sentence().ends_with('.'), "{self:#?}");
        assert!(!self.0["evidence"].as_array().expect("a list").is_empty());
        assert!(!self.remedy().is_empty(), "{self:#?}");
    }
}

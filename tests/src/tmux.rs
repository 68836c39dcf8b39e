//! A terminal that a test types into and reads: a tmux server of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{need_program, wait};

/// A terminal in which a shell runs; it is ended when this is dropped.
pub struct Tmux {
    socket: String,
    folder: TempDir,
}

impl Tmux {
    /// A terminal of this size, in an empty folder.
    pub fn new(columns: u16, lines: u16) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tmux = Self {
            socket: format!("tcptrace-test-{}-{count}", std::process::id()),
            folder: tempfile::tempdir().expect("a folder"),
        };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        tmux.tmux(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &lines,
            "env",
            "-u",
            "NO_COLOR",
            "PS1=ready> ",
            "LANG=C.UTF-8",
            "sh",
        ]);
        tmux.wait_for("a shell", |screen| screen.contains("ready>"));
        tmux
    }

    /// Where the shell is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new(need_program("tmux", "tmux"))
            .args(["-L", &self.socket])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TERM", "xterm-256color")
            .output()
            .expect("start tmux");
        assert!(
            output.status.success(),
            "tmux {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// Types a command and Enter.
    pub fn run(&self, command: &str) {
        self.tmux(&["send-keys", "-l", command]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names.
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Changes the size.
    pub fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&[
            "resize-window",
            "-x",
            &columns.to_string(),
            "-y",
            &lines.to_string(),
        ]);
    }

    /// What is on screen, without colours.
    pub fn screen(&self) -> String {
        text(&self.tmux(&["capture-pane", "-p"]))
    }

    /// What is on screen, with the escape sequences of its colours.
    pub fn coloured(&self) -> String {
        text(&self.tmux(&["capture-pane", "-e", "-p"]))
    }

    /// Something that tmux knows of the terminal, such as `alternate_on`.
    pub fn knows(&self, name: &str) -> String {
        let format = format!("#{{{name}}}");
        text(&self.tmux(&["display-message", "-p", &format]))
            .trim_end()
            .to_owned()
    }

    /// Waits until the screen is as it should be, and returns it.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait::until(what, || {
                last = self.screen();
                condition(&last).then(|| last.clone())
            })
        }));
        shown.unwrap_or_else(|_| panic!("{what}: not in time; the screen is\n{last}"))
    }

    /// Waits until a file in the shell's folder is there and not empty, and returns it.
    pub fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        wait::until(name, || {
            fs::read_to_string(&path)
                .ok()
                .filter(|text| !text.is_empty())
        })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("tmux prints text")
}

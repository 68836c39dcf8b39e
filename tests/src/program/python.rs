//! Python programs, with the packages that `cargo xtask setup` put into the target folder's `venv`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Netns, Server, wait};

/// The system's own interpreter: any user may run it.
pub(super) const SYSTEM: &str = "/usr/bin/python3";

/// What every script can do: `count(ANSWER)` keeps the number of each answer in the file that is the first argument, which is open
/// from the start, since a program in an incident may have no descriptor left.
const COUNT: &str = "
import collections, json, os, sys, threading, time
_log = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
_answers = collections.Counter()
_counting = threading.Lock()
def count(answer):
    with _counting:
        _answers[answer] += 1
        os.pwrite(_log, json.dumps(_answers).encode(), 0)
";

/// The folder of the virtual environment.
pub fn venv() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // In the target folder, with another above the test where it was built for a target by name.
    let mut above = test.ancestors().skip(3).take(2);
    above
        .find_map(|folder| {
            let venv = folder.join("venv");
            venv.join("requirements.txt").is_file().then_some(venv)
        })
        .expect("this test needs Python packages in the target folder: run `cargo xtask setup`")
}

/// Copies a package of the environment to where any user may read it.
pub(super) fn copy_package(name: &str, to: &Path) {
    let library = fs::read_dir(venv().join("lib"))
        .expect("a library")
        .flatten()
        .next()
        .expect("a version's library");
    copy(
        &library.path().join("site-packages").join(name),
        &to.join(name),
    )
    .expect("copy a package");
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The text of a script that counts its answers.
pub fn script(text: &str) -> String {
    format!("{COUNT}\n{text}")
}

/// The counts that a script has kept so far.
pub(super) fn answers(log: &Path) -> BTreeMap<String, u64> {
    wait::until("the script's counts", || {
        // While it writes, a part of the text may be older.
        serde_json::from_str(&fs::read_to_string(log).ok()?).ok()
    })
}

/// A Python program that counts what it was answered.
pub struct Client {
    process: Server,
    folder: TempDir,
}

impl Client {
    /// Runs `text` inside `netns`, with `count` defined and `arguments` from `sys.argv[2]` on.
    pub fn start(netns: &Netns, text: &str, arguments: &[&str]) -> Self {
        Self::spawn(netns.command(venv().join("bin/python")), text, arguments)
    }

    /// Runs `text` with `command`, which must end in a Python interpreter.
    pub fn spawn(mut command: Command, text: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let errors = File::create(folder.path().join("errors")).expect("a file for errors");
        command
            .args(["-c", &script(text)])
            .arg(folder.path().join("answers"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(errors);
        Self {
            process: Server::spawn(&mut command),
            folder,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How often it had each answer so far.
    pub fn answers(&self) -> BTreeMap<String, u64> {
        answers(&self.folder.path().join("answers"))
    }

    /// Waits until it ends by itself, and returns its counts.
    pub fn ended(mut self) -> BTreeMap<String, u64> {
        wait::until_true("the script ends", || self.process.has_ended());
        let errors = fs::read_to_string(self.folder.path().join("errors")).expect("its errors");
        assert!(!errors.contains("Traceback"), "{errors}");
        self.answers()
    }
}

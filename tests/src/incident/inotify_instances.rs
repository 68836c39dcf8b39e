//! A user has no inotify instance left, though each process has descriptors in plenty; or no watch, which is another error.

use std::{collections::BTreeMap, fs, process::Stdio};

use tempfile::{NamedTempFile, TempDir};

use crate::{Netns, Server, children, need_program, wait};

/// Many `tail -F` of one user.
pub struct InotifyInstances {
    /// Where all of it runs.
    pub netns: Netns,
    shell: Server,
    #[expect(dead_code, reason = "it is there as long as it is followed")]
    log: NamedTempFile,
}

impl InotifyInstances {
    /// The limit, `user.max_inotify_instances` of the user's own namespace.
    pub const LIMIT: usize = 4;
    /// How many are started at most, three a second.
    const TAILS: usize = 60;

    /// Starts them, and waits until one had none.
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        let netns = Netns::new();
        let script = format!(
            "echo {} >/proc/sys/user/max_inotify_instances
             for i in $(seq {}); do tail -F $0 & sleep 0.3; done; wait",
            Self::LIMIT,
            Self::TAILS
        );
        // Only for regular files does it watch.
        let log = NamedTempFile::new().expect("a file");
        let mut command = netns.command(need_program("unshare", "util-linux"));
        command
            .args(["-U", "-r", "sh", "-c", &script])
            .arg(log.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let incident = Self {
            netns,
            shell: Server::spawn(&mut command),
            log,
        };
        wait::until_true("more tails than instances", || {
            incident.tails().len() > Self::LIMIT + 1
        });
        incident
    }

    /// The processes.
    pub fn tails(&self) -> Vec<u32> {
        let tails = children(self.shell.pid()).into_iter();
        tails
            .filter(|pid| {
                fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|comm| comm.trim() == "tail")
            })
            .collect()
    }
}

/// A node that watches one more file ten times a second, of a user with a limit of its own.
pub struct Node {
    /// Where it runs.
    pub netns: Netns,
    node: Server,
    folder: TempDir,
}

impl Node {
    /// The user has no instance: the first file fails.
    pub fn without_instances() -> Self {
        Self::start("max_inotify_instances", 0, "EMFILE")
    }

    /// The user has a few watches: the files after that fail.
    pub fn with_few_watches() -> Self {
        Self::start("max_inotify_watches", 3, "ENOSPC")
    }

    /// Starts it, and waits until it fails with `error`.
    fn start(limit: &str, value: u64, error: &str) -> Self {
        const WATCH: &str = r#"
const fs = require("fs");
const folder = process.argv[1];
const answers = {};
let number = 0;
setInterval(() => {
    const file = `${folder}/${number++}`;
    fs.writeFileSync(file, "");
    let answer = "ok";
    try {
        fs.watch(file);
    } catch (error) {
        answer = error.code;
    }
    answers[answer] = (answers[answer] || 0) + 1;
    fs.writeFileSync(`${folder}/new`, JSON.stringify(answers));
    fs.renameSync(`${folder}/new`, `${folder}/answers`);
}, 100);
"#;
        let netns = Netns::new();
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("echo {value} >/proc/sys/user/{limit}; exec \"$@\"");
        let mut command = netns.command(need_program("unshare", "util-linux"));
        command
            .args(["-U", "-r", "sh", "-c", &script, "sh"])
            .arg(need_program("node", "nodejs"))
            .args(["-e", WATCH])
            .arg(folder.path());
        let incident = Self {
            netns,
            node: Server::spawn(command.stdout(Stdio::null()).stderr(Stdio::null())),
            folder,
        };
        wait::until_true("it fails", || incident.answers().contains_key(error));
        incident
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }

    /// How often it had each answer.
    pub fn answers(&self) -> BTreeMap<String, u64> {
        let text = fs::read_to_string(self.folder.path().join("answers"));
        text.map_or_else(
            |_| BTreeMap::new(),
            |text| serde_json::from_str(&text).expect("JSON"),
        )
    }
}

//! A user has no inotify instance left, though each process has descriptors in plenty.

use std::process::Stdio;

use tempfile::NamedTempFile;

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
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|comm| comm.trim() == "tail")
            })
            .collect()
    }
}

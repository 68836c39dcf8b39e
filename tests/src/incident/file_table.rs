//! The machine's table of open files is full.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use crate::{Netns, Traffic, need_program};

const MAXIMUM: &str = "/proc/sys/fs/file-max";

/// A process that fails for it. It is not root's, since root is exempt.
pub struct FileTable {
    /// Where it runs.
    pub netns: Netns,
    /// The process.
    pub process: Traffic,
    #[expect(dead_code, reason = "the program lies there as long as it runs")]
    folder: TempDir,
}

impl FileTable {
    /// Its user id.
    pub const NOBODY: u32 = 65534;
    const CALLS: u64 = 5;

    /// Starts the process.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let program = folder.path().join("traffic");
        fs::copy(Traffic::path(), &program).expect("copy a program");
        let netns = Netns::new();
        let mut command = netns.command(need_program("setpriv", "util-linux"));
        let nobody = Self::NOBODY.to_string();
        command
            .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"])
            .arg(&program);
        Self {
            netns,
            process: Traffic::spawn(command),
            folder,
        }
    }

    /// Fills the table, for a few milliseconds since it is everybody's; returns how many of the process' calls failed.
    pub fn exhaust(&mut self) -> u64 {
        struct Restore(String);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = fs::write(MAXIMUM, &self.0);
            }
        }
        let restore = Restore(fs::read_to_string(MAXIMUM).expect("the maximum"));
        fs::write(MAXIMUM, "1").expect("lower the maximum");
        let counted = self.process.ok(&format!("storm socket {}", Self::CALLS));
        drop(restore);
        assert_eq!(counted, [0, Self::CALLS]);
        Self::CALLS
    }
}

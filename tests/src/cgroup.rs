//! Control groups on the machine's cgroup2 mount.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{require_root, wait};

/// How long a process that was killed may be in its group.
const PATIENCE: Duration = Duration::from_secs(2);

/// A control group of the test's own, removed with the parents that it made when the test ends.
pub struct Cgroup {
    root: PathBuf,
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a group, and its parents, below the root of the cgroup2 mount.
    pub fn new(name: &str) -> Self {
        require_root();
        let mounts = fs::read_to_string("/proc/mounts").expect("read the mounts");
        let root = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|words| words[2] == "cgroup2")
            .map(|words| PathBuf::from(words[1]))
            .expect(
                "this test needs a cgroup2 mount: mount -t cgroup2 none /sys/fs/cgroup/unified",
            );
        let mut group = Self {
            path: root.clone(),
            root,
            made: vec![],
        };
        for part in Path::new(name) {
            group.path.push(part);
            match fs::create_dir(&group.path) {
                Ok(()) => group.made.push(group.path.clone()),
                Err(error) => assert!(
                    group.path.is_dir(),
                    "make {}: {error}",
                    group.path.display()
                ),
            }
        }
        group
    }

    /// Moves a process into the group.
    pub fn add(&self, pid: u32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).expect("move a process");
    }

    /// The folder of the group.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the group, from the mount's root: `/name`.
    pub fn name(&self) -> String {
        format!(
            "/{}",
            self.path
                .strip_prefix(&self.root)
                .expect("below the root")
                .display()
        )
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            wait::holds_within(PATIENCE, || {
                let removed = fs::remove_dir(folder);
                !removed.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY))
            });
        }
    }
}

//! A control group for a command: its whole process tree is in it, whatever it forks and whoever its
//! parents are, so that the kernel programs tell it from everything else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{self, Command},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Error, Result};

/// A group below that of this process, in the hierarchy of version 2; removed when it is dropped, and what
/// then still runs in it moved back.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    id: u64,
    /// What keeps a mount of our own.
    _mount: Option<File>,
}

impl Group {
    /// Makes a group. Where no cgroup2 can be written to, one is mounted that nobody else sees.
    ///
    /// # Errors
    ///
    /// When neither is allowed.
    pub fn new() -> Result<Self> {
        let refused = |error: io::Error| {
            Error::unsupported(
                format!("no control group can be made for the command: {error}"),
                "run as root (CAP_SYS_ADMIN), or use --system to record the whole machine",
            )
        };
        let own = own_path();
        for root in roots() {
            if let Ok(group) = Self::below(&root.join(&own), None) {
                return Ok(group);
            }
        }
        let (root, mount) = mounted().map_err(refused)?;
        Self::below(&root.join(&own), Some(mount)).map_err(refused)
    }

    fn below(parent: &Path, mount: Option<File>) -> io::Result<Self> {
        let name = format!("tcptrace-{}", process::id());
        let make = |path: PathBuf| fs::create_dir(&path).map(|()| path);
        let path = match make(parent.join(&name)) {
            // One of the same process id was killed and could not remove its own.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.unwrap_or_default().as_nanos();
                make(parent.join(format!("{name}-{now}")))
            }
            made => made,
        }?;
        // The id of a cgroup is the inode number of its folder.
        let id = fs::metadata(&path)?.ino();
        Ok(Self {
            path,
            id,
            _mount: mount,
        })
    }

    /// What the kernel programs know it by.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Lets a command run inside, from before its first instruction.
    ///
    /// # Errors
    ///
    /// When the group has gone.
    pub fn hold(&self, command: &mut Command) -> io::Result<()> {
        let processes = OpenOptions::new()
            .write(true)
            .open(self.path.join("cgroup.procs"))?;
        // SAFETY: the closure makes one system call on a descriptor that it owns, and allocates nothing.
        unsafe {
            // 0 is the process that writes.
            command.pre_exec(move || (&processes).write_all(b"0"));
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What outlives the command, such as a daemon that it started, goes back to where it would have
        // been. Those it forks meanwhile come with the next look.
        let procs = |path: &Path| path.join("cgroup.procs");
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        for _ in 0..8 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            let left = fs::read_to_string(procs(&self.path)).unwrap_or_default();
            for pid in left.lines() {
                let _ = fs::write(procs(parent), pid);
            }
        }
    }
}

/// This process's group, from the root.
fn own_path() -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    PathBuf::from(path.unwrap_or_default())
}

/// Where version 2 is mounted.
fn roots() -> Vec<PathBuf> {
    let mounts = procfs::mounts().unwrap_or_default();
    mounts
        .into_iter()
        .filter(|mount| mount.fs_vfstype == "cgroup2")
        .map(|mount| PathBuf::from(mount.fs_file))
        .collect()
}

/// Mounts version 2 and takes it out of sight: it lives as long as its descriptor.
fn mounted() -> io::Result<(PathBuf, File)> {
    let place = tempfile::Builder::new()
        .prefix("tcptrace-cgroup-")
        .tempdir()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let opened = mount(
        Some("cgroup2"),
        place.path(),
        Some("cgroup2"),
        flags,
        None::<&str>,
    )
    .map_err(io::Error::from)
    .and_then(|()| {
        let opened = File::open(place.path());
        umount2(place.path(), MntFlags::MNT_DETACH)?;
        opened
    });
    let root = opened?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    Ok((path, root))
}

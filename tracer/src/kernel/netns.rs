//! Network namespaces: which there are, and how to look into one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps named namespaces.
pub const NAMED: &str = "/run/netns";

/// Inode number of a network namespace given by its file.
///
/// # Errors
///
/// When there is no such file.
pub fn inode(path: &Path) -> io::Result<u32> {
    // Namespace numbers have 32 bits, `include/linux/ns_common.h`.
    Ok(fs::metadata(path)?.ino() as u32)
}

/// A network namespace that can be seen.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its inode number.
    pub(super) inode: u32,
    /// A file that stands for it.
    file: PathBuf,
    /// `/proc` of a thread that lives in it; `None` for one that has a name only.
    task: Option<PathBuf>,
}

impl Place {
    /// Its inode number.
    pub(super) const fn inode(&self) -> u32 {
        self.inode
    }

    /// Whether its file still stands for it: a thread may have ended, or gone elsewhere, and a name may have been given to another.
    pub(super) fn is_there(&self) -> bool {
        inode(&self.file).is_ok_and(|inode| inode == self.inode)
    }

    /// `/proc` of a thread that lives in it; `None` for one that has a name only, and where that thread is in it no more.
    pub(super) fn task(&self) -> Option<&Path> {
        self.task.as_deref().filter(|_| self.is_there())
    }

    /// Does `work` inside, on a thread that enters it. `None` where it can't be entered, which takes
    /// CAP_SYS_ADMIN (nothing for the one that this process is in).
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Option<T> + Send) -> Option<T> {
        let own = inode("/proc/thread-self/ns/net".as_ref()).ok();
        if own == Some(self.inode) {
            return work();
        }
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let file = File::open(&self.file).ok()?;
                // As in `is_there`, and it stays so while the file is open.
                if file.metadata().ok()?.ino() as u32 != self.inode {
                    return None;
                }
                setns(file, CloneFlags::CLONE_NEWNET).ok()?;
                work()
            });
            worker.join().ok().flatten()
        })
    }
}

/// Looks into every namespace that can be seen: those of all threads, and those that have a name.
/// Where a look yields nothing (its thread may have ended), the next thread is tried.
pub(super) fn each<T>(mut look: impl FnMut(&Place) -> Option<T>) -> BTreeMap<u32, T> {
    let mut seen = BTreeMap::new();
    let mut visit = |place: Place| {
        if !seen.contains_key(&place.inode)
            && let Some(found) = look(&place)
        {
            seen.insert(place.inode, found);
        }
    };
    for process in procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
    {
        // A thread may be in another namespace than its process's leader.
        for task in process.tasks().into_iter().flatten().flatten() {
            let root = PathBuf::from(format!("/proc/{}/task/{}", task.pid, task.tid));
            let file = root.join("ns/net");
            if let Ok(inode) = inode(&file) {
                visit(Place {
                    inode,
                    file,
                    task: Some(root),
                });
            }
        }
    }
    for entry in fs::read_dir(NAMED).into_iter().flatten().flatten() {
        let file = entry.path();
        if let Ok(inode) = inode(&file) {
            visit(Place {
                inode,
                file,
                task: None,
            });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_stands_for_another_namespace_is_not_looked_into() {
        let file = PathBuf::from("/proc/self/ns/net");
        let own = inode(&file).unwrap();
        let place = |inode| Place {
            inode,
            file: file.clone(),
            task: Some("/proc/thread-self".into()),
        };
        assert!(place(own).is_there() && place(own).task().is_some());
        assert_eq!(place(own).inside(|| Some(1)), Some(1));
        let another = place(own + 1);
        assert!(!another.is_there() && another.task().is_none());
        assert_eq!(another.inside(|| Some(1)), None);
    }
}

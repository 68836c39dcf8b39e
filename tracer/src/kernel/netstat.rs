//! A network namespace's own counter of time-wait overflows.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// Inode number of a network namespace given by its file.
///
/// # Errors
///
/// When there is no such file.
pub fn inode(path: &Path) -> io::Result<u32> {
    // Namespace numbers have 32 bits, `include/linux/ns_common.h`.
    Ok(fs::metadata(path)?.ino() as u32)
}

/// Where `ip netns` keeps named namespaces.
pub const NAMED: &str = "/run/netns";

/// `TCPTimeWaitOverflow` of every namespace that can be seen, by inode number: those of all
/// threads, and those that have a name.
#[must_use]
pub fn overflows() -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for process in procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
    {
        // A thread may be in another namespace than its process's leader.
        for task in process.tasks().into_iter().flatten().flatten() {
            let root = PathBuf::from(format!("/proc/{}/task/{}", task.pid, task.tid));
            let Ok(inode) = inode(&root.join("ns/net")) else {
                continue;
            };
            if !counts.contains_key(&inode)
                && let Ok(text) = fs::read_to_string(root.join("net/netstat"))
            {
                counts.insert(inode, overflow(&text));
            }
        }
    }
    for entry in fs::read_dir(NAMED).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(inode) = inode(&path) else { continue };
        if !counts.contains_key(&inode)
            && let Some(text) = from_inside(path)
        {
            counts.insert(inode, overflow(&text));
        }
    }
    counts
}

/// Reads the counters of a namespace without processes from a thread that enters it.
fn from_inside(path: PathBuf) -> Option<String> {
    thread::spawn(move || {
        setns(fs::File::open(path).ok()?, CloneFlags::CLONE_NEWNET).ok()?;
        fs::read_to_string("/proc/thread-self/net/netstat").ok()
    })
    .join()
    .ok()
    .flatten()
}

/// The counter in the text of `/proc/PID/net/netstat`: names on one line, numbers on the next.
fn overflow(text: &str) -> u64 {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let place = names
            .split_ascii_whitespace()
            .position(|name| name == "TCPTimeWaitOverflow");
        if let Some(place) = place {
            return numbers
                .split_ascii_whitespace()
                .nth(place)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_by_name() {
        let text = "TcpExt: A TCPTimeWaitOverflow B\nTcpExt: 1 42 3\nIpExt: A\nIpExt: 9\n";
        assert_eq!(overflow(text), 42);
        assert_eq!(overflow("TcpExt: A\nTcpExt: 1\n"), 0);
        assert_eq!(overflow(""), 0);
    }
}

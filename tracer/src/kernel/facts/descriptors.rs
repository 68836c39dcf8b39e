//! The descriptors of a process, and how many it may have.

use std::{fs, os::unix::fs::MetadataExt as _};

use procfs::process::{LimitValue, Process};

/// RLIMIT_NOFILE, soft and hard.
pub(super) fn limits(process: &Process) -> Option<(u64, u64)> {
    let number = |value| match value {
        LimitValue::Value(number) => number,
        LimitValue::Unlimited => u64::MAX,
    };
    let limit = process.limits().ok()?.max_open_files;
    Some((number(limit.soft_limit), number(limit.hard_limit)))
}

/// How many descriptors a process has open: the size of its folder from 6.2 on
/// (`fs/proc/fd.c: proc_fd_getattr`), else they are counted.
pub(super) fn count(process: &Process) -> u64 {
    let folder = format!("/proc/{}/fd", process.pid());
    match fs::metadata(&folder) {
        Ok(folder) if folder.size() > 0 => folder.size(),
        _ => fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
    }
}

/// What its descriptors stand for.
pub(super) fn links(process: &Process) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.pid()));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            fs::read_link(entry.path())
                .map_or_else(|_| String::new(), |to| to.to_string_lossy().into_owned())
        })
        .collect()
}

/// The number in `socket:[NUMBER]`.
pub(super) fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// How many of them are inotify instances.
pub(super) fn count_inotify(links: &[String]) -> usize {
    links
        .iter()
        .filter(|link| link.ends_with("anon_inode:inotify"))
        .count()
}

/// Inotify instances of all processes of a user.
pub(super) fn inotify_of(uid: u32) -> usize {
    procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| process.uid().is_ok_and(|of| of == uid))
        .map(|process| count_inotify(&links(&process)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_limits_and_descriptors() {
        let myself = Process::myself().unwrap();
        let (soft, hard) = limits(&myself).unwrap();
        assert!(soft > 2 && soft <= hard);
        let _held = fs::File::open("/dev/null").unwrap();
        assert!(links(&myself).iter().any(|link| link == "/dev/null"));
        assert!(count(&myself) >= 3);
    }
}

//! The machine.

use std::fs;

use super::tell::Tell;
use crate::{
    fact::{Subject, name},
    kernel::{clock, netns},
};

/// Tells its limits, and how many files it has open.
pub(super) fn tell(tell: &mut Tell) {
    if let Some(us) = clock::us_per_jiffy() {
        tell.number(Subject::Machine, name::HZ, (1e6 / us).round() as i64);
    }
    // Namespace numbers have 32 bits, as for network namespaces.
    let own = netns::inode("/proc/self/ns/user".as_ref()).ok();
    tell.maybe(Subject::Machine, name::OWN_USER_NAMESPACE, own);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    // `fs/file_table.c: proc_nr_files`: open, free (always 0), maximum.
    let file_nr = read("/proc/sys/fs/file-nr");
    let mut numbers = file_nr.split_ascii_whitespace().map(str::parse::<i64>);
    if let (Some(Ok(open)), Some(Ok(max))) = (numbers.next(), numbers.nth(1)) {
        tell.number(Subject::Machine, name::FILE_NR, open);
        tell.number(Subject::Machine, name::FILE_MAX, max);
    }
    for (name, path) in [
        (name::NR_OPEN, "/proc/sys/fs/nr_open"),
        (name::INOTIFY_MAX, "/proc/sys/fs/inotify/max_user_instances"),
    ] {
        tell.maybe(
            Subject::Machine,
            name,
            read(path).trim().parse::<i64>().ok(),
        );
    }
}

//! The capabilities that the work needs, each with its reason.

use std::{fs, os::unix::fs::MetadataExt as _};

use serde::Serialize;

/// One capability and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Its name.
    pub name: &'static str,
    /// Its number, `include/uapi/linux/capability.h`.
    #[serde(skip)]
    pub bit: u32,
    /// Nothing works without it.
    pub required: bool,
    /// What it is for.
    pub reason: &'static str,
}

/// `CAP_SYS_ADMIN`, which stands for [`BPF`] and [`PERFMON`] too.
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;
const PERFMON: u32 = 38;

/// All of them.
pub const NEEDS: &[Need] = &[
    Need {
        name: "CAP_BPF",
        bit: BPF,
        required: true,
        reason: "load the kernel programs and make their maps",
    },
    Need {
        name: "CAP_PERFMON",
        bit: PERFMON,
        required: true,
        reason: "attach them, and let them read kernel memory",
    },
    Need {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        required: false,
        reason: "where no function can be hooked, for others than root: read the numbers of classic tracepoints in tracefs",
    },
    Need {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        required: false,
        reason: "see the command lines, network namespaces and, without the iterator, the sockets of other users' processes",
    },
    Need {
        name: "CAP_SYS_ADMIN",
        bit: SYS_ADMIN,
        required: false,
        reason: "mount tracefs where it is not mounted, read the counters of network namespaces without processes and, without the iterator, list the sockets of each namespace",
    },
    Need {
        name: "CAP_SYS_RESOURCE",
        bit: 24,
        required: false,
        reason: "raise RLIMIT_MEMLOCK, which kernels before 5.11 count maps against",
    },
];

/// `PROC_USER_INIT_INO`, `include/linux/proc_ns.h`.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Inode number of this process's namespace of a kind, such as `user`.
#[must_use]
pub fn namespace(kind: &str) -> Option<u64> {
    let found = fs::metadata(format!("/proc/self/ns/{kind}"));
    found.ok().map(|found| found.ino())
}

/// Whether this process is in the initial user namespace; `None` when `/proc` does not tell.
#[must_use]
pub fn is_in_initial_user_namespace() -> Option<bool> {
    namespace("user").map(|inode| inode == INITIAL_USER_NAMESPACE)
}

/// The capabilities that this process has in effect, as the kernel's bit set; `None` when `/proc` does
/// not tell. Those of another user namespace than the initial one are none: the kernel asks for them there
/// (`kernel/bpf/syscall.c: bpf_capable`).
#[must_use]
pub fn effective() -> Option<u64> {
    if is_in_initial_user_namespace() == Some(false) {
        return Some(0);
    }
    Some(
        procfs::process::Process::myself()
            .ok()?
            .status()
            .ok()?
            .capeff,
    )
}

impl Need {
    /// Whether a set of capabilities satisfies it.
    #[must_use]
    pub const fn is_in(&self, set: u64) -> bool {
        let implied = matches!(self.bit, BPF | PERFMON) && set & (1 << SYS_ADMIN) != 0;
        implied || set & (1 << self.bit) != 0
    }
}

/// The required ones that a set lacks.
#[must_use]
pub fn missing(set: u64) -> Vec<&'static str> {
    NEEDS
        .iter()
        .filter(|need| need.required && !need.is_in(set))
        .map(|need| need.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(u64::MAX), Vec::<&str>::new());
        assert_eq!(missing(0), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing(!(1 << BPF) & !(1 << SYS_ADMIN)), ["CAP_BPF"]);
        assert_eq!(missing(1 << SYS_ADMIN), Vec::<&str>::new());
    }
}

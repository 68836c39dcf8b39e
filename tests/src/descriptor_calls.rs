//! The system calls that return descriptors, each in its simplest form.

use std::{io, ptr};

/// A system call's name in events, and one attempt of it.
pub type Call = (&'static str, fn() -> libc::c_long);

/// All of them but `accept`, which needs a listener.
pub const ALL: &[Call] = &[
    ("socket", || {
        call(
            libc::SYS_socket,
            [libc::AF_INET as _, libc::SOCK_STREAM as _, 0, 0],
        )
    }),
    ("openat", || {
        call(
            libc::SYS_openat,
            [libc::AT_FDCWD as _, FILE.as_ptr() as _, 0, 0],
        )
    }),
    ("openat2", || {
        let how = [0_u64; 3];
        call(
            libc::SYS_openat2,
            [
                libc::AT_FDCWD as _,
                FILE.as_ptr() as _,
                how.as_ptr() as _,
                24,
            ],
        )
    }),
    ("pipe2", || pair(|ends| [ends, 0, 0, 0], libc::SYS_pipe2)),
    ("dup", || call(libc::SYS_dup, [0, 0, 0, 0])),
    ("fcntl", || {
        call(libc::SYS_fcntl, [0, libc::F_DUPFD_CLOEXEC as _, 0, 0])
    }),
    ("epoll_create1", || {
        call(libc::SYS_epoll_create1, [0, 0, 0, 0])
    }),
    ("eventfd2", || call(libc::SYS_eventfd2, [0, 0, 0, 0])),
    ("timerfd_create", || {
        call(
            libc::SYS_timerfd_create,
            [libc::CLOCK_MONOTONIC as _, 0, 0, 0],
        )
    }),
    ("memfd_create", || {
        call(libc::SYS_memfd_create, [FILE.as_ptr() as _, 0, 0, 0])
    }),
    ("signalfd4", || {
        let mask = [0_u64];
        call(libc::SYS_signalfd4, [-1, mask.as_ptr() as _, 8, 0])
    }),
    ("inotify_init1", || {
        call(libc::SYS_inotify_init1, [0, 0, 0, 0])
    }),
    ("socketpair", || {
        pair(
            |ends| [libc::AF_UNIX as _, libc::SOCK_STREAM as _, 0, ends],
            libc::SYS_socketpair,
        )
    }),
    ("pidfd_open", || {
        call(libc::SYS_pidfd_open, [std::process::id() as _, 0, 0, 0])
    }),
    ("open", || {
        call(libc::SYS_open, [FILE.as_ptr() as _, 0, 0, 0])
    }),
    ("creat", || {
        call(libc::SYS_creat, [FILE.as_ptr() as _, 0, 0, 0])
    }),
    ("pipe", || pair(|ends| [ends, 0, 0, 0], libc::SYS_pipe)),
    ("epoll_create", || {
        call(libc::SYS_epoll_create, [1, 0, 0, 0])
    }),
    ("eventfd", || call(libc::SYS_eventfd, [0, 0, 0, 0])),
    ("signalfd", || {
        let mask = [0_u64];
        call(libc::SYS_signalfd, [-1, mask.as_ptr() as _, 8, 0])
    }),
    ("inotify_init", || {
        call(libc::SYS_inotify_init, [0, 0, 0, 0])
    }),
    ("open_tree", || {
        call(
            libc::SYS_open_tree,
            [libc::AT_FDCWD as _, FILE.as_ptr() as _, 0, 0],
        )
    }),
    ("mq_open", || {
        call(
            libc::SYS_mq_open,
            [FILE.as_ptr() as _, libc::O_RDWR.into(), 0, 0],
        )
    }),
    ("fsopen", || {
        call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as _, 0, 0, 0])
    }),
    ("bpf", || {
        // An array of one number, `include/uapi/linux/bpf.h: union bpf_attr`.
        let map = [2_u32, 4, 4, 1];
        call(libc::SYS_bpf, [0, map.as_ptr() as _, 16, 0])
    }),
];

const FILE: &std::ffi::CStr = c"/proc/self/comm";

/// How many of them fail for want of a descriptor; the others' descriptors stay open.
pub fn attempt_all() -> u64 {
    let exhausted = |(_, attempt): &&Call| {
        attempt() < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EMFILE)
    };
    ALL.iter().filter(exhausted).count() as u64
}

fn pair(
    arguments: impl Fn(libc::c_long) -> [libc::c_long; 4],
    number: libc::c_long,
) -> libc::c_long {
    let mut ends = [0_i32; 2];
    call(number, arguments(ptr::from_mut(&mut ends) as libc::c_long))
}

fn call(number: libc::c_long, [a, b, c, d]: [libc::c_long; 4]) -> libc::c_long {
    // SAFETY: the callers, all in this file, pass numbers, and pointers that outlive the call and are of the kernel's size.
    unsafe { libc::syscall(number, a, b, c, d) }
}

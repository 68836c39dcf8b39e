//! The ladder itself.

use tracer_common::hook::Hook;

use super::{Attach, Hooked, Means, Rung, Step};
use crate::kernel::known::{self, Known};

const fn tp_btf(tracepoint: Known) -> Hooked {
    Hooked {
        program: tracepoint.name,
        attach: Attach::TpBtf(tracepoint),
    }
}

macro_rules! rung {
    ($name:literal, $means:ident, [$($program:expr),* $(,)?]) => {
        Rung {
            name: $name,
            means: Means::$means,
            programs: &[$($program),*],
        }
    };
}

const fn at(program: &'static str, attach: Attach) -> Hooked {
    Hooked { program, attach }
}

/// Calls that return descriptors, so fail when they run out.
const DESCRIPTOR_CALLS: &[&str] = &[
    "accept",
    "accept4",
    "socket",
    "socketpair",
    "open",
    "openat",
    "openat2",
    "creat",
    "dup",
    "fcntl",
    "pipe",
    "pipe2",
    "epoll_create",
    "epoll_create1",
    "eventfd",
    "eventfd2",
    "timerfd_create",
    "memfd_create",
    "signalfd",
    "signalfd4",
    "inotify_init",
    "inotify_init1",
    "pidfd_open",
    "pidfd_getfd",
    "open_by_handle_at",
    "userfaultfd",
    "perf_event_open",
    "io_uring_setup",
    "fanotify_init",
    "bpf",
    "mq_open",
    "fsopen",
    "fspick",
    "open_tree",
    "landlock_create_ruleset",
    "memfd_secret",
    // With CLONE_PIDFD.
    "clone",
    "clone3",
];

/// The whole ladder, in the order of attaching: what frees is attached before what fills.
pub const LADDER: &[Step] = &[
    Step {
        hook: Hook::Exit,
        shows: "a process ends",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::SCHED_PROCESS_EXIT)]
        )],
    },
    Step {
        hook: Hook::Exec,
        shows: "a process runs another program",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::SCHED_PROCESS_EXEC)]
        )],
    },
    Step {
        hook: Hook::Cgroup,
        shows: "a process moves to another cgroup",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::CGROUP_ATTACH_TASK)]
        )],
    },
    Step {
        hook: Hook::Destroy,
        shows: "a socket is freed",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::TCP_DESTROY_SOCK)]
        )],
    },
    Step {
        hook: Hook::State,
        shows: "state changes, connections, failed connects",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::INET_SOCK_SET_STATE)]
        )],
    },
    Step {
        hook: Hook::TimeWaitOverflow,
        shows: "sockets that find the time-wait table full",
        rungs: &[
            rung!(
                "fexit",
                Fexit,
                [at(
                    "inet_twsk_alloc_exit",
                    Attach::FExit(known::INET_TWSK_ALLOC),
                )]
            ),
            rung!(
                "kprobe",
                Kprobe,
                [
                    at(
                        "inet_twsk_alloc_return",
                        Attach::KRetProbe(known::INET_TWSK_ALLOC)
                    ),
                    at(
                        "inet_twsk_alloc_entry",
                        Attach::KProbe(known::INET_TWSK_ALLOC)
                    ),
                ]
            ),
            rung!("inferred", Tracepoint, []),
        ],
    },
    Step {
        hook: Hook::Retransmit,
        shows: "segments sent again",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::TCP_RETRANSMIT_SKB)]
        )],
    },
    Step {
        hook: Hook::RetransmitSynack,
        shows: "SYN-ACKs sent again",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::TCP_RETRANSMIT_SYNACK)]
        )],
    },
    Step {
        hook: Hook::SendReset,
        shows: "resets sent",
        rungs: &[rung!("tp_btf", Tracepoint, [tp_btf(known::TCP_SEND_RESET)])],
    },
    Step {
        hook: Hook::ReceiveReset,
        shows: "resets received",
        rungs: &[rung!(
            "tp_btf",
            Tracepoint,
            [tp_btf(known::TCP_RECEIVE_RESET)]
        )],
    },
    Step {
        hook: Hook::Accept,
        shows: "who accepted",
        rungs: &[
            rung!(
                "fexit",
                Fexit,
                [at("fd_install_entry", Attach::FEntry(known::FD_INSTALL),)]
            ),
            rung!(
                "kprobe",
                Kprobe,
                [at("fd_install_probe", Attach::KProbe(known::FD_INSTALL),)]
            ),
            rung!(
                "tracepoint",
                Tracepoint,
                [at(
                    "sys_exit_accept",
                    Attach::SyscallExits {
                        calls: &["accept", "accept4"]
                    },
                )]
            ),
        ],
    },
    Step {
        hook: Hook::ConnectFailed,
        shows: "connects that fail before a SYN is sent",
        rungs: &[
            rung!(
                "fexit",
                Fexit,
                [
                    at("tcp_v4_connect_exit", Attach::FExit(known::TCP_V4_CONNECT)),
                    at("tcp_v6_connect_exit", Attach::FExit(known::TCP_V6_CONNECT)),
                ]
            ),
            rung!(
                "kprobe",
                Kprobe,
                [
                    at(
                        "tcp_v4_connect_return",
                        Attach::KRetProbe(known::TCP_V4_CONNECT)
                    ),
                    at(
                        "tcp_v6_connect_return",
                        Attach::KRetProbe(known::TCP_V6_CONNECT)
                    ),
                    at(
                        "tcp_v4_connect_entry",
                        Attach::KProbe(known::TCP_V4_CONNECT)
                    ),
                    at(
                        "tcp_v6_connect_entry",
                        Attach::KProbe(known::TCP_V6_CONNECT)
                    ),
                ]
            ),
            rung!(
                "tracepoint",
                Tracepoint,
                [at(
                    "sys_exit_connect",
                    Attach::SyscallExits {
                        calls: &["connect"]
                    },
                )]
            ),
        ],
    },
    Step {
        hook: Hook::FdExhausted,
        shows: "EMFILE and ENFILE",
        rungs: &[
            rung!(
                "fexit",
                Fexit,
                [
                    at("alloc_fd_exit", Attach::FExit(known::ALLOC_FD)),
                    at(
                        "alloc_empty_file_exit",
                        Attach::FExit(known::ALLOC_EMPTY_FILE)
                    ),
                    at(
                        "do_inotify_init_exit",
                        Attach::FExit(known::DO_INOTIFY_INIT)
                    ),
                ]
            ),
            rung!(
                "kprobe",
                Kprobe,
                [
                    at("alloc_fd_return", Attach::KRetProbe(known::ALLOC_FD)),
                    at(
                        "alloc_empty_file_return",
                        Attach::KRetProbe(known::ALLOC_EMPTY_FILE)
                    ),
                    at(
                        "do_inotify_init_return",
                        Attach::KRetProbe(known::DO_INOTIFY_INIT)
                    ),
                ]
            ),
            rung!(
                "tracepoint",
                Tracepoint,
                [at(
                    "sys_exit_fd",
                    Attach::SyscallExits {
                        calls: DESCRIPTOR_CALLS
                    },
                )]
            ),
        ],
    },
    Step {
        hook: Hook::TaskFile,
        shows: "owners of sockets that exist at the start",
        rungs: &[
            rung!(
                "iter",
                Tracepoint,
                [at("task_file", Attach::Iter { over: "task_file" },)]
            ),
            rung!("sock_diag", Tracepoint, []),
        ],
    },
];

//! The attach ladder: which hooks show which moment, best first.
//!
//! The table drives attaching, and README's table is compared with it by a test.

use tracer_common::hook::Hook;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A typed tracepoint, `tp_btf`.
    TpBtf {
        /// Its name.
        tracepoint: &'static str,
    },
    /// Classic tracepoints of the exits of system calls.
    SyscallExits {
        /// The calls; those that the kernel does not have are left out.
        calls: &'static [&'static str],
    },
    /// A BPF iterator.
    Iter {
        /// What it walks.
        over: &'static str,
    },
}

impl Attach {
    /// The rung's name.
    #[must_use]
    pub const fn rung(self) -> &'static str {
        match self {
            Self::TpBtf { .. } => "tp_btf",
            Self::SyscallExits { .. } => "tracepoint",
            Self::Iter { .. } => "iter",
        }
    }
}

/// One way to see a moment.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// The program in the eBPF object.
    pub program: &'static str,
    /// Where it goes.
    pub attach: Attach,
}

/// A moment and the ways to see it, best first.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The moment.
    pub hook: Hook,
    /// What it shows, for people.
    pub shows: &'static str,
    /// The ways to see it.
    pub rungs: &'static [Rung],
}

macro_rules! tp_btf {
    ($name:literal) => {
        &[Rung {
            program: $name,
            attach: Attach::TpBtf { tracepoint: $name },
        }]
    };
}

/// Calls that return descriptors, so fail when they run out. `accept` and `connect` have programs of
/// their own.
pub const DESCRIPTOR_CALLS: &[&str] = &[
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
];

/// The whole ladder. The owner of what is accepted is attached before states, so that no accept is missed.
pub const LADDER: &[Step] = &[
    Step {
        hook: Hook::Exit,
        shows: "a process ends",
        rungs: tp_btf!("sched_process_exit"),
    },
    Step {
        hook: Hook::Exec,
        shows: "a process runs another program",
        rungs: tp_btf!("sched_process_exec"),
    },
    Step {
        hook: Hook::Destroy,
        shows: "a socket is freed",
        rungs: tp_btf!("tcp_destroy_sock"),
    },
    Step {
        hook: Hook::State,
        shows: "state changes, connections, failed connects, time-wait overflow (inferred)",
        rungs: tp_btf!("inet_sock_set_state"),
    },
    Step {
        hook: Hook::Retransmit,
        shows: "segments sent again",
        rungs: tp_btf!("tcp_retransmit_skb"),
    },
    Step {
        hook: Hook::RetransmitSynack,
        shows: "SYN-ACKs sent again",
        rungs: tp_btf!("tcp_retransmit_synack"),
    },
    Step {
        hook: Hook::SendReset,
        shows: "resets sent",
        rungs: tp_btf!("tcp_send_reset"),
    },
    Step {
        hook: Hook::ReceiveReset,
        shows: "resets received",
        rungs: tp_btf!("tcp_receive_reset"),
    },
    Step {
        hook: Hook::Accept,
        shows: "who accepted; EMFILE and ENFILE from accept",
        rungs: &[Rung {
            program: "sys_exit_accept",
            attach: Attach::SyscallExits {
                calls: &["accept", "accept4"],
            },
        }],
    },
    Step {
        hook: Hook::ConnectFailed,
        shows: "connects that fail before a SYN is sent",
        rungs: &[Rung {
            program: "sys_exit_connect",
            attach: Attach::SyscallExits {
                calls: &["connect"],
            },
        }],
    },
    Step {
        hook: Hook::FdExhausted,
        shows: "EMFILE and ENFILE from the other calls that return descriptors",
        rungs: &[Rung {
            program: "sys_exit_fd",
            attach: Attach::SyscallExits {
                calls: DESCRIPTOR_CALLS,
            },
        }],
    },
    Step {
        hook: Hook::TaskFile,
        shows: "owners of sockets that exist at the start",
        rungs: &[Rung {
            program: "task_file",
            attach: Attach::Iter { over: "task_file" },
        }],
    },
];

//! The moments that are traced, and the counters kept for each.

/// One moment in the kernel, whatever the hook it is seen through.
///
/// Each has a row of [`Counters`]. `Connection`, `ConnectFailed`, `TimeWaitOverflow`, `Settled` and
/// `Process` are derived inside another hook's program and have rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Hook {
    /// A TCP socket changes state.
    State,
    /// A connection's record, at its end.
    Connection,
    /// An active open fails.
    ConnectFailed,
    /// A socket finds the time-wait table full.
    TimeWaitOverflow,
    /// A segment is sent again.
    Retransmit,
    /// A SYN-ACK is sent again.
    RetransmitSynack,
    /// Segments sent again that no retransmit event showed, found when a socket is settled.
    Settled,
    /// A reset is sent.
    SendReset,
    /// A reset is received.
    ReceiveReset,
    /// A TCP socket is freed.
    Destroy,
    /// A process takes a connection from a listener's queue.
    Accept,
    /// A system call fails for want of a descriptor or a file.
    FdExhausted,
    /// A process runs another program.
    Exec,
    /// A process moves to another cgroup.
    Cgroup,
    /// A process ends.
    Exit,
    /// Sockets that exist already are walked.
    TaskFile,
    /// A process is described to user space.
    Process,
}

impl Hook {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::State,
        Self::Connection,
        Self::ConnectFailed,
        Self::TimeWaitOverflow,
        Self::Retransmit,
        Self::RetransmitSynack,
        Self::Settled,
        Self::SendReset,
        Self::ReceiveReset,
        Self::Destroy,
        Self::Accept,
        Self::FdExhausted,
        Self::Exec,
        Self::Cgroup,
        Self::Exit,
        Self::TaskFile,
        Self::Process,
    ];

    /// The name in JSON, on screen and in documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "inet_sock_set_state",
            Self::Connection => "connection",
            Self::ConnectFailed => "connect_failed",
            Self::TimeWaitOverflow => "time_wait_overflow",
            Self::Retransmit => "tcp_retransmit_skb",
            Self::RetransmitSynack => "tcp_retransmit_synack",
            Self::Settled => "retransmit_settled",
            Self::SendReset => "tcp_send_reset",
            Self::ReceiveReset => "tcp_receive_reset",
            Self::Destroy => "tcp_destroy_sock",
            Self::Accept => "accept",
            Self::FdExhausted => "fd_exhausted",
            Self::Exec => "sched_process_exec",
            Self::Cgroup => "cgroup_attach_task",
            Self::Exit => "sched_process_exit",
            Self::TaskFile => "task_file",
            Self::Process => "process",
        }
    }
}

/// What became of a hook's runs: `entered = emitted + filtered + aggregated + ring_full + map_full`.
///
/// Each term is added to where it happens; none is computed from the others. One run of a hook adds
/// exactly one to `entered` and one to one of the other terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Runs that found their subject (a TCP socket, a failed call).
    pub entered: u64,
    /// A record went into a ring buffer.
    pub emitted: u64,
    /// A filter, or `--events`, kept it out.
    pub filtered: u64,
    /// Folded into a kernel map, as meant.
    pub aggregated: u64,
    /// The ring buffer had no room: the record is lost, the totals in the maps are not.
    pub ring_full: u64,
    /// A kernel map had no room.
    pub map_full: u64,
    /// Beside the law: runs that never were. The subject turned out to have gone on without, whether or not the
    /// kernel counts the run as skipped.
    pub unseen: u64,
}

impl Counters {
    /// Whether the conservation law holds.
    #[must_use]
    pub const fn balanced(&self) -> bool {
        self.entered
            == self.emitted + self.filtered + self.aggregated + self.ring_full + self.map_full
    }

    /// The sum of two rows, term by term.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            entered: self.entered + other.entered,
            emitted: self.emitted + other.emitted,
            filtered: self.filtered + other.filtered,
            aggregated: self.aggregated + other.aggregated,
            ring_full: self.ring_full + other.ring_full,
            map_full: self.map_full + other.map_full,
            unseen: self.unseen + other.unseen,
        }
    }
}

// SAFETY: `repr(C)`, only integers, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Counters {}

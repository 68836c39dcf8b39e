//! A process as the kernel programs know it.

/// A process: a reused pid has another start time, so it is another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ProcessKey {
    /// Start of the thread group's leader, ns of `CLOCK_BOOTTIME` (`task_struct.start_boottime`).
    pub start: u64,
    /// Thread group id in the initial pid namespace; 0 is nobody.
    pub tgid: u32,
    /// Zero: keys are compared as bytes.
    pub pad: u32,
}

/// What `/proc` counts start times in, ns (`USER_HZ` is 100 on x86-64 and arm64).
pub const TICK: u64 = 10_000_000;

impl ProcessKey {
    /// The owner of what has no known owner.
    pub const UNKNOWN: Self = Self {
        start: 0,
        tgid: 0,
        pad: 0,
    };

    /// Whether this names a process.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.tgid != 0
    }
}

/// What happened to a process's sockets, counted in the kernel: no lost record changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(serde::Serialize))]
#[repr(C)]
pub struct Totals {
    /// Connections that ended.
    pub connections: u64,
    /// Connects that failed.
    pub connect_failed: u64,
    /// Segments sent again.
    pub retransmit_segs: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Resets received.
    pub resets_received: u64,
    /// Sockets that found the time-wait table full.
    pub time_wait_overflow: u64,
    /// Calls that failed with EMFILE or ENFILE.
    pub fd_exhausted: u64,
    /// Records of this process that found the ring buffer full.
    pub lost: u64,
}

impl Totals {
    /// Adds another's.
    pub const fn add(&mut self, more: &Self) {
        self.connections += more.connections;
        self.connect_failed += more.connect_failed;
        self.retransmit_segs += more.retransmit_segs;
        self.resets_sent += more.resets_sent;
        self.resets_received += more.resets_received;
        self.time_wait_overflow += more.time_wait_overflow;
        self.fd_exhausted += more.fd_exhausted;
        self.lost += more.lost;
    }

    /// Everything but plain connections.
    #[must_use]
    pub const fn trouble(&self) -> u64 {
        self.connect_failed
            + self.retransmit_segs
            + self.resets_sent
            + self.resets_received
            + self.time_wait_overflow
            + self.fd_exhausted
            + self.lost
    }
}

/// Names a field of [`Totals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// [`Totals::connections`]
    Connections,
    /// [`Totals::connect_failed`]
    ConnectFailed,
    /// [`Totals::retransmit_segs`]
    RetransmitSegs,
    /// [`Totals::resets_sent`]
    ResetsSent,
    /// [`Totals::resets_received`]
    ResetsReceived,
    /// [`Totals::time_wait_overflow`]
    TimeWaitOverflow,
    /// [`Totals::fd_exhausted`]
    FdExhausted,
    /// [`Totals::lost`]
    Lost,
}

/// A process's entry in the map `PROCESSES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// What happened so far.
    pub totals: Totals,
    /// Live sockets that it owns.
    pub sockets: u64,
    /// The leader's name, NUL-padded (`task_struct.comm`).
    pub comm: [u8; 16],
    /// See [`flag`].
    pub flags: u32,
    /// Padding.
    pub pad: u32,
}

/// Bits of [`Process::flags`].
pub mod flag {
    /// The last thread has ended.
    pub const EXITED: u32 = 1;
    /// Passes `--comm` and `--cgroup` (always set where neither is given).
    pub const PASSES: u32 = 2;
}

const _: () = assert!(size_of::<ProcessKey>() == 16);
const _: () = assert!(size_of::<Process>() == 64 + 8 + 16 + 8);

// SAFETY: `repr(C)`, only integers, no implicit padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ProcessKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Process {}

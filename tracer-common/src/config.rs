//! What user space tells the kernel programs before they are loaded.

use crate::record::Kind;

/// Set once, as a read-only global: the verifier sees constants and drops what is switched off.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Config {
    /// Bit `1 << Kind` for each kind of record that is wanted.
    pub events: u32,
    /// Which of the filters are set, see [`filter`].
    pub filters: u32,
    /// The reader is woken when the main ring holds more bytes than this.
    pub ring_mark: u32,
    /// The same for the ring of rare records.
    pub rare_mark: u32,
    /// 1 where the helper `bpf_task_pt_regs` exists (5.15).
    pub task_pt_regs: u32,
    /// 1 where the helper `bpf_get_current_task_btf` exists (5.11): the task's fields are plain loads.
    pub task_btf: u32,
    /// 1 where the kernel skips a program that interrupts itself (6.1): its own counters need no
    /// atomic instruction.
    pub guarded: u32,
    /// 1 where `tcp_retransmit_skb` passes an error (6.17).
    pub retransmit_err: u32,
    /// 1 where `tcp_send_reset` passes a reason (6.10).
    pub reset_reason: u32,
    /// 1 where sock_diag finds the sockets that exist, not the iterator: owners come from the map
    /// `COOKIES`, and start times are cut to [`crate::process::TICK`], since `/proc` has no more.
    pub sock_diag: u32,
    /// The cgroup id that `--cgroup` names.
    pub cgroup: u64,
}

impl Config {
    /// Whether a kind of record is wanted.
    #[must_use]
    pub const fn wants(&self, kind: Kind) -> bool {
        self.events & (1 << kind as u32) != 0
    }
}

/// Bits of [`Config::filters`].
pub mod filter {
    /// The owner's thread group id is in the map `PIDS`.
    pub const PID: u32 = 1;
    /// The owner's name is in the map `COMMS`.
    pub const COMM: u32 = 2;
    /// One of the ports is in the map `PORTS`.
    pub const PORT: u32 = 4;
    /// One of the addresses matches the map `CIDRS`.
    pub const CIDR: u32 = 8;
    /// The network namespace is in the map `NETNS`.
    pub const NETNS: u32 = 16;
    /// The owner is in the cgroup [`super::Config::cgroup`] or below it.
    pub const CGROUP: u32 = 32;
    /// All that judge by the owner.
    pub const OWNERS: u32 = PID | COMM | CGROUP;
}

// SAFETY: `repr(C)`, only integers, no padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Config {}

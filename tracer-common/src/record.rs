//! Records: what travels through the ring buffers.
//!
//! Each begins with a [`Head`] whose `kind` tells the rest. The size of a record is the size of its
//! type; a longer or shorter one is refused by the decoder.

use crate::{conn::Tuple, process::ProcessKey, tcp::state};

/// Kinds of records. The numbers are stable: trace files hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`State`]
    State = 1,
    /// [`Connection`]
    Connection = 2,
    /// [`Retransmit`]
    Retransmit = 3,
    /// [`Reset`]
    Reset = 4,
    /// [`ConnectFailed`]
    ConnectFailed = 5,
    /// [`TimeWaitOverflow`]
    TimeWaitOverflow = 6,
    /// [`FdExhausted`]
    FdExhausted = 7,
    /// [`ProcessSeen`], internal: never shown.
    ProcessSeen = 8,
}

impl Kind {
    /// From the byte in a record.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::State,
            2 => Self::Connection,
            3 => Self::Retransmit,
            4 => Self::Reset,
            5 => Self::ConnectFailed,
            6 => Self::TimeWaitOverflow,
            7 => Self::FdExhausted,
            8 => Self::ProcessSeen,
            _ => return None,
        })
    }
}

/// The beginning of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Head {
    /// When, ns of `CLOCK_BOOTTIME`.
    pub ts: u64,
    /// Which connection, 0 for none.
    pub conn_id: u64,
    /// Whose.
    pub owner: ProcessKey,
    /// The ends; zero where there is no connection.
    pub tuple: Tuple,
    /// [`Kind`]
    pub kind: u8,
    /// [`crate::conn::OwnerSource`]
    pub owner_source: u8,
    /// Padding.
    pub pad: [u8; 6],
}

/// A state change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct State {
    /// Common part.
    pub head: Head,
    /// Time in the old state, ns; `u64::MAX` when its beginning was not seen.
    pub in_old: u64,
    /// Old state.
    pub old: u8,
    /// New state.
    pub new: u8,
    /// Padding.
    pub pad: [u8; 6],
}

/// A connection at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Connection {
    /// Common part.
    pub head: Head,
    /// Time since it left CLOSE (or was found), ns.
    pub duration: u64,
    /// Time from birth to ESTABLISHED, ns; `u64::MAX` when not seen.
    pub connect: u64,
    /// Payload sent, each byte once.
    pub bytes_sent: u64,
    /// Payload received.
    pub bytes_received: u64,
    /// Time in each state, ns.
    pub in_state: [u64; state::COUNT],
    /// Segments sent, those sent again among them.
    pub segs_out: u32,
    /// Segments sent again.
    pub segs_retrans: u32,
    /// Smoothed round-trip time, us; 0 when none was measured.
    pub srtt_us: u32,
    /// `sk_err` at the end, 0 for none.
    pub errno: i32,
    /// Bits of [`crate::conn::flag`].
    pub flags: u16,
    /// [`End`]
    pub end: u8,
    /// Padding.
    pub pad: [u8; 5],
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum End {
    /// We closed first.
    ClosedLocal,
    /// The peer closed first.
    ClosedRemote,
    /// We reset it (unread data, SO_LINGER 0, abort).
    ResetLocal,
    /// The peer reset it.
    ResetRemote,
    /// Nobody answered.
    TimedOut,
    /// The SYN was answered by a reset.
    Refused,
    /// We closed first, and the time-wait table was full.
    TimeWaitOverflow,
    /// Any other error.
    Failed,
}

impl End {
    /// From the byte in a record.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::ClosedLocal,
            1 => Self::ClosedRemote,
            2 => Self::ResetLocal,
            3 => Self::ResetRemote,
            4 => Self::TimedOut,
            5 => Self::Refused,
            6 => Self::TimeWaitOverflow,
            7 => Self::Failed,
            _ => return None,
        })
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClosedLocal => "closed_local",
            Self::ClosedRemote => "closed_remote",
            Self::ResetLocal => "reset_local",
            Self::ResetRemote => "reset_remote",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::TimeWaitOverflow => "time_wait_overflow",
            Self::Failed => "failed",
        }
    }
}

/// Segments sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Retransmit {
    /// Common part.
    pub head: Head,
    /// Growth of `tcp_sock.total_retrans` since it was last read, segments.
    pub segs: u32,
    /// First sequence number of the segment.
    pub seq: u32,
    /// Present retransmission timeout, jiffies.
    pub rto_jiffies: u32,
    /// Smoothed round-trip time, us.
    pub srtt_us: u32,
    /// Sent and not acknowledged, bytes.
    pub unacked: u32,
    /// Written and not sent, bytes.
    pub notsent: u32,
    /// What the local stack said to the transmission, 0 or a negative error number.
    pub err: i32,
    /// [`Cause`]
    pub cause: u8,
    /// Exponent of the back-off, or retries of a SYN-ACK.
    pub backoff: u8,
    /// Padding.
    pub pad: [u8; 2],
}

/// Why a segment was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// Not decidable from what the socket says.
    Unknown,
    /// The retransmission timer fired.
    Rto,
    /// Duplicate ACKs or RACK: fast recovery.
    Fast,
    /// After a timeout, clocked by ACKs.
    LossRecovery,
    /// Tail-loss probe.
    Tlp,
    /// A SYN had no answer.
    Syn,
    /// A SYN-ACK had no answer.
    Synack,
    /// The path MTU shrank.
    Pmtu,
}

impl Cause {
    /// From the byte in a record.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Unknown,
            1 => Self::Rto,
            2 => Self::Fast,
            3 => Self::LossRecovery,
            4 => Self::Tlp,
            5 => Self::Syn,
            6 => Self::Synack,
            7 => Self::Pmtu,
            _ => return None,
        })
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Rto => "rto",
            Self::Fast => "fast",
            Self::LossRecovery => "loss_recovery",
            Self::Tlp => "tlp",
            Self::Syn => "syn",
            Self::Synack => "synack",
            Self::Pmtu => "pmtu",
        }
    }
}

/// A reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct Reset {
    /// Common part.
    pub head: Head,
    /// The kernel's `enum sk_rst_reason`; `u32::MAX` where it gives none.
    pub reason: u32,
    /// 1 sent, 0 received.
    pub sent: u8,
    /// Padding.
    pub pad: [u8; 3],
}

/// A failed connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ConnectFailed {
    /// Common part.
    pub head: Head,
    /// Time since connect, ns; `u64::MAX` when not seen.
    pub connect: u64,
    /// Positive error number.
    pub errno: i32,
    /// 1 when a SYN was sent.
    pub syn_sent: u8,
    /// Padding.
    pub pad: [u8; 3],
}

/// Sockets that found the time-wait table full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct TimeWaitOverflow {
    /// Common part; the connection is the latest one.
    pub head: Head,
    /// Overflows of this process in this namespace since the trace began.
    pub total: u64,
    /// Sockets in the table.
    pub tw_count: u32,
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub tw_max: u32,
    /// 1 when told from the table and the socket, 0 when the kernel's function said so.
    pub inferred: u8,
    /// Padding.
    pub pad: [u8; 7],
}

/// Calls that found no free descriptor or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct FdExhausted {
    /// Common part; `tuple.netns` is the process's namespace.
    pub head: Head,
    /// Failures of this process, call and error since the trace began.
    pub total: u64,
    /// `RLIMIT_NOFILE`, soft.
    pub limit_soft: u64,
    /// `RLIMIT_NOFILE`, hard.
    pub limit_hard: u64,
    /// Number of the system call, -1 for none.
    pub syscall: i32,
    /// EMFILE or ENFILE, positive.
    pub errno: i32,
    /// Open descriptors; `u32::MAX` when the table was too large to count.
    pub open_fds: u32,
    /// Padding.
    pub pad: u32,
}

/// Levels of the cgroup path that a [`ProcessSeen`] holds, the innermost first.
pub const CGROUP_LEVELS: usize = 8;
/// Bytes of one level's name, NUL-terminated.
pub const CGROUP_NAME: usize = 128;
/// Bytes of the command line that a [`ProcessSeen`] holds.
pub const ARGS: usize = 256;

/// A process that was not known before, described while it is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct ProcessSeen {
    /// Common part.
    pub head: Head,
    /// Id of its cgroup (v2).
    pub cgroup: u64,
    /// User id.
    pub uid: u32,
    /// Thread group id of its parent.
    pub ppid: u32,
    /// Valid bytes of `args`; 0 when the memory was not readable from where this was made.
    pub args_len: u32,
    /// Padding.
    pub pad: u32,
    /// Name of the leader.
    pub comm: [u8; 16],
    /// Arguments, separated by NUL.
    pub args: [u8; ARGS],
    /// Names of its cgroup and those above, each NUL-terminated.
    pub cgroups: [[u8; CGROUP_NAME]; CGROUP_LEVELS],
}

const _: () = assert!(size_of::<Head>() == 80);
const _: () = assert!(size_of::<State>() == 96);
const _: () = assert!(size_of::<Connection>() == 80 + 32 + 128 + 24);
const _: () = assert!(size_of::<Retransmit>() == 80 + 32);
const _: () = assert!(size_of::<Reset>() == 88);
const _: () = assert!(size_of::<ConnectFailed>() == 96);
const _: () = assert!(size_of::<TimeWaitOverflow>() == 104);
const _: () = assert!(size_of::<FdExhausted>() == 120);
const _: () =
    assert!(size_of::<ProcessSeen>() == 80 + 24 + 16 + ARGS + CGROUP_LEVELS * CGROUP_NAME);

/// Marks a time that was not measured.
pub const NO_TIME: u64 = u64::MAX;

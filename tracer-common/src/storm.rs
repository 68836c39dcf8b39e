//! Failures that come by the hundred thousand a second: counted in the kernel, told now and then.

use crate::process::ProcessKey;

/// At most one record per key in this time, ns. The totals it carries are exact.
pub const INTERVAL: u64 = 250_000_000;

/// What fails: the key of the map `FD_STORMS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FdKey {
    /// The process.
    pub process: ProcessKey,
    /// Number of the system call, -1 for none.
    pub syscall: i32,
    /// EMFILE or ENFILE, positive.
    pub errno: i32,
    /// Network namespace of the process.
    pub netns: u32,
    /// Zero: keys are compared as bytes.
    pub pad: u32,
}

/// Whose time-wait sockets find no room, and where: the key of the map `TW_STORMS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct TwKey {
    /// The owner.
    pub process: ProcessKey,
    /// Network namespace.
    pub netns: u32,
    /// How the owner is known, [`crate::conn::OwnerSource`].
    pub owner_source: u32,
}

/// How often so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Storm {
    /// Failures since the trace began.
    pub total: u64,
    /// When the last record was sent, ns.
    pub told: u64,
}

const _: () = assert!(size_of::<FdKey>() == 32);
const _: () = assert!(size_of::<TwKey>() == 24);
const _: () = assert!(size_of::<Storm>() == 16);

// SAFETY: `repr(C)`, only integers, no implicit padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FdKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for TwKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Storm {}

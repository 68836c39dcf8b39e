//! Packets of TCP that the kernel drops, counted while loss is looked into.

use crate::conn::Address;

/// What was dropped, and why: the key of the map `DROPS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct DropKey {
    /// Whence the packet came.
    pub source: Address,
    /// Whither it went.
    pub destination: Address,
    /// Network namespace of the device that it came in by; 0 for one that was on its way out.
    pub netns: u32,
    /// The kernel's reason, `enum skb_drop_reason`.
    pub reason: u32,
}

const _: () = assert!(size_of::<DropKey>() == 40);

// SAFETY: `repr(C)`, only integers, no implicit padding.
#[cfg(feature = "user")]
unsafe impl aya::Pod for DropKey {}

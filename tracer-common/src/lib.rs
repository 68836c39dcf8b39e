//! What the kernel programs and the user-space side of `tcptrace` share.
//!
//! Everything here crosses the boundary as bytes, so each type is `repr(C)` and its size and
//! offsets are asserted at compile time. Times are nanoseconds of `CLOCK_BOOTTIME`, addresses are
//! 16 bytes with IPv4 mapped into `::ffff:0:0/96`, ports are in host order.
#![no_std]

pub mod config;
pub mod conn;
pub mod drops;
pub mod fields;
pub mod hook;
pub mod name;
pub mod process;
pub mod record;
pub mod storm;
pub mod tcp;

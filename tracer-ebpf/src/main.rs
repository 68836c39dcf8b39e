//! The kernel programs of `tcptrace`.
//!
//! A file per subject. Read `sock` (how the kernel's memory is read), `account` (how each run is
//! accounted for), `emit` (the only writer of the ring buffers), `conn` and `process` (what is kept),
//! then the hooks: `state`, `retransmit`, `reset`, `connect`, `accept`, `fd`, `task`, `scan`, `drops`.
#![no_std]
#![no_main]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a key passed by value would be copied to the scarce stack once more"
)]
// The compiler has no atomic add for this target; one line of assembler is behind this feature.
#![feature(asm_experimental_arch)]

mod account;
mod calls;
mod close;
mod conn;
mod emit;
mod filter;
mod maps;
mod process;
mod sock;
mod storm;
mod time_wait;

mod accept;
mod connect;
mod drops;
mod fd;
mod reset;
mod retransmit;
mod scan;
mod state;
mod task;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

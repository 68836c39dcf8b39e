//! What `cargo xtask vm` and the init of its machines say to each other: the plan goes in as a file of the initramfs,
//! the report comes out as lines on the serial console.

pub mod plan;
pub mod report;

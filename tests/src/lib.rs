//! What the end-to-end tests stand on: namespaces, processes that make traffic, and a running `tcptrace`.
//!
//! The tests judge by numbers that `tcptrace` does not make: the kernel's counters, `ss`, `strace`, `tcpstates`, and what
//! the traffic's own processes count.

mod cgroup;
mod need;
mod netns;
mod process;
mod recording;
mod tmux;
mod trace;

pub mod descriptor_calls;
pub mod events;
pub mod finding;
pub mod incident;
pub mod program;
pub mod schema;
pub mod sockets;
pub mod trouble;
pub mod uring;
pub mod wait;

pub use cgroup::Cgroup;
pub use need::{need_program, require_root};
pub use netns::{Netns, Veth};
pub use process::{
    Killed, Reaped, Server, Traffic, children, comm, descriptor_limits, open_descriptors,
    start_time,
};
pub use recording::{Recording, Replay};
pub use tmux::Tmux;
pub use trace::{Ended, Trace, tcptrace, tcptrace_path};

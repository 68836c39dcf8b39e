//! All that needs privilege or `aya`: loading, attaching, and reading what the kernel programs keep.

pub mod attach;
pub mod btf;
pub mod caps;
pub mod cgroup;
pub mod clock;
pub mod counters;
pub mod drops;
mod ended_unseen;
pub mod facts;
pub mod filters;
mod inet_diag;
pub mod known;
pub mod ladder;
mod load;
pub mod lockdown;
mod misses;
pub mod netns;
pub mod netstat;
mod object;
mod prototype;
mod ring;
mod scan;
pub mod session;
mod sock_diag;
mod tables;
mod tcp_info;

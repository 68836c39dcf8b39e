//! Incidents that happened to somebody, made again with the programs that they happened to.
//!
//! Each is a value: making it starts the programs and drives them into their trouble, which goes on until it is dropped.

pub mod fd_limit;

pub mod accept_loop;
pub mod client_limit;
pub mod file_table;
pub mod inotify_instances;

pub mod connect_refused;
pub mod ports_exhausted;
pub mod time_wait_overflow;

pub mod peer_vanished;

pub mod half_open_risk;
pub mod loss;
pub mod zero_window;

pub mod accept_queue;
pub mod syn_queue;

pub mod healthy;

//! Incidents that happened to somebody, made again with the programs that they happened to.
//!
//! Each is a value: making it starts the programs and drives them into their trouble, which goes on until it is dropped.

pub mod accept_loop;
pub mod fd_limit;

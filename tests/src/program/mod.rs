//! The real programs that tests run, each in a namespace and gone when it is dropped.

mod nginx;
mod python;
mod redis;
mod supervisor;

pub use nginx::Nginx;
pub use python::{Client, script, venv};
pub use redis::Redis;
pub use supervisor::Supervisord;

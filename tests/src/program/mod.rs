//! The real programs that tests run, each in a namespace and gone when it is dropped.

mod gunicorn;
mod haproxy;
mod memcached;
mod nginx;
mod python;
mod redis;
mod rsyslog;
mod supervisor;

pub use gunicorn::Gunicorn;
pub use haproxy::Haproxy;
pub use memcached::Memcached;
pub use nginx::Nginx;
pub use python::{Client, script, venv};
pub use redis::Redis;
pub use rsyslog::Rsyslog;
pub use supervisor::Supervisord;

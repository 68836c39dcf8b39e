//! `memcached`.

use std::process::Stdio;

use crate::{Netns, Server, need_program, wait};

/// A running server.
pub struct Memcached {
    server: Server,
}

impl Memcached {
    /// Its port.
    pub const PORT: u16 = 11211;

    /// Starts one inside `netns`.
    pub fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let mut command = netns.command(need_program("memcached", "memcached"));
        command
            .args(["-u", "root", "-l", "127.0.0.1"])
            .args(arguments)
            .stderr(Stdio::null());
        let server = Server::spawn(&mut command);
        wait::until_true("memcached listens", || !netns.ss(&["-Htln"]).is_empty());
        Self { server }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

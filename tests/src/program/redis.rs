//! `redis-server` and `redis-cli`.

use std::process::{Command, Stdio};

use crate::{Netns, Reaped, need_program, wait};

/// A running server.
pub struct Redis {
    server: Reaped,
}

impl Redis {
    /// Its port.
    pub const PORT: u16 = 6379;

    /// Starts a server that listens on every address of `netns`, keeps nothing on disk, and answers.
    pub fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let mut command = netns.command(need_program("redis-server", "redis-server"));
        command
            .args(["--protected-mode", "no", "--save", "", "--dir", "/tmp"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = Reaped(command.spawn().expect("start redis-server"));
        wait::until_true("redis answers", || {
            Self::ask(netns, &["ping"]).trim() == "PONG"
        });
        Self { server }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// A command that runs `redis-cli ARGUMENTS` inside `netns`.
    pub fn client(netns: &Netns, arguments: &[&str]) -> Command {
        let mut command = netns.command(need_program("redis-cli", "redis-tools"));
        command.args(arguments).stderr(Stdio::null());
        command
    }

    /// What the server in `netns` answers to a command.
    pub fn ask(netns: &Netns, arguments: &[&str]) -> String {
        let output = Self::client(netns, arguments)
            .output()
            .expect("run redis-cli");
        String::from_utf8(output.stdout).expect("redis-cli prints text")
    }
}

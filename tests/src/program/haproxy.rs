//! `haproxy`.

use std::{fs, process::Stdio};

use tempfile::TempDir;

use crate::{Netns, Server, need_program, wait};

/// A running haproxy that passes connections on to one server.
pub struct Haproxy {
    server: Server,
    #[expect(dead_code, reason = "its configuration lies there as long as it runs")]
    folder: TempDir,
}

impl Haproxy {
    /// Starts one inside `netns` that listens on port `listen` and has one backend, on port `backend` of this host, to which it
    /// tries again once.
    pub fn start(netns: &Netns, listen: u16, backend: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = format!(
            "defaults
    mode tcp
    retries 1
    timeout connect 2s
    timeout client 10s
    timeout server 10s
listen redis
    bind 127.0.0.1:{listen}
    server one 127.0.0.1:{backend}
"
        );
        let file = folder.path().join("conf");
        fs::write(&file, configuration).expect("write a configuration");
        let mut command = netns.command(need_program("haproxy", "haproxy"));
        command
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = Server::spawn(&mut command);
        wait::until_true("haproxy listens", || {
            !netns
                .ss(&["-Htln", &format!("sport = {listen}")])
                .is_empty()
        });
        Self { server, folder }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

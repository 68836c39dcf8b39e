//! `rsyslogd`.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Reaped, need_program};

/// A running rsyslogd. It is killed: asked to end, it would try to get rid of its lines first, without a pause.
pub struct Rsyslog {
    server: Reaped,
    folder: TempDir,
}

impl Rsyslog {
    /// Starts it with `command`, which must end in [`Rsyslog::path`]. In the configuration FOLDER stands for a folder of its own.
    pub fn start(mut command: Command, configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let text = configuration.replace("FOLDER", &folder.path().display().to_string());
        fs::write(path("conf"), text).expect("write a configuration");
        command
            // Without names: to look one up takes a descriptor for a moment.
            .args(["-n", "-x", "-i"])
            .arg(path("pid"))
            .arg("-f")
            .arg(path("conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        Self {
            server: Reaped(command.spawn().expect("start rsyslogd")),
            folder,
        }
    }

    /// Where the program is.
    pub fn path() -> PathBuf {
        need_program("rsyslogd", "rsyslog")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Logs a line, as programs do, through its socket FOLDER/log; false while it does not listen yet.
    pub fn log(&self, line: &str) -> bool {
        let socket = UnixDatagram::unbound().expect("a socket");
        let message = format!("<13>Jan  1 00:00:00 test: {line}");
        socket
            .send_to(message.as_bytes(), self.folder.path().join("log"))
            .is_ok()
    }
}

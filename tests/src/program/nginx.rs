//! `nginx`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Server, children, need_program, wait};

/// A running nginx: a master and its workers.
pub struct Nginx {
    server: Server,
    folder: TempDir,
}

impl Nginx {
    /// Starts it with `command`, which must end in [`Nginx::path`]. `main`, `http` and `server` are directives for those parts of the
    /// configuration; in them FOLDER stands for a folder of its own.
    pub fn start(mut command: Command, main: &str, http: &str, server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = format!(
            "daemon off; user root; pid FOLDER/pid; error_log FOLDER/error; {main}
             http {{
                 access_log FOLDER/access; {http}
                 client_body_temp_path FOLDER; proxy_temp_path FOLDER; fastcgi_temp_path FOLDER;
                 uwsgi_temp_path FOLDER; scgi_temp_path FOLDER;
                 server {{ {server} }}
             }}"
        );
        let path = folder.path().display().to_string();
        let file = folder.path().join("conf");
        fs::write(&file, configuration.replace("FOLDER", &path)).expect("write a configuration");
        command
            .arg("-c")
            .arg(&file)
            .args(["-p", &path, "-e", &format!("{path}/error")])
            .stderr(Stdio::null());
        let nginx = Self {
            server: Server::spawn(&mut command),
            folder,
        };
        wait::until_true("nginx has a worker", || !nginx.workers().is_empty());
        nginx
    }

    /// Where the program is.
    pub fn path() -> PathBuf {
        need_program("nginx", "nginx-light")
    }

    /// The master's process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The workers' process ids.
    pub fn workers(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Puts a page into FOLDER.
    pub fn page(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).expect("write a page");
    }

    /// What it has logged: `error`, or `access`.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

//! `gunicorn`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Server, children, need_program};

/// A running gunicorn: a master and its workers.
pub struct Gunicorn {
    server: Server,
    #[expect(dead_code, reason = "the application lies there as long as it runs")]
    folder: TempDir,
}

impl Gunicorn {
    /// Starts it with `command`, which must end in [`Gunicorn::path`], on port 8080 of the loopback. `application` is a Python module
    /// that defines `app`.
    pub fn start(mut command: Command, arguments: &[&str], application: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("page.py"), application).expect("write an application");
        command
            .args(["--bind", "127.0.0.1:8080", "--worker-tmp-dir"])
            .arg(folder.path())
            .args(arguments)
            .arg("page:app")
            .current_dir(folder.path())
            .env("PYTHONPATH", folder.path())
            .stderr(Stdio::null());
        Self {
            server: Server::spawn(&mut command),
            folder,
        }
    }

    /// Where the program is.
    pub fn path() -> PathBuf {
        need_program("gunicorn", "gunicorn")
    }

    /// The workers' process ids.
    pub fn workers(&self) -> Vec<u32> {
        children(self.server.pid())
    }
}

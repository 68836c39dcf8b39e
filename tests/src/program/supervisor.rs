//! `supervisord`, run by a user who is not root, as its manual says.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    process::Stdio,
};

use tempfile::TempDir;

use super::python;
use crate::{Netns, Server, children, need_program, wait};

/// `nobody` on every Linux.
const NOBODY: u32 = 65534;

/// A supervisord that runs one Python program.
pub struct Supervisord {
    server: Server,
    program: u32,
    folder: TempDir,
}

impl Supervisord {
    /// Starts it from a shell that sets its own limits of descriptors to `soft` and `hard` first, as an init script does. Its program is
    /// the Python script `text`, which may import `packages` of the environment.
    pub fn start(
        netns: &Netns,
        soft: u64,
        hard: u64,
        minfds: u64,
        text: &str,
        packages: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("its owner");
        for package in packages.iter().chain(&["supervisor"]) {
            python::copy_package(package, folder.path());
        }
        // As a script, so that the process has the name that it has everywhere.
        let program = path("supervisord");
        let start = "from supervisor.supervisord import main\nmain()\n";
        fs::write(&program, format!("#!{}\n{start}", python::SYSTEM)).expect("write a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
        fs::write(path("program.py"), python::script(text)).expect("write a script");
        let configuration = format!(
            "[supervisord]
             nodaemon=true
             minfds={minfds}
             logfile={folder}/log
             pidfile={folder}/pid
             childlogdir={folder}
             [program:app]
             command={python} {folder}/program.py {folder}/answers
             startsecs=0
             redirect_stderr=true
             stdout_logfile={folder}/output\n",
            folder = folder.path().display(),
            python = python::SYSTEM,
        );
        let lines: Vec<_> = configuration.lines().map(str::trim).collect();
        fs::write(path("conf"), lines.join("\n")).expect("write a configuration");
        let mut command = netns.limited_command(soft, hard, need_program("setpriv", "util-linux"));
        command
            .args([
                "--reuid",
                &NOBODY.to_string(),
                "--regid",
                &NOBODY.to_string(),
            ])
            .arg("--clear-groups")
            .arg(&program)
            .arg("-c")
            .arg(path("conf"))
            .current_dir(folder.path())
            .env("PYTHONPATH", folder.path())
            .stdout(Stdio::null());
        let server = Server::spawn(&mut command);
        let program = wait::until("supervisord starts its program", || {
            let child = *children(server.pid()).first()?;
            // Before it is exec'd it still is supervisord.
            let arguments = fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
            arguments.contains("program.py").then_some(child)
        });
        Self {
            server,
            program,
            folder,
        }
    }

    /// supervisord's process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The program's process id.
    pub fn program(&self) -> u32 {
        self.program
    }

    /// How often the program had each answer so far.
    pub fn answers(&self) -> BTreeMap<String, u64> {
        python::answers(&self.folder.path().join("answers"))
    }

    /// Where supervisord keeps its log.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

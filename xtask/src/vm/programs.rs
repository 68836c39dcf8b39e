//! Programs of this machine that tests run, and the shared libraries they need.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::command::stdout;
use crate::setup;

/// What the tests run beside the programs that [`setup`] installs for them.
const BASE: &[&str] = &[
    "cat", "grep", "mount", "sh", "sleep", "stdbuf", "tail", "true",
];

/// Programs of the tests that do not go into the machines, and why. A test that asks for one is left out there, as the table says.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    ("chromium", IN_MEMORY),
    ("java", IN_MEMORY),
    ("node", IN_MEMORY),
    ("tmux", "it needs a terminal database and a locale"),
];
const IN_MEMORY: &str = "a machine has all its files in memory, and has no room for it";

/// Debian packages whose every file is copied: what gunicorn imports, what rsyslogd loads.
const PACKAGES: &[&str] = &[
    "libpython3.*-minimal",
    "libpython3.*-stdlib",
    "python3-gunicorn",
    "python3-pkg-resources",
    "rsyslog",
];

/// Other files that a program opens itself.
const FILES: &[&str] = &["/usr/libexec/coreutils/libstdbuf.so"];

const FOLDERS: &[&str] = &["/usr/sbin", "/usr/bin"];

/// The programs that are copied.
fn names() -> impl Iterator<Item = &'static str> {
    let is_left_out = |name: &str| LEFT_OUT.iter().any(|(program, _)| *program == name);
    let of_tests = setup::programs_of_tests().filter(move |name| !is_left_out(name));
    BASE.iter().copied().chain(of_tests)
}

/// The files to copy, each to where it is here. Of a program that this machine does not have there are none: the test that needs it
/// names its package.
pub(super) fn files() -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for name in names() {
        let found = FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.is_file());
        let Some(program) = found else {
            eprintln!("this machine has no {name}: tests that need it will fail in the VMs");
            continue;
        };
        // ldd fails on what is no dynamic executable: a script.
        if let Ok(text) = stdout(Command::new("ldd").arg(&program)) {
            files.extend(libraries(&text));
        }
        files.insert(program);
    }
    for package in packages() {
        let listed = stdout(Command::new("dpkg").arg("-L").arg(package))?;
        files.extend(
            listed
                .lines()
                .map(PathBuf::from)
                .filter(|path| wanted(path)),
        );
    }
    files.extend(
        FILES
            .iter()
            .map(PathBuf::from)
            .filter(|path| path.is_file()),
    );
    Ok(files)
}

/// The installed packages of [`PACKAGES`]. Where there are none the program itself is not there either.
fn packages() -> Vec<String> {
    let mut ask = Command::new("dpkg-query");
    ask.args(["-W", "-f", "${db:Status-Status} ${Package}\n"])
        .args(PACKAGES);
    let text = stdout(&mut ask).unwrap_or_default();
    let installed = text
        .lines()
        .filter_map(|line| line.strip_prefix("installed "));
    installed.map(str::to_owned).collect()
}

/// A file that a program may open.
fn wanted(path: &Path) -> bool {
    path.is_file() && !path.starts_with("/usr/share/doc") && !path.starts_with("/usr/share/man")
}

/// Reads what ldd prints: `libmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x…)`, or the loader's path alone.
fn libraries(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| {
        let path = line.split_once("=>").map_or(line, |(_, path)| path);
        let path = path.trim().split(" (").next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_a_program_of_the_tests() {
        for (program, _) in LEFT_OUT {
            assert!(
                setup::programs_of_tests().any(|name| name == *program),
                "{program}"
            );
            assert!(names().all(|name| name != *program), "{program}");
        }
        assert!(names().any(|name| name == "haproxy"));
    }

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_own_is_not() {
        let text = "\tlinux-vdso.so.1 (0x00007ffe)\n\
                    \tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f1)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let found: Vec<PathBuf> = libraries(text).collect();
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libmnl.so.0"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
    }
}

//! Programs of this machine that tests run, and the shared libraries they need.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::command::stdout;

/// What the tests run. One that this machine does not have is left out: the test that needs it names its package.
const PROGRAMS: &[&str] = &[
    "ip",
    "nft",
    "nstat",
    "redis-server",
    "ss",
    "strace",
    "sysctl",
    "tcpstates",
];

const FOLDERS: &[&str] = &["/usr/sbin", "/usr/bin"];

/// The files to copy, each to where it is here.
pub(super) fn files() -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for name in PROGRAMS {
        let found = FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.is_file());
        let Some(program) = found else {
            eprintln!("this machine has no {name}: tests that need it will fail in the VMs");
            continue;
        };
        files.extend(libraries(&stdout(Command::new("ldd").arg(&program))?));
        files.insert(program);
    }
    Ok(files)
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

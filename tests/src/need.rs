//! What a test cannot do without. A test that lacks it fails and says so: it never passes by skipping.

use std::{env, path::PathBuf};

/// Fails the test, with a sentence, when it does not run as root.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test loads eBPF programs and makes network namespaces, so it needs root: run `sudo -E cargo xtask test`"
    );
}

/// The path of `program`, or a failure that names the Debian package that has it.
pub fn need_program(program: &str, package: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("this test needs the program `{program}` (Debian package `{package}`): run `cargo xtask setup`")
        })
}

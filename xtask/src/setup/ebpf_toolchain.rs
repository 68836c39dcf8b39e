//! Finds what builds the eBPF object: a Rust with `core` for it, and `bpf-linker`.
//!
//! Shared with `tracer/build.rs`, so it needs nothing but `std`.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The name under which `cargo xtask setup` links a Rust that has `core` for [`TARGET`] into rustup.
pub(crate) const LINKED: &str = "tcptrace-bpf";
/// What the kernel programs are compiled for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// The oldest `bpf-linker` that is known to work, and the one that setup installs.
pub(crate) const LINKER_VERSION: &str = "0.13.0";
/// The crates that use an unstable feature (assembler for the kernel's machine), for `RUSTC_BOOTSTRAP`:
/// these, and no others, may do so on a stable Rust.
pub(crate) const UNSTABLE_CRATES: &str = "aya_ebpf,tcptrace_ebpf";
/// Where distributions install their Rust.
pub(crate) const SYSTEM_SYSROOT: &str = "/usr";

/// A Rust that can build the kernel programs.
#[derive(Debug)]
pub(crate) enum Rust {
    /// rustup's toolchain [`LINKED`]: stable, with `core` already compiled.
    Linked { sysroot: PathBuf },
    /// Without rustup: a Rust on this machine that has `core` already compiled.
    System { sysroot: PathBuf },
    /// rustup's `nightly` with `rust-src`: cargo compiles `core` itself (`-Z build-std=core`).
    Nightly,
}

impl Rust {
    /// Takes the first that is there: a compiled `core` before a nightly.
    pub(crate) fn find() -> Option<Self> {
        let Some(rustup) = find_program("rustup") else {
            let on_path = find_program("rustc").and_then(|rustc| sysroot(&mut Command::new(rustc)));
            return on_path
                .into_iter()
                .chain([PathBuf::from(SYSTEM_SYSROOT)])
                .find(|sysroot| has_core(sysroot))
                .map(|sysroot| Self::System { sysroot });
        };
        let of = |name| sysroot(Command::new(&rustup).args(["run", name, "rustc"]));
        if let Some(sysroot) = of(LINKED).filter(|sysroot| has_core(sysroot)) {
            return Some(Self::Linked { sysroot });
        }
        of("nightly")
            .filter(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core").is_dir())
            .map(|_| Self::Nightly)
    }
}

impl fmt::Display for Rust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked { sysroot } => write!(f, "rustup's {LINKED}, {}", sysroot.display()),
            Self::System { sysroot } => write!(f, "the Rust in {}", sysroot.display()),
            Self::Nightly => f.write_str("rustup's nightly, with rust-src"),
        }
    }
}

/// Whether this Rust has a compiled `core` for [`TARGET`].
pub(crate) fn has_core(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    libraries.read_dir().is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                entry
                    .file_name()
                    .as_encoded_bytes()
                    .starts_with(b"libcore-")
            })
        })
    })
}

fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let printed = stdout_of(rustc.args(["--print", "sysroot"]))?;
    Some(PathBuf::from(printed.trim()))
}

/// The first `bpf-linker` that is new enough, with its version.
pub(crate) fn find_linker() -> Option<(PathBuf, String)> {
    programs("bpf-linker").find_map(|linker| {
        let printed = stdout_of(Command::new(&linker).arg("--version"))?;
        let version = printed.split_whitespace().nth(1)?.to_owned();
        (parse_version(&version) >= parse_version(LINKER_VERSION)).then_some((linker, version))
    })
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.splitn(3, '.');
    let mut number = || {
        let part = parts.next()?;
        let end = part.find(|c: char| !c.is_ascii_digit());
        part[..end.unwrap_or(part.len())].parse().ok()
    };
    Some((number()?, number()?, number()?))
}

/// The first program of that name in [`search_path`].
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    programs(name).next()
}

fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    search_path()
        .into_iter()
        .map(move |directory| directory.join(name))
        .filter(|program| program.is_file())
}

/// `PATH`, and after it where `cargo install` puts programs, which need not be on it.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home.or_else(home).map(|cargo| cargo.join("bin")))
        .collect()
}

fn stdout_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("0.13.0"), Some((0, 13, 0)));
        assert!(parse_version("0.9.14") < parse_version("0.13.0"));
        assert_eq!(parse_version("0.14.0-rc.1"), Some((0, 14, 0)));
        assert_eq!(parse_version("0.13"), None);
        assert_eq!(parse_version("unknown"), None);
    }
}

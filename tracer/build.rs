//! Builds the kernel programs and leaves them as `tcptrace-ebpf` in `OUT_DIR`, for the tracer to embed.

#[path = "../xtask/src/setup/ebpf_toolchain.rs"]
mod ebpf_toolchain;

use std::{env, path::Path};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};
use ebpf_toolchain::{LINKED, LINKER_VERSION, Rust, UNSTABLE_CRATES};

fn main() {
    // What the object is made of, beside the folder that aya-build names itself.
    for path in [
        "../tracer-common",
        "../Cargo.toml",
        "../Cargo.lock",
        "../xtask/src/setup/ebpf_toolchain.rs",
        "build.rs",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(error) = build() {
        println!("cargo::error={}", format!("{error:#}").replace('\n', " "));
    }
}

fn build() -> Result<()> {
    let rust = Rust::find().context(
        "no Rust on this machine builds the eBPF programs; run `cargo xtask setup` to install one",
    )?;
    let (linker, _) = ebpf_toolchain::find_linker().with_context(|| {
        format!(
            "no bpf-linker {LINKER_VERSION} or newer on this machine; run `cargo xtask setup` to install one"
        )
    })?;

    let mut path = ebpf_toolchain::search_path();
    if let Rust::System { sysroot } = &rust {
        path.insert(0, sysroot.join("bin"));
    }
    set("PATH", env::join_paths(path)?);
    set("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker);
    // What the inner cargo prints comes out as warnings: leave it only the real ones.
    set("CARGO_TERM_QUIET", "true");
    let toolchain = match &rust {
        Rust::Nightly => Toolchain::Nightly,
        Rust::Linked { .. } | Rust::System { .. } => {
            set("RUSTC_BOOTSTRAP", UNSTABLE_CRATES);
            Toolchain::Custom(LINKED)
        }
    };

    let root_dir = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../tracer-ebpf");
    let package = Package {
        name: "tracer-ebpf",
        root_dir: root_dir
            .to_str()
            .context("the path of this checkout is not UTF-8")?,
        ..Package::default()
    };
    aya_build::build_ebpf([package], toolchain)
        .with_context(|| format!("the eBPF programs did not build with {rust}"))
}

fn set(variable: &str, value: impl AsRef<std::ffi::OsStr>) {
    // SAFETY: this program has one thread, which is not reading the environment meanwhile.
    unsafe { env::set_var(variable, value) };
}

//! `cargo xtask COMMAND`: sets up, builds, runs and tests tcptrace.

mod bench;
mod build;
mod lint;
mod page;
mod picture;
mod process;
mod setup;
mod soak;
mod test;
mod vm;
mod watch;

use std::{path::Path, process::ExitCode};

use clap::Parser;
use setup::Scope;

/// Sets up, builds, runs and tests tcptrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Install what is missing to build, run, lint and test tcptrace.
    ///
    /// On Debian through apt-get; elsewhere it says what to install.
    Setup,
    /// Install what is missing, build tcptrace, one file without shared libraries, and print where it is.
    Build,
    Watch(watch::Args),
    Test(test::Args),
    Vm(vm::Args),
    Bench(bench::Args),
    Soak(soak::Args),
    Picture(picture::Args),
    /// Run rustfmt and clippy on user space and on the kernel programs.
    Lint,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Setup => setup::ensure(Scope::All),
        Command::Build => build::run(),
        Command::Watch(args) => watch::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Picture(args) => picture::run(&args),
        Command::Lint => lint::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace's `Cargo.toml`.
fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

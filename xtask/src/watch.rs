//! `cargo xtask watch`: from a fresh clone to live events.

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result};

use crate::{
    build, process,
    setup::{self, Scope},
};

/// Install what is missing, build tcptrace and run `tcptrace watch` as root.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to pass to `tcptrace watch`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let tcptrace = build::tcptrace()?;
    let mut command = process::as_root(tcptrace)?;
    command.arg("watch").args(&args.args);
    // Takes the place of this process: signals and the exit code are tcptrace's own.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run `{}`", process::shown(&command)))
}

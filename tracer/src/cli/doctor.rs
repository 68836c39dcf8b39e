//! `tcptrace doctor`: what works here, and what is in the way.

use std::{io, process::ExitCode};

use anyhow::Context as _;
use clap::ValueEnum;

use super::kernel::KernelArgs;
use crate::{
    doctor::{self, text},
    error::{Kind, Result},
    kernel::filters::Filters,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    kernel: KernelArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// Exit code 3 where tracing does not work; the report says why.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let report = doctor::examine(&args.kernel.options(Filters::default()));
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => text::write(&mut out, &report).context("stdout")?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &report).context("stdout")?;
            println!();
        }
    }
    Ok(ExitCode::from(if report.ready {
        0
    } else {
        Kind::Unsupported.exit_code()
    }))
}

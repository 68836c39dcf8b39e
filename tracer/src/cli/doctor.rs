//! `tcptrace doctor`: what works here, and what is in the way.

use std::io;

use anyhow::Context as _;
use clap::ValueEnum;

use super::kernel::KernelArgs;
use crate::{
    doctor::{self, text},
    error::{Error, Result},
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

pub(super) fn run(args: &Args) -> Result<()> {
    let report = doctor::examine(&args.kernel.options(Filters::default()));
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => text::write(&mut out, &report).context("stdout")?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &report).context("stdout")?;
            println!();
        }
    }
    if report.ready {
        Ok(())
    } else {
        Err(Error::unsupported(
            "tracing does not work here",
            report.todo.join("\n  "),
        ))
    }
}

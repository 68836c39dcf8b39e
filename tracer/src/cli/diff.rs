//! `tcptrace diff`: what changed between recorded traces.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{
    output::{self, Output},
    recorded,
};
use crate::{
    diff::{By, Diff, Per, Run},
    document::{markdown, text},
    error::{Error, Result},
};

/// Pids, times, namespaces and ephemeral ports (those of net.ipv4.ip_local_port_range) are not compared; processes of a name are
/// put together.
///
/// Change is told from chance: with one base run a difference is noise up to three times the root of the sum
/// of both counts (as for a Poisson distribution), or 5 % of the count. Such events come in bursts, so give
/// several base runs, four or more: then noise is also what they differ among themselves, up to the 99 %
/// quantile of Student's t times their standard deviation. A time's quantile has changed when more (or fewer)
/// connections are beyond the base's quantile than chance explains, and it is outside those of all base runs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// BASE and NEW; only NEW with --base
    #[arg(value_name = "FILE", required = true, num_args = 1..=2)]
    files: Vec<PathBuf>,
    /// Several base runs: --base A B C -- NEW
    #[arg(long, value_name = "FILE", num_args = 1..)]
    base: Vec<PathBuf>,
    /// What processes are put together by
    #[arg(long, value_enum, default_value_t = By::Program)]
    by: By,
    /// What counts are divided by to make the runs comparable
    #[arg(long, value_enum, default_value_t = Per::Run)]
    per: Per,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Rows of each table; JSON has them all
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Tables
    Text,
    /// One JSON object, see docs/schema.md
    Json,
    /// Markdown, for a pull request
    Markdown,
}

pub(super) fn run(args: Args) -> Result<()> {
    args.output.is_apart(args.base.iter().chain(&args.files))?;
    let (bases, new) = match (args.base.as_slice(), args.files.as_slice()) {
        ([], [base, new]) => (vec![base.clone()], new),
        ([_, ..], [new]) => (args.base.clone(), new),
        _ => {
            return Err(Error::usage(
                "a comparison needs at least one base run and one new run",
                "tcptrace diff BASE NEW, or tcptrace diff --base A B C -- NEW",
            ));
        }
    };
    let read = |path: &Path| {
        let (aggregate, truncated) = recorded::read(path)?;
        Ok(Run::of(
            path.display().to_string(),
            aggregate,
            truncated,
            args.by,
        ))
    };
    let bases = bases
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>>>()?;
    let diff = Diff::of(&bases, &read(new)?, args.by, args.per);
    let text = match args.format {
        Format::Text => text::render(&diff.document(args.top), args.output.width()),
        Format::Json => output::json(&diff)?,
        Format::Markdown => markdown::render(&diff.document(args.top)),
    };
    args.output.write(&text)
}

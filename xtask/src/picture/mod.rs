//! `cargo xtask picture`: README's picture of the screen, taken from a real run.

mod svg;

use std::{fs, process::Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{
    build, process,
    setup::{self, Scope},
    workspace,
};

/// Take README's picture of the screen: docs/screen.svg.
///
/// Real programs get into real trouble in a network namespace of their own, tcptrace watches them in tmux,
/// and what it shows after a minute becomes an SVG.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Columns of the terminal.
    #[arg(long, default_value_t = 132)]
    columns: u16,
    /// Lines of the terminal.
    #[arg(long, default_value_t = 38)]
    lines: u16,
}

const SCENE: &str = include_str!("scene.sh");

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let tcptrace = build::tcptrace()?;
    let (columns, lines) = (args.columns.to_string(), args.lines.to_string());
    let output = process::as_root("unshare")?
        .args(["--net", "sh", "-c", SCENE, "scene.sh"])
        .arg(tcptrace)
        .args([columns, lines])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run unshare as root")?;
    if !output.status.success() {
        bail!("the scene failed ({})", output.status);
    }
    let screen = String::from_utf8(output.stdout).context("the screen is not text")?;
    let picture = svg::svg(&screen, args.columns.into(), "tcptrace watch");
    let path = workspace().join("docs/screen.svg");
    fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("{}", path.display());
    Ok(())
}

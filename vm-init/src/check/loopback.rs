//! The machine itself: it shows a BTF, and a TCP connection over the loopback interface works.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::peers;

pub(super) fn run() -> Result<()> {
    let btf = fs::metadata("/sys/kernel/btf/vmlinux").context("this kernel shows no BTF")?;
    ensure!(btf.len() > 0, "this kernel's BTF is empty");
    println!("{:?}", peers::connect_once()?);
    Ok(())
}

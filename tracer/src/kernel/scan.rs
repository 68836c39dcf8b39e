//! Walks over the sockets that exist.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{Ebpf, programs::Iter};

/// Reads the iterator `program` to its end: the kernel runs the program for every open file.
///
/// # Errors
///
/// When the iterator can't be attached or read.
pub(super) fn walk(ebpf: &mut Ebpf, program: &str) -> anyhow::Result<()> {
    let program: &mut Iter = ebpf
        .program_mut(program)
        .with_context(|| format!("no program {program} in the eBPF object"))?
        .try_into()?;
    let link = program.attach()?;
    let mut file = program.take_link(link)?.into_file()?;
    let mut nothing = Vec::new();
    file.read_to_end(&mut nothing)
        .context("the walk over open files failed")?;
    Ok(())
}

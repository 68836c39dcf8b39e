//! Loads kernel modules. Their order is the plan's business.

use std::fs::File;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// Loads one module file; one that is there already is fine.
pub(crate) fn load(path: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening the module {path}"))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("loading the module {path}")),
    }
}

//! Kernel time of each program's runs, while the kernel measures it: a pass of its own, as measuring costs too.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::process::Program;

/// What one program did during a run of the load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Runs {
    pub(crate) program: String,
    pub(crate) runs: u64,
    /// Of one run, with some ns of what measuring takes.
    pub(crate) ns: f64,
}

/// Lets the kernel measure programs as long as the descriptor is open (`BPF_ENABLE_STATS`, Linux 5.8).
pub(crate) fn enable() -> Result<OwnedFd> {
    const BPF_ENABLE_STATS: libc::c_int = 32;
    /// `union bpf_attr`, of which this command reads the first field: `BPF_STATS_RUN_TIME`.
    #[repr(C)]
    struct Attribute([u32; 32]);
    let attribute = Attribute([0; 32]);
    // SAFETY: the attribute is larger than the command's part of it, zeroed, and outlives the call.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_ENABLE_STATS,
            &raw const attribute,
            size_of::<Attribute>(),
        )
    };
    let descriptor = libc::c_int::try_from(descriptor)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error())
            .context("the kernel does not measure eBPF programs");
    }
    // SAFETY: the kernel has just given this process the descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The names of all programs in the kernel, by id.
pub(crate) fn names() -> Result<BTreeMap<u64, String>> {
    let output = Command::new("bpftool")
        .args(["--json", "prog", "show"])
        .output()
        .context("cannot run bpftool")?;
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).context("bpftool prog show")?;
    let name = |program: &serde_json::Value| {
        let name = program["name"].as_str().unwrap_or("?").to_owned();
        Some((program["id"].as_u64()?, name))
    };
    Ok(list.iter().filter_map(name).collect())
}

/// What programs did between two readings, the most time first; those that did not run are left out.
pub(crate) fn between(
    before: &[Program],
    after: &[Program],
    names: &BTreeMap<u64, String>,
) -> Vec<Runs> {
    let ran = |now: &Program| {
        let before = before.iter().find(|before| before.id == now.id)?;
        let runs = now.runs - before.runs;
        (runs > 0).then(|| Runs {
            program: names.get(&now.id.into()).cloned().unwrap_or_default(),
            runs,
            ns: (now.ns - before.ns) as f64 / runs as f64,
        })
    };
    let mut all: Vec<Runs> = after.iter().filter_map(ran).collect();
    all.sort_by(|a, b| b.total().total_cmp(&a.total()));
    all
}

impl Runs {
    /// Of all runs, ns.
    pub(crate) fn total(&self) -> f64 {
        self.runs as f64 * self.ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(id: u32, runs: u64, ns: u64) -> Program {
        Program {
            id,
            runs,
            ns,
            skipped: 0,
        }
    }

    #[test]
    fn the_program_that_takes_most_time_comes_first() {
        let before = [program(1, 10, 100), program(2, 0, 0), program(3, 5, 5)];
        let after = [program(1, 20, 200), program(2, 1, 1_000), program(3, 5, 5)];
        let names = BTreeMap::from([(1, "a".to_owned()), (2, "b".to_owned())]);
        let runs = between(&before, &after, &names);
        let shown: Vec<_> = runs
            .iter()
            .map(|it| (&*it.program, it.runs, it.ns))
            .collect();
        assert_eq!(shown, [("b", 1, 1_000.0), ("a", 10, 10.0)]);
    }
}

//! What the benchmark ran on, and with what.

use std::{collections::BTreeMap, fs, path::Path, process::Command, thread};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// A machine and its programs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: u64,
    /// The load average of the last minute before the first measurement: what else the machine had to do.
    pub(crate) load_average: String,
    pub(crate) versions: BTreeMap<&'static str, String>,
}

impl Machine {
    pub(crate) fn read(tcptrace: &Path) -> Result<Self> {
        let read = |path| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let cpuinfo = read("/proc/cpuinfo")?;
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let meminfo = read("/proc/meminfo")?;
        let kib = meminfo
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse::<u64>().ok());
        let average = read("/proc/loadavg")?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu: cpu
                .unwrap_or("unknown")
                .trim_start_matches(['\t', ' ', ':'])
                .to_owned(),
            processors: processors(),
            memory_gib: kib.unwrap_or(0) >> 20,
            load_average: average.split(' ').next().unwrap_or_default().to_owned(),
            versions: BTreeMap::from([
                ("tcptrace", said(Command::new(tcptrace).arg("--version"))?),
                ("bpftrace", said(Command::new("bpftrace").arg("--version"))?),
                ("libbpf-tools", package("libbpf-tools")?),
                ("nginx", package("nginx-light")?),
                ("redis-server", package("redis-server")?),
                ("wrk", package("wrk")?),
            ]),
        })
    }
}

/// Processors that are there.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

fn package(name: &str) -> Result<String> {
    said(Command::new("dpkg-query").args(["--show", "--showformat", "${Version}", name]))
}

/// The last word of what a command prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.split_whitespace().next_back();
    Ok(last.unwrap_or("unknown").to_owned())
}

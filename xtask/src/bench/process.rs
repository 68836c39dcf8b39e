//! What `/proc` tells of a running tracer: processor time, memory, and its programs and maps in the kernel.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde::Serialize;

/// A process.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// Processor time since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// All of it, ns.
    ns: u64,
    /// In the program, and in the kernel on its behalf, in ticks: only how they compare is of use.
    user: u64,
    system: u64,
}

/// Processor time, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Clock {
    /// What has been used since an earlier reading.
    pub(crate) fn since(self, before: Self) -> Cpu {
        let seconds = (self.ns - before.ns) as f64 / 1e9;
        let (user, system) = (self.user - before.user, self.system - before.system);
        let share = user as f64 / ((user + system).max(1)) as f64;
        Cpu {
            user: seconds * share,
            system: seconds * (1.0 - share),
        }
    }
}

/// Memory, bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    /// Resident, without the mapped rings.
    pub(crate) resident: u64,
    /// The kernel's ring buffers.
    pub(crate) rings: u64,
    /// The kernel's other maps.
    pub(crate) maps: u64,
}

/// A program in the kernel, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) id: u32,
    /// Runs, and the time they took, while the kernel measures.
    pub(crate) runs: u64,
    pub(crate) ns: u64,
    /// Runs that the kernel left out.
    pub(crate) skipped: u64,
}

/// `BPF_MAP_TYPE_RINGBUF` and `BPF_MAP_TYPE_PERF_EVENT_ARRAY`, `include/uapi/linux/bpf.h`.
const RINGS: [u64; 2] = [27, 4];

impl Process {
    fn file(self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(name)
    }

    fn read(self, name: &str) -> Result<String> {
        let path = self.file(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Bytes that it has written so far.
    pub(crate) fn written(self) -> Result<u64> {
        number(&self.read("io")?, "wchar:").context("no wchar in io")
    }

    /// Processor time so far, of threads that have ended too. Its clock tells nanoseconds, `stat` tells only in ticks how they are
    /// split.
    pub(crate) fn clock(self) -> Result<Clock> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.0.try_into()?))?;
        let ns = Duration::from(clock_gettime(clock)?)
            .as_nanos()
            .try_into()?;
        let stat = self.read("stat")?;
        let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
        let mut ticks = after_name.split_whitespace().skip(11).map(str::parse);
        let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
            bail!("no times in stat: {stat}");
        };
        Ok(Clock { ns, user, system })
    }

    /// Memory now.
    pub(crate) fn memory(self) -> Result<Memory> {
        let mut memory = Memory {
            resident: resident(&self.read("smaps")?),
            rings: 0,
            maps: 0,
        };
        for text in self.descriptors()? {
            let (Some(kind), Some(bytes)) = (number(&text, "map_type:"), number(&text, "memlock:"))
            else {
                continue;
            };
            if RINGS.contains(&kind) {
                memory.rings += bytes;
            } else {
                memory.maps += bytes;
            }
        }
        Ok(memory)
    }

    /// Its programs in the kernel, each once.
    pub(crate) fn programs(self) -> Result<Vec<Program>> {
        let mut programs: Vec<_> = self
            .descriptors()?
            .iter()
            .filter_map(|text| program(text))
            .collect();
        programs.sort_by_key(|program| program.id);
        programs.dedup_by_key(|program| program.id);
        Ok(programs)
    }

    /// What the kernel tells of each descriptor; one that is closed meanwhile is left out.
    fn descriptors(self) -> Result<Vec<String>> {
        let folder = self.file("fdinfo");
        let files = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let read = |file: io::Result<fs::DirEntry>| fs::read_to_string(file?.path());
        Ok(files.filter_map(|file| read(file).ok()).collect())
    }
}

fn number(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

/// Bytes in memory, but for the pages that are mapped from the kernel's rings: those are not the process' own.
fn resident(smaps: &str) -> u64 {
    let mut is_ring = false;
    let mut kib = 0;
    for line in smaps.lines() {
        // `7f8eeefff000-7f8ef0000000 r--s 00001000 00:10 1038    anon_inode:bpf-map`
        if line
            .as_bytes()
            .first()
            .is_some_and(|byte| !byte.is_ascii_uppercase())
        {
            is_ring =
                line.ends_with("anon_inode:bpf-map") || line.ends_with("anon_inode:[perf_event]");
        } else if let Some(rss) = line.strip_prefix("Rss:").filter(|_| !is_ring) {
            kib += rss.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        }
    }
    kib << 10
}

/// `kernel/bpf/syscall.c: bpf_prog_show_fdinfo`.
fn program(fdinfo: &str) -> Option<Program> {
    // A link has a program's id too, and no program's type.
    number(fdinfo, "prog_type:")?;
    Some(Program {
        id: number(fdinfo, "prog_id:")?.try_into().ok()?,
        runs: number(fdinfo, "run_cnt:")?,
        ns: number(fdinfo, "run_time_ns:")?,
        skipped: number(fdinfo, "recursion_misses:").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_rings_are_not_the_process_own_memory() {
        let smaps = "\
7f8eeefff000-7f8ef0000000 r--s 00001000 00:10 1038                       anon_inode:bpf-map
Rss:               16388 kB
Pss:                8194 kB
7f8ef0000000-7f8ef0021000 rw-p 00000000 00:00 0
Rss:                 100 kB
7f8ef0000000-7f8ef0021000 rw-p 00000000 00:00 0                          [heap]
Rss:                  28 kB
";
        assert_eq!(resident(smaps), 128 << 10);
    }

    #[test]
    fn processor_time_is_split_as_the_ticks_of_the_same_time_are() {
        let clock = |ns, user, system| Clock { ns, user, system };
        let cpu = clock(3_000_000_000, 150, 60).since(clock(1_000_000_000, 140, 30));
        assert_eq!((cpu.user, cpu.system), (0.5, 1.5));
    }

    #[test]
    fn a_link_is_no_program() {
        let text = "prog_type:\t26\nprog_jited:\t1\nprog_id:\t7\nrun_time_ns:\t100\nrun_cnt:\t3\nrecursion_misses:\t2\n";
        let found = Program {
            id: 7,
            runs: 3,
            ns: 100,
            skipped: 2,
        };
        assert_eq!(program(text), Some(found));
        assert_eq!(
            program("link_type:\ttracing\nlink_id:\t3\nprog_id:\t7\n"),
            None
        );
    }
}

//! What the kernel programs have counted: the maps that a running trace reads.

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray},
};
use tracer_common::{
    conn::{Conn, Tuple, flag},
    hook::{Counters, Hook},
    process::{Process, ProcessKey},
    storm::{FdKey, Storm, TwKey},
};

use super::{counters::HookRow, load::map, misses, session::Session};

impl Session {
    /// Each hook's counters, summed over CPUs, and what the kernel skipped.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn counters(&mut self) -> anyhow::Result<Vec<HookRow>> {
        let rows = PerCpuArray::<_, Counters>::try_from(
            self.ebpf.map("COUNTERS").context("map COUNTERS")?,
        )?;
        let mut result = Vec::new();
        for hook in Hook::ALL {
            let mut counters = row(&rows, hook)?;
            if hook == Hook::State {
                counters.unseen += self.ended_unseen;
            }
            let attached = self.attached.iter().find(|attached| attached.hook == hook);
            let skipped = attached.map_or((0, 0), |attached| {
                (
                    misses::recursions(&self.ebpf, attached.rung),
                    self.probes.missed(hook),
                )
            });
            let rung = attached.map(|attached| attached.rung.name);
            result.push(HookRow::new(hook, rung, skipped, &counters));
        }
        Ok(result)
    }

    /// Instructions that the verifier went through to accept a program; `None` before 5.16, which does not
    /// tell, and for a program that is not loaded.
    #[must_use]
    pub fn verified_instructions(&self, program: &str) -> Option<u64> {
        misses::told(&self.ebpf, program, "verified_insns:")
    }

    /// The processes that the kernel programs know.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn processes(&mut self) -> anyhow::Result<Vec<(ProcessKey, Process)>> {
        entries(&mut self.ebpf, "PROCESSES")
    }

    /// The open connections of an owner, and when each was born (ns since boot; `None` for those that were
    /// there before).
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn connections_of(
        &mut self,
        is_wanted: impl Fn(&ProcessKey) -> bool,
    ) -> anyhow::Result<Vec<(Tuple, Option<u64>)>> {
        let map = map::<_, HashMap<_, u64, Conn>>(&mut self.ebpf, "CONNS")?;
        let mut found = Vec::new();
        // An entry that goes away meanwhile is none.
        for (_, conn) in map.iter().flatten() {
            if is_wanted(&conn.owner) {
                let is_found = conn.flags & flag::FOUND != 0;
                found.push((conn.tuple, (!is_found).then_some(conn.born)));
            }
        }
        Ok(found)
    }

    /// One of them.
    pub fn process(&mut self, key: &ProcessKey) -> Option<Process> {
        map::<_, HashMap<_, ProcessKey, Process>>(&mut self.ebpf, "PROCESSES")
            .ok()?
            .get(key, 0)
            .ok()
    }

    /// Forgets a process that ended and owns no socket.
    pub fn forget(&mut self, key: &ProcessKey) {
        remove::<_, Process>(&mut self.ebpf, "PROCESSES", &[*key]);
    }

    /// Forgets storms that can't grow any more.
    pub fn forget_storms(&mut self, fd: &[FdKey], tw: &[TwKey]) {
        remove::<_, Storm>(&mut self.ebpf, "FD_STORMS", fd);
        remove::<_, Storm>(&mut self.ebpf, "TW_STORMS", tw);
    }

    /// How many connections were accepted unseen: when it changes, a walk may find who holds them.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn unseen_accepts(&mut self) -> anyhow::Result<u64> {
        Ok(map::<_, Array<_, u64>>(&mut self.ebpf, "UNSEEN")?.get(&0, 0)?)
    }

    /// Descriptor failures so far.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn fd_storms(&mut self) -> anyhow::Result<Vec<(FdKey, Storm)>> {
        entries(&mut self.ebpf, "FD_STORMS")
    }

    /// Time-wait overflows so far.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn tw_storms(&mut self) -> anyhow::Result<Vec<(TwKey, Storm)>> {
        entries(&mut self.ebpf, "TW_STORMS")
    }
}

/// A hook's counters, summed over CPUs. A run that is under way has entered and not left yet: the row is
/// read again then, as often as it takes on a busy machine and not forever.
fn row(rows: &PerCpuArray<&MapData, Counters>, hook: Hook) -> anyhow::Result<Counters> {
    const TRIES: usize = 100;
    let mut row = Counters::default();
    for _ in 0..TRIES {
        let cpus = rows.get(&(hook as u32), 0)?;
        row = cpus
            .iter()
            .fold(Counters::default(), |sum, cpu| sum.plus(cpu));
        if row.balanced() {
            break;
        }
    }
    Ok(row)
}

/// Removes entries.
fn remove<K: aya::Pod, V: aya::Pod>(ebpf: &mut Ebpf, name: &str, keys: &[K]) {
    if let Ok(mut map) = map::<_, HashMap<_, K, V>>(ebpf, name) {
        for key in keys {
            // It is gone already, or stays until the trace ends: neither changes a number.
            let _ = map.remove(key);
        }
    }
}

pub(super) fn entries<K: aya::Pod, V: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &str,
) -> anyhow::Result<Vec<(K, V)>> {
    let map = map::<_, HashMap<_, K, V>>(ebpf, name)?;
    map.iter()
        .collect::<Result<_, _>>()
        .with_context(|| format!("map {name} can't be read"))
}

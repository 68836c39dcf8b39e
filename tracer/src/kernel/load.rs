//! Makes the maps and tells the kernel programs what they need to know.

use anyhow::Context as _;
use aya::{
    Btf, Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, LpmTrie, MapData, RingBuf, lpm_trie::Key},
};
use tracer_common::{config::Config, conn::Address, fields::Fields, process::TICK};

use super::{
    btf::KernelTypes,
    filters::{Filters, comm_key, trie_key},
    known,
    object::OBJECT,
    session::Options,
};
use crate::error::{Error, Result};

pub(super) fn config(types: &KernelTypes, filters: &Filters) -> Config {
    // As loosely as it was decided that the programs may be attached.
    let has = |tracepoint, known| {
        let prototype = types.prototype_of_tracepoint(tracepoint);
        u32::from(prototype.is_some_and(|found| known::begins(known, &found)))
    };
    Config {
        events: filters.event_bits(),
        filters: filters.bits(),
        ring_mark: 1 << 20,
        rare_mark: 64 << 10,
        task_pt_regs: u32::from(types.has_helper("task_pt_regs")),
        task_btf: u32::from(types.has_helper("get_current_task_btf")),
        guarded: u32::from(
            types
                .prototype_of_function("bpf_prog_inc_misses_counter")
                .is_some(),
        ),
        retransmit_err: has("tcp_retransmit_skb", known::RETRANSMIT_WITH_ERROR),
        reset_reason: has("tcp_send_reset", known::RESET_WITH_REASON),
        sock_diag: 0,
        cgroup: filters.cgroup.unwrap_or(0),
    }
}

/// Makes the maps; programs are loaded one by one later.
pub(super) fn load(btf: &Btf, fields: &Fields, config: &Config, options: &Options) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .override_global("FIELDS", fields, true)
        .override_global("CONFIG", config, true)
        .map_max_entries("EVENTS", options.ring_size)
        .map_max_entries("RARE", options.rare_ring_size)
        .map_max_entries("CONNS", options.max_sockets);
    if config.sock_diag == 1 {
        loader.map_max_entries("COOKIES", options.max_sockets);
    }
    let level: u8 = if options.verbose { 4 } else { 0 };
    loader.override_global(aya_log::LEVEL, &level, false);
    // Errors only, when there are any. Without a log aya's second attempt, for the log, turns every refusal into EINVAL.
    loader.verifier_log_level(VerifierLogLevel::STATS);
    loader.load(OBJECT).map_err(|error| {
        Error::unsupported(
            format!(
                "the kernel refuses the maps: {:#}",
                anyhow::Error::from(error)
            ),
            "tcptrace needs CAP_BPF and CAP_PERFMON, and on 5.10 a raised RLIMIT_MEMLOCK",
        )
    })
}

/// When a process started, ns since boot, as finely as `/proc` tells.
fn started(pid: u32) -> anyhow::Result<u64> {
    let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat());
    let stat = stat.with_context(|| format!("--pid {pid}: there is no such process any more"))?;
    Ok(stat.starttime * TICK)
}

pub(super) fn fill_filters(ebpf: &mut Ebpf, filters: &Filters) -> anyhow::Result<()> {
    let mut pids = map::<_, HashMap<_, u32, u64>>(ebpf, "PIDS")?;
    for pid in &filters.pids {
        let start = started(*pid)?;
        pids.insert(pid, start, 0).context("--pid: too many")?;
    }
    let mut comms = map::<_, HashMap<_, [u8; 16], u8>>(ebpf, "COMMS")?;
    for comm in &filters.comms {
        comms
            .insert(comm_key(comm), 1, 0)
            .context("--comm: too many")?;
    }
    let mut ports = map::<_, HashMap<_, u16, u8>>(ebpf, "PORTS")?;
    for port in &filters.ports {
        ports.insert(port, 1, 0).context("--port: too many")?;
    }
    let mut netns = map::<_, HashMap<_, u32, u8>>(ebpf, "NETNS")?;
    for inode in &filters.netns {
        netns.insert(inode, 1, 0).context("--netns: too many")?;
    }
    let mut cidrs = map::<_, LpmTrie<_, Address, u8>>(ebpf, "CIDRS")?;
    for net in &filters.cidrs {
        let (prefix, address) = trie_key(net);
        cidrs
            .insert(&Key::new(prefix, address), 1, 0)
            .context("--cidr: too many")?;
    }
    Ok(())
}

/// Opens a map as its type.
pub(super) fn map<'a, E, T>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<T>
where
    T: TryFrom<&'a mut aya::maps::Map, Error = E>,
    E: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("no map {name} in the eBPF object"))?;
    T::try_from(map).with_context(|| format!("map {name}"))
}

pub(super) fn take_ring(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<RingBuf<MapData>> {
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("no map {name} in the eBPF object"))?;
    Ok(RingBuf::try_from(map)?)
}

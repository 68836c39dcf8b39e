//! Walks over the sockets that exist.

use std::{collections::HashSet, io::Read as _};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
    programs::Iter,
};
use tracer_common::{
    conn::{Listener, ListenerKey},
    process::{Process, ProcessKey, flag},
};

use super::{filters::Filters, load::map, sock_diag};
use crate::identity;

/// Flag of a map's update: not where an entry is.
const BPF_NOEXIST: u64 = 1;
/// As above: only where one is.
const BPF_EXIST: u64 = 2;

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

/// What the iterator would tell, from sock_diag and `/proc`: who holds each socket goes into the map
/// `COOKIES`, where the kernel programs look when they meet the socket. Returns the processes that were
/// not known before, with their names.
///
/// The walk at the start runs before anything is attached that counts listeners or finds sockets, but
/// with the end of processes watched.
///
/// # Errors
///
/// When a map can't be used.
pub(super) fn by_sock_diag(
    ebpf: &mut Ebpf,
    filters: &Filters,
    is_start: bool,
) -> anyhow::Result<Vec<(ProcessKey, [u8; 16])>> {
    let sockets = sock_diag::sockets(&filters.netns);
    let (holder_of, holders) = sock_diag::holders(&sockets, filters);
    let mut new = Vec::new();
    let mut processes = map::<_, HashMap<_, ProcessKey, Process>>(ebpf, "PROCESSES")?;
    for (key, holder) in &holders {
        let mut process = Process {
            comm: holder.comm,
            flags: if holder.passes { flag::PASSES } else { 0 },
            ..Process::default()
        };
        match processes.insert(key, process, BPF_NOEXIST) {
            Ok(()) => new.push((*key, holder.comm)),
            // It is known, or there is no room: then what happens to it is nobody's.
            Err(_) => continue,
        }
        // It may have ended before it had an entry to be marked.
        if !identity::is_alive(key) {
            process.flags |= flag::EXITED;
            processes.insert(key, process, BPF_EXIST).ok();
        }
    }

    let mut cookies = map::<_, HashMap<_, u64, ProcessKey>>(ebpf, "COOKIES")?;
    let mut gone: HashSet<u64> = cookies.keys().collect::<Result<_, MapError>>()?;
    for socket in &sockets {
        if let Some(holder) = holder_of.get(&socket.inode) {
            gone.remove(&socket.cookie);
            keep(&mut cookies, socket.cookie, *holder);
        }
    }
    for cookie in gone {
        cookies.remove(&cookie).ok();
    }
    if is_start {
        let mut listeners = map::<_, HashMap<_, ListenerKey, Listener>>(ebpf, "LISTENERS")?;
        for (key, listener) in sock_diag::listeners(&sockets, &holder_of) {
            listeners.insert(key, listener, BPF_NOEXIST).ok();
        }
    }
    Ok(new)
}

fn keep(cookies: &mut HashMap<&mut MapData, u64, ProcessKey>, cookie: u64, holder: ProcessKey) {
    if let Err(error) = cookies.insert(cookie, holder, 0) {
        log::warn!("no room for the holder of a socket, raise --max-sockets: {error}");
    }
}

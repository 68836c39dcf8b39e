//! Sockets that exist and who holds them, where the kernel's iterator is refused: sock_diag lists the
//! sockets, `/proc/PID/fd` tells who has them.
//!
//! `net/ipv4/inet_diag.c: inet_diag_msg_common_fill` gives each socket a cookie if it has none, and the
//! kernel programs find the same number in the socket (`sock_common.skc_cookie`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::OnceLock,
};

use netlink_packet_sock_diag::{
    constants::{AF_INET, AF_INET6},
    inet::{ExtensionFlags, InetResponseHeader, StateFlags},
};
use procfs::process::Process;
use tracer_common::{
    conn::{Listener, ListenerKey},
    process::{ProcessKey, TICK},
    tcp::state,
};

use super::{
    filters::{Filters, comm_key},
    inet_diag, netns,
};

/// The rung's name.
pub(super) const RUNG: &str = "sock_diag";

/// A socket that a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// `sock_common.skc_cookie`, never used again for another socket.
    pub(super) cookie: u64,
    /// Its inode number in sockfs.
    pub(super) inode: u64,
    /// Where it listens, if it does.
    pub(super) listens: Option<ListenerKey>,
}

/// A process that holds sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The leader's name.
    pub(super) comm: [u8; 16],
    /// Whether `--comm` and `--cgroup` let it in.
    pub(super) passes: bool,
}

/// Whether the kernel lists sockets.
///
/// # Errors
///
/// The kernel's answer; ENOENT where it has no INET_DIAG.
pub(super) fn check() -> io::Result<()> {
    inet_diag::dump(AF_INET, StateFlags::LISTEN, ExtensionFlags::empty(), |_| {})
}

/// The TCP sockets with a descriptor in every namespace that can be seen and that `--netns` lets in.
pub(super) fn sockets(wanted: &[u32]) -> Vec<Found> {
    let inside = netns::each(|place| {
        if wanted.is_empty() || wanted.contains(&place.inode) {
            place.inside(|| list(place.inode).ok())
        } else {
            Some(Vec::new())
        }
    });
    inside.into_values().flatten().collect()
}

/// Those of the namespace that the caller is in.
fn list(netns: u32) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        inet_diag::dump(
            family,
            StateFlags::all() - StateFlags::TIME_WAIT,
            ExtensionFlags::empty(),
            |socket| found.extend(read(&socket.header, netns)),
        )?;
    }
    Ok(found)
}

/// What is used of an answer; `None` for a socket without a descriptor: not accepted yet, or orphaned.
fn read(socket: &InetResponseHeader, netns: u32) -> Option<Found> {
    // `net/core/sock_diag.c: sock_diag_save_cookie` splits it into words, the low one first.
    let [a, b, c, d, rest @ ..] = socket.socket_id.cookie;
    let low = u32::from_ne_bytes([a, b, c, d]);
    let high = u32::from_ne_bytes(rest);
    (socket.inode != 0).then(|| Found {
        cookie: u64::from(high) << 32 | u64::from(low),
        inode: socket.inode.into(),
        listens: (socket.state == state::LISTEN).then(|| ListenerKey {
            laddr: bytemuck::cast(match socket.socket_id.source_address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            }),
            netns,
            lport: socket.socket_id.source_port,
            pad: 0,
        }),
    })
}

/// Who holds each of the sockets, by inode: of several the one that started first, as with the
/// iterator. Of those that started in the same hundredth of a second, the lower pid. And what is known
/// of each holder. Needs CAP_SYS_PTRACE for the processes of other users.
pub(super) fn holders(
    sockets: &[Found],
    filters: &Filters,
) -> (HashMap<u64, ProcessKey>, BTreeMap<ProcessKey, Holder>) {
    let wanted: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let mut holder_of = HashMap::new();
    let mut holders = BTreeMap::new();
    let own = std::process::id();
    for process in procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
    {
        if process.pid().cast_unsigned() == own {
            continue;
        }
        // The descriptors are read by path: the process must be the same before and after.
        let Some(before) = key(&process) else {
            continue;
        };
        let held: Vec<u64> = descriptors(&process)
            .into_iter()
            .filter(|inode| wanted.contains(inode))
            .collect();
        if held.is_empty() || key(&process) != Some(before) {
            continue;
        }
        for inode in held {
            let holder = holder_of.entry(inode).or_insert(before);
            *holder = before.min(*holder);
        }
        holders.insert(before, describe(&process, filters));
    }
    let chosen: HashSet<_> = holder_of.values().collect();
    holders.retain(|key, _| chosen.contains(key));
    (holder_of, holders)
}

/// The process as the kernel programs name it on this rung.
fn key(process: &Process) -> Option<ProcessKey> {
    let stat = process.stat().ok()?;
    Some(ProcessKey {
        start: stat.starttime * TICK,
        tgid: stat.pid.cast_unsigned(),
        pad: 0,
    })
}

/// Inode numbers of the sockets that a process's descriptors stand for, in all its tables.
fn descriptors(process: &Process) -> Vec<u64> {
    let mut inodes = Vec::new();
    let mut walked = None;
    for task in process.tasks().into_iter().flatten().flatten() {
        if walked.is_some_and(|other| share_descriptors(other, task.tid)) {
            continue;
        }
        walked = Some(task.tid);
        let folder = format!("/proc/{}/task/{}/fd", task.pid, task.tid);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            inodes.extend(fs::read_link(entry.path()).ok().and_then(|to| inode(&to)));
        }
    }
    inodes
}

/// The number in `socket:[NUMBER]`.
fn inode(link: &Path) -> Option<u64> {
    let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

/// Whether two threads have one table of descriptors. Where the kernel does not tell (no CONFIG_KCMP),
/// each table is read anew.
fn share_descriptors(a: i32, b: i32) -> bool {
    /// `include/uapi/linux/kcmp.h`
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: the call takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_FILES, 0, 0) == 0 }
}

fn describe(process: &Process, filters: &Filters) -> Holder {
    let comm = process.stat().map(|stat| stat.comm).unwrap_or_default();
    Holder {
        comm: comm_key(&comm),
        passes: (filters.comms.is_empty() || filters.comms.contains(&comm))
            && filters
                .cgroup
                .is_none_or(|wanted| is_in_cgroup(process, wanted)),
    }
}

/// Whether a process's cgroup (v2) is the one with this id, or inside it.
pub(super) fn is_in_cgroup(process: &Process, wanted: u64) -> bool {
    let mut groups = process.cgroups().into_iter().flatten();
    let group = groups.find(|group| group.hierarchy == 0);
    let (Some(mount), Some(group)) = (cgroup_mount(), group) else {
        return false;
    };
    let path = Path::new(&group.pathname);
    path.strip_prefix("/")
        .unwrap_or(path)
        .ancestors()
        .filter_map(|level| fs::metadata(mount.join(level)).ok())
        .any(|folder| folder.ino() == wanted)
}

/// Where control groups (v2) are, asked once: a machine may have thousands of mounts, and all its processes are compared.
fn cgroup_mount() -> Option<&'static Path> {
    static MOUNT: OnceLock<String> = OnceLock::new();
    if MOUNT.get().is_none() {
        let mut mounts = procfs::mounts().unwrap_or_default().into_iter();
        let mount = mounts.find(|mount| mount.fs_vfstype == "cgroup2")?;
        MOUNT.set(mount.fs_file).ok();
    }
    MOUNT.get().map(Path::new)
}

/// The entries of the map `LISTENERS`: an address where several processes listen, or one that is not
/// known, names nobody.
pub(super) fn listeners(
    sockets: &[Found],
    holder_of: &HashMap<u64, ProcessKey>,
) -> Vec<(ListenerKey, Listener)> {
    let mut all: Vec<(ListenerKey, Listener)> = Vec::new();
    for socket in sockets {
        let Some(key) = socket.listens else { continue };
        let owner = holder_of.get(&socket.inode).copied().unwrap_or_default();
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some((_, listener)) => {
                listener.sockets += 1;
                listener.shared |= u32::from(listener.owner != owner);
            }
            None => all.push((
                key,
                Listener {
                    owner,
                    sockets: 1,
                    shared: u32::from(!owner.is_known()),
                },
            )),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _};

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_listed_with_its_cookie() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        let mut cookie = 0_u64;
        let mut len = 8;
        // SAFETY: the kernel writes at most `len` bytes.
        let result = unsafe {
            let to = (&raw mut cookie).cast();
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_COOKIE,
                to,
                (&raw mut len).cast(),
            )
        };
        assert_eq!(result, 0);
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        let expected = Found {
            cookie,
            inode: inode(&link).unwrap(),
            listens: Some(ListenerKey {
                laddr: bytemuck::cast(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets()),
                netns: 7,
                lport: listener.local_addr().unwrap().port(),
                pad: 0,
            }),
        };
        assert!(list(7).unwrap().contains(&expected));
    }

    #[test]
    fn only_links_to_sockets_have_a_sockets_number() {
        assert_eq!(inode(Path::new("socket:[4711]")), Some(4711));
        assert_eq!(inode(Path::new("pipe:[4711]")), None);
    }

    #[test]
    fn threads_of_a_process_share_their_descriptors() {
        let other = std::thread::spawn(|| {
            // SAFETY: no argument, no precondition.
            let tid = unsafe { libc::gettid() };
            share_descriptors(std::process::id().cast_signed(), tid)
        });
        assert!(other.join().unwrap());
    }

    #[test]
    fn an_address_of_several_processes_names_nobody() {
        let at = |lport| ListenerKey {
            lport,
            ..ListenerKey::default()
        };
        let socket = |inode, lport| Found {
            cookie: inode,
            inode,
            listens: Some(at(lport)),
        };
        let process = |tgid| ProcessKey {
            tgid,
            ..ProcessKey::UNKNOWN
        };
        let holder_of = HashMap::from([
            (1, process(10)),
            (2, process(10)),
            (3, process(10)),
            (4, process(11)),
            (5, process(11)),
        ]);
        let sockets = [
            socket(1, 80),
            socket(2, 80),
            socket(3, 81),
            socket(4, 81),
            socket(5, 82),
            socket(6, 82),
            socket(7, 83),
        ];
        let shape: Vec<_> = listeners(&sockets, &holder_of)
            .into_iter()
            .map(|(key, it)| (key.lport, it.owner.tgid, it.sockets, it.shared))
            .collect();
        assert_eq!(
            shape,
            [
                (80, 10, 2, 0),
                (81, 10, 2, 1),
                (82, 11, 2, 1),
                (83, 0, 1, 1)
            ]
        );
    }
}

//! Processes: limits, open descriptors, parents.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use procfs::process::{LimitValue, Process};

use super::tell::Tell;
use crate::{
    fact::{Subject, name},
    identity::{Pid, cgroup},
    kernel::{clock::Epoch, filters::Filters, inet_diag::Socket, netns, sock_diag::is_in_cgroup},
};

/// Processes that the snapshot tells, the fullest first.
const FULLEST: usize = 10;
/// With fewer descriptors than this no process is near a limit that matters.
const FEW: u64 = 16;
/// Processes and sockets that are remembered; beyond that many all are forgotten, and found anew.
const REMEMBERED: usize = 65_536;
/// Ancestors that are told.
const ANCESTORS: usize = 16;

/// Processes as `/proc` tells them.
pub(super) struct Processes {
    epoch: Epoch,
    /// Of which the parents were told.
    told_parents: HashSet<Pid>,
    /// Who holds sockets, by inode, as of the last walk; `None` for those that nobody holds.
    holders: HashMap<u64, Option<Pid>>,
}

/// What a walk over `/proc` found.
pub(super) struct Walk {
    /// Who holds the wanted sockets, by inode.
    pub(super) holders: HashMap<u64, Pid>,
    /// The processes with the largest share of their limit in use.
    pub(super) fullest: Vec<Pid>,
}

impl Processes {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            told_parents: HashSet::new(),
            holders: HashMap::new(),
        }
    }

    fn name(&self, process: &Process) -> Option<Pid> {
        let stat = process.stat().ok()?;
        let pid = stat.pid.cast_unsigned();
        Some(Pid::in_ticks(pid, stat.starttime, self.epoch))
    }

    /// The process, if it is still that one.
    fn open(&self, pid: Pid) -> Option<Process> {
        let process = Process::new(pid.pid.cast_signed()).ok()?;
        (self.name(&process) == Some(pid)).then_some(process)
    }

    /// Walks all processes once.
    pub(super) fn walk(&self, wanted: &HashSet<u64>, filters: &Filters) -> Walk {
        let own = std::process::id().cast_signed();
        let mut holders = HashMap::new();
        let mut fullest = Vec::new();
        for process in procfs::process::all_processes()
            .into_iter()
            .flatten()
            .flatten()
        {
            // A recorded command's trace tells of nobody else.
            let is_outside = |wanted| !is_in_cgroup(&process, wanted);
            if process.pid() == own || filters.cgroup.is_some_and(is_outside) {
                continue;
            }
            let Some(pid) = self.name(&process) else {
                continue;
            };
            let open = if wanted.is_empty() {
                count_descriptors(&process)
            } else {
                let links = descriptors(&process);
                for inode in links.iter().filter_map(|link| socket_inode(link)) {
                    if wanted.contains(&inode) {
                        let holder = holders.entry(inode).or_insert(pid);
                        if pid.start < holder.start {
                            *holder = pid;
                        }
                    }
                }
                links.len() as u64
            };
            if open >= FEW
                && lets_in(filters, &process)
                && let Some((soft, _)) = limits(&process)
                && soft > 0
            {
                fullest.push((open as f64 / soft as f64, pid));
            }
        }
        fullest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Walk {
            holders,
            fullest: fullest
                .into_iter()
                .take(FULLEST)
                .map(|(_, pid)| pid)
                .collect(),
        }
    }

    /// Who holds sockets, by inode. Processes are walked only when a socket is new, or its holder has gone.
    pub(super) fn holders(&mut self, sockets: &[(u32, Socket)]) -> HashMap<u64, Pid> {
        let inodes = sockets.iter().map(|(_, socket)| socket.inode);
        let wanted: HashSet<u64> = inodes.filter(|inode| *inode != 0).collect();
        let is_known = |inode: &u64| match self.holders.get(inode) {
            Some(Some(pid)) => self.open(*pid).is_some(),
            Some(None) => true,
            None => false,
        };
        if !wanted.iter().all(is_known) {
            let found = self.walk(&wanted, &Filters::default()).holders;
            if self.holders.len() > REMEMBERED {
                self.holders.clear();
            }
            for inode in &wanted {
                self.holders.insert(*inode, found.get(inode).copied());
            }
        }
        wanted
            .into_iter()
            .filter_map(|inode| Some((inode, (*self.holders.get(&inode)?)?)))
            .collect()
    }

    /// Tells who a process is, its limits, and how many descriptors it has open.
    pub(super) fn tell(&self, tell: &mut Tell, pid: Pid) -> Option<Process> {
        let process = self.open(pid)?;
        let subject = Subject::Process(pid);
        if let Some((soft, hard)) = limits(&process) {
            tell.number(subject, name::LIMIT_SOFT, soft);
            tell.number(subject, name::LIMIT_HARD, hard);
        }
        tell.number(subject, name::OPEN_FDS, count_descriptors(&process));
        if let Ok(status) = process.status() {
            tell.text(subject, name::COMM, status.name);
            tell.number(subject, name::UID, status.euid);
        }
        if let Ok(cmdline) = process.cmdline() {
            tell.text(subject, name::CMDLINE, cmdline.join(" "));
        }
        if let Ok(text) = fs::read_to_string(format!("/proc/{}/cgroup", pid.pid))
            && let Some(unit) = cgroup::Place::of(&cgroup::path_of(&text)).unit
        {
            tell.text(subject, name::UNIT, unit);
        }
        Some(process)
    }

    /// Tells its ancestors and their limits: a limit is inherited.
    pub(super) fn tell_parents(&mut self, tell: &mut Tell, pid: Pid) {
        let mut child = pid;
        for _ in 0..ANCESTORS {
            if self.told_parents.len() > REMEMBERED {
                self.told_parents.clear();
            }
            if !self.told_parents.insert(child) {
                return;
            }
            let Some(parent) = self.parent(child) else {
                return;
            };
            let subject = Subject::Process(child);
            tell.number(subject, name::PARENT, parent.pid);
            tell.number(subject, name::PARENT_START, parent.start.0);
            if let Some(process) = self.tell(tell, parent)
                && let Some(minfds) = minfds(&process)
            {
                tell.number(Subject::Process(parent), name::MINFDS, minfds);
            }
            child = parent;
        }
    }

    fn parent(&self, pid: Pid) -> Option<Pid> {
        let ppid = self.open(pid)?.stat().ok()?.ppid;
        self.name(&Process::new(ppid).ok()?)
    }

    /// Tells all of a process that has run out of descriptors.
    pub(super) fn tell_troubled(&mut self, tell: &mut Tell, pid: Pid) {
        let Some(process) = self.tell(tell, pid) else {
            return;
        };
        let subject = Subject::Process(pid);
        let links = descriptors(&process);
        let sockets = links.iter().filter(|link| socket_inode(link).is_some());
        tell.number(subject, name::FDS_SOCKET, sockets.count());
        let inotify = count_inotify(&links);
        tell.number(subject, name::FDS_INOTIFY, inotify);
        if let Ok(uid) = process.uid()
            && inotify_is_full(&process, links.len() as u64)
        {
            tell.number(subject, name::INOTIFY_OF_USER, inotify_of(uid));
            let user = netns::inode(format!("/proc/{}/ns/user", pid.pid).as_ref()).ok();
            tell.maybe(subject, name::USER_NAMESPACE, user);
        }
        self.tell_parents(tell, pid);
    }
}

/// Whether the failures can't come from the process's limit, so that the user's inotify instances are
/// worth a walk.
fn inotify_is_full(process: &Process, open: u64) -> bool {
    limits(process).is_some_and(|(soft, _)| open < soft)
}

/// Inotify instances of all processes of a user.
fn inotify_of(uid: u32) -> usize {
    procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| process.uid().is_ok_and(|of| of == uid))
        .map(|process| count_inotify(&descriptors(&process)))
        .sum()
}

fn count_inotify(links: &[String]) -> usize {
    links
        .iter()
        .filter(|link| link.ends_with("anon_inode:inotify"))
        .count()
}

/// RLIMIT_NOFILE, soft and hard.
fn limits(process: &Process) -> Option<(u64, u64)> {
    let number = |value| match value {
        LimitValue::Value(number) => number,
        LimitValue::Unlimited => u64::MAX,
    };
    let limit = process.limits().ok()?.max_open_files;
    Some((number(limit.soft_limit), number(limit.hard_limit)))
}

/// How many descriptors a process has open: the size of its folder from 6.2 on
/// (`fs/proc/fd.c: proc_fd_getattr`), else they are counted.
fn count_descriptors(process: &Process) -> u64 {
    let folder = format!("/proc/{}/fd", process.pid());
    match fs::metadata(&folder) {
        Ok(folder) if folder.size() > 0 => folder.size(),
        _ => fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
    }
}

/// What its descriptors stand for.
fn descriptors(process: &Process) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", process.pid()));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            fs::read_link(entry.path())
                .map_or_else(|_| String::new(), |to| to.to_string_lossy().into_owned())
        })
        .collect()
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn lets_in(filters: &Filters, process: &Process) -> bool {
    let is_named = filters.comms.is_empty()
        || process
            .stat()
            .is_ok_and(|stat| filters.comms.contains(&stat.comm));
    let is_inside = filters.netns.is_empty()
        || netns::inode(format!("/proc/{}/ns/net", process.pid()).as_ref())
            .is_ok_and(|inode| filters.netns.contains(&inode));
    let is_meant = filters.pids.is_empty() || filters.pids.contains(&process.pid().cast_unsigned());
    is_named && is_inside && is_meant
}

/// `minfds` as a supervisord's configuration file has it.
fn minfds(process: &Process) -> Option<i64> {
    let arguments = process.cmdline().ok()?;
    let mut arguments = arguments.iter();
    arguments.find(|argument| argument.ends_with("supervisord"))?;
    let rest: Vec<&str> = arguments.map(String::as_str).collect();
    let given = rest
        .iter()
        .enumerate()
        .find_map(|(at, argument)| match *argument {
            "-c" | "--configuration" => rest.get(at + 1).copied(),
            _ => argument
                .strip_prefix("--configuration=")
                .or_else(|| argument.strip_prefix("-c").filter(|path| !path.is_empty())),
        });
    let path = given.unwrap_or("/etc/supervisor/supervisord.conf");
    let root = format!("/proc/{}/root", process.pid());
    let folder = process.cwd().unwrap_or_default();
    let path = folder.join(path);
    let inside = Path::new(&root).join(path.strip_prefix("/").unwrap_or(&path));
    in_section(&fs::read_to_string(inside).ok()?)
}

/// `minfds` in the section `[supervisord]`.
fn in_section(text: &str) -> Option<i64> {
    text.lines()
        .map(str::trim)
        .skip_while(|line| *line != "[supervisord]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| {
            let (name, value) = line.split_once(['=', ':'])?;
            let value = value.split(';').next()?;
            (name.trim() == "minfds").then(|| value.trim().parse().ok())?
        })
}

#[cfg(test)]
mod tests {
    use tracer_common::process::{ProcessKey, TICK};

    use super::*;

    #[test]
    fn this_process_has_limits_and_descriptors() {
        let myself = Process::myself().unwrap();
        let (soft, hard) = limits(&myself).unwrap();
        assert!(soft > 2 && soft <= hard);
        let _held = fs::File::open("/dev/null").unwrap();
        assert!(descriptors(&myself).iter().any(|link| link == "/dev/null"));
        assert!(count_descriptors(&myself) >= 3);
    }

    #[test]
    fn an_event_and_proc_name_the_same_process() {
        let epoch = Epoch { boot: 1_000 };
        let processes = Processes::new(epoch);
        let myself = Process::myself().unwrap();
        let stat = myself.stat().unwrap();
        let key = |start| ProcessKey {
            start,
            tgid: stat.pid.cast_unsigned(),
            pad: 0,
        };
        let start = stat.starttime * TICK;
        for start in [start, start + TICK - 1] {
            let event = Pid::of(&key(start), epoch);
            assert_eq!(processes.name(&myself), Some(event));
            assert!(processes.open(event).is_some());
        }
        let another = Pid::of(&key(start - 1), epoch);
        assert!(
            processes.open(another).is_none(),
            "a pid that was used before"
        );
    }

    #[test]
    fn minfds_is_that_of_supervisord() {
        let text = "[unix_http_server]\nminfds=1\n[supervisord]\nnodaemon=true\nminfds = 64 ; few\n[program:x]\nminfds=9\n";
        assert_eq!(in_section(text), Some(64));
        assert_eq!(in_section("[supervisord]\n[program:x]\nminfds=9\n"), None);
    }
}

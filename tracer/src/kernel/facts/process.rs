//! Processes: limits, open descriptors, parents.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use procfs::process::Process;

use super::{
    descriptors::{self, socket_inode},
    pace::Pace,
    supervisor,
    tell::Tell,
    turns::Turns,
};
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
/// Processes of which a tick tells again how many descriptors they have.
const AGAIN: usize = 64;
/// Below a share of one in so many descriptors the exact number is of no use to anybody.
const ROOMY: i64 = 4;

/// Processes as `/proc` tells them.
pub(super) struct Processes {
    epoch: Epoch,
    filters: Filters,
    /// Those that were told and have not ended.
    told: Turns<Pid>,
    /// Of which the parents were told.
    told_parents: HashSet<Pid>,
    /// Who holds sockets, by inode, as of the last walk; `None` for those that nobody holds.
    holders: HashMap<u64, Option<Pid>>,
    /// Looks at all descriptors of a process, or of all.
    pace: Pace,
}

/// What a walk over `/proc` found.
pub(super) struct Walk {
    /// Who holds the wanted sockets, by inode.
    pub(super) holders: HashMap<u64, Pid>,
    /// The processes with the largest share of their limit in use.
    pub(super) fullest: Vec<Pid>,
}

impl Processes {
    pub(super) fn new(epoch: Epoch, filters: Filters) -> Self {
        Self {
            epoch,
            filters,
            told: Turns::default(),
            told_parents: HashSet::new(),
            holders: HashMap::new(),
            pace: Pace::default(),
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

    /// Walks all processes that the filters of owners let in, once: a recorded command's trace tells of nobody else.
    pub(super) fn walk(&self, wanted: &HashSet<u64>) -> Walk {
        let own = std::process::id().cast_signed();
        let mut holders = HashMap::new();
        let mut fullest = Vec::new();
        for process in procfs::process::all_processes()
            .into_iter()
            .flatten()
            .flatten()
        {
            if process.pid() == own || !is_meant(&self.filters, &process) {
                continue;
            }
            let Some(pid) = self.name(&process) else {
                continue;
            };
            let open = if wanted.is_empty() {
                descriptors::count(&process)
            } else {
                let links = descriptors::links(&process);
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
                && is_inside(&self.filters, &process)
                && let Some((soft, _)) = descriptors::limits(&process)
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

    /// Who holds sockets, by inode. Processes are walked only when a socket is new, or its holder has gone. Where only some owners'
    /// sockets are asked for, all others are left out.
    pub(super) fn holders(&mut self, sockets: &mut Vec<(u32, Socket)>) -> HashMap<u64, Pid> {
        let inodes = sockets.iter().map(|(_, socket)| socket.inode);
        let wanted: HashSet<u64> = inodes.filter(|inode| *inode != 0).collect();
        let is_known = |inode: &u64| match self.holders.get(inode) {
            Some(Some(pid)) => self.open(*pid).is_some(),
            Some(None) => true,
            None => false,
        };
        if !wanted.iter().all(is_known) {
            let found = self.walk(&wanted).holders;
            if self.holders.len() > REMEMBERED {
                self.holders.clear();
            }
            for inode in &wanted {
                self.holders.insert(*inode, found.get(inode).copied());
            }
        }
        let holders: HashMap<u64, Pid> = wanted
            .into_iter()
            .filter_map(|inode| Some((inode, (*self.holders.get(&inode)?)?)))
            .collect();
        if self.filters.is_of_owners() {
            sockets.retain(|(_, socket)| holders.contains_key(&socket.inode));
        }
        holders
    }

    /// Tells who a process is, its limits, and how many descriptors it has open.
    pub(super) fn tell(&mut self, tell: &mut Tell, pid: Pid) -> Option<Process> {
        let process = self.open(pid)?;
        self.told.insert(pid);
        let subject = Subject::Process(pid);
        tell_limits(tell, subject, &process);
        tell.number(subject, name::OPEN_FDS, descriptors::count(&process));
        let comm = process.stat().ok()?.comm;
        // Who it is changes where it becomes another program.
        if !tell.is_text(&subject, name::COMM, &comm) {
            tell.text(subject, name::COMM, comm);
            if let Ok(status) = process.status() {
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
        }
        Some(process)
    }

    /// Tells how some of those that were told stand now, and which have ended.
    pub(super) fn tell_again(&mut self, tell: &mut Tell) {
        self.pace.tick();
        for pid in self.told.next(AGAIN) {
            self.tell_one_again(tell, pid, ROOMY);
        }
    }

    /// As above, of all, as it is at the end.
    pub(super) fn tell_last(&mut self, tell: &mut Tell) {
        for pid in self.told.next(usize::MAX) {
            self.tell_one_again(tell, pid, i64::MAX);
        }
    }

    fn tell_one_again(&mut self, tell: &mut Tell, pid: Pid, roomy: i64) {
        let subject = Subject::Process(pid);
        let Some(process) = self.open(pid) else {
            self.told.remove(&pid);
            tell.number(subject, name::ENDED, 1);
            tell.forget(&subject);
            return;
        };
        let before = tell.told(&subject, name::OPEN_FDS);
        let open = i64::try_from(descriptors::count(&process)).unwrap_or(i64::MAX);
        let soft = tell.told(&subject, name::LIMIT_SOFT).unwrap_or(0);
        let is_roomy = |open: i64| open.saturating_mul(roomy) < soft;
        if !before.is_some_and(is_roomy) || !is_roomy(open) {
            tell_limits(tell, subject, &process);
            tell.number(subject, name::OPEN_FDS, open);
        }
    }

    /// Tells its ancestors and their limits: a limit is inherited. `parent` is that of a process that may have ended by now.
    pub(super) fn tell_parents(&mut self, tell: &mut Tell, pid: Pid, parent: Option<u32>) {
        let mut child = pid;
        for _ in 0..ANCESTORS {
            if self.told_parents.len() > REMEMBERED {
                self.told_parents.clear();
            }
            if !self.told_parents.insert(child) {
                return;
            }
            let known = parent.filter(|_| child == pid);
            let Some(parent) = self.parent(child, known) else {
                return;
            };
            let subject = Subject::Process(child);
            tell.number(subject, name::PARENT, parent.pid);
            tell.number(subject, name::PARENT_START, parent.start.0);
            if let Some(process) = self.tell(tell, parent)
                && let Some(minfds) = supervisor::minfds(&process)
            {
                tell.number(Subject::Process(parent), name::MINFDS, minfds);
            }
            child = parent;
        }
    }

    /// Whether its ancestors were told.
    pub(super) fn knows_parents(&self, pid: Pid) -> bool {
        self.told_parents.contains(&pid)
    }

    fn parent(&self, pid: Pid, known: Option<u32>) -> Option<Pid> {
        let now = self.open(pid).and_then(|process| process.stat().ok());
        let ppid = match (now, known) {
            (Some(stat), _) => stat.ppid,
            (None, Some(known)) => known.cast_signed(),
            (None, None) => return None,
        };
        let parent = self.name(&Process::new(ppid).ok()?)?;
        // A pid that was used again is that of a later process.
        (parent.start <= pid.start).then_some(parent)
    }

    /// Tells all of a process that has run out of descriptors.
    pub(super) fn tell_troubled(&mut self, tell: &mut Tell, pid: Pid) {
        let Some(process) = self.tell(tell, pid) else {
            return;
        };
        let subject = Subject::Process(pid);
        let Some(links) = self.pace.spend(|| descriptors::links(&process)) else {
            return;
        };
        let sockets = links.iter().filter(|link| socket_inode(link).is_some());
        tell.number(subject, name::FDS_SOCKET, sockets.count());
        let inotify = descriptors::count_inotify(&links);
        tell.number(subject, name::FDS_INOTIFY, inotify);
        if let Ok(uid) = process.uid()
            && inotify_is_full(&process, links.len() as u64)
            && let Some(of_user) = self.pace.spend(|| descriptors::inotify_of(uid))
        {
            tell.number(subject, name::INOTIFY_OF_USER, of_user);
            let user = netns::inode(format!("/proc/{}/ns/user", pid.pid).as_ref()).ok();
            tell.maybe(subject, name::USER_NAMESPACE, user);
        }
    }
}

/// Whether the failures can't come from the process's limit, so that the user's inotify instances are
/// worth a walk.
fn inotify_is_full(process: &Process, open: u64) -> bool {
    descriptors::limits(process).is_some_and(|(soft, _)| open < soft)
}

fn tell_limits(tell: &mut Tell, subject: Subject, process: &Process) {
    if let Some((soft, hard)) = descriptors::limits(process) {
        tell.number(subject, name::LIMIT_SOFT, soft);
        tell.number(subject, name::LIMIT_HARD, hard);
    }
}

/// Whether the filters of owners let it in.
fn is_meant(filters: &Filters, process: &Process) -> bool {
    let is_named = || {
        let stat = process.stat();
        stat.is_ok_and(|stat| filters.comms.contains(&stat.comm))
    };
    (filters.pids.is_empty() || filters.pids.contains(&process.pid().cast_unsigned()))
        && (filters.comms.is_empty() || is_named())
        && filters
            .cgroup
            .is_none_or(|wanted| is_in_cgroup(process, wanted))
}

/// Whether it is in a network namespace that is asked for.
fn is_inside(filters: &Filters, process: &Process) -> bool {
    filters.netns.is_empty()
        || netns::inode(format!("/proc/{}/ns/net", process.pid()).as_ref())
            .is_ok_and(|inode| filters.netns.contains(&inode))
}

#[cfg(test)]
mod tests {
    use tracer_common::process::{ProcessKey, TICK};

    use super::*;

    #[test]
    fn an_event_and_proc_name_the_same_process() {
        let epoch = Epoch { boot: 1_000 };
        let processes = Processes::new(epoch, Filters::default());
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
    fn a_process_that_is_gone_has_its_parents_and_is_told_to_have_ended() {
        let epoch = Epoch { boot: 1_000 };
        let mut processes = Processes::new(epoch, Filters::default());
        let mut tell = Tell::new(epoch);
        let mut facts = crate::aggregate::Aggregate::default();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process::new(child.id().cast_signed()).unwrap();
        let pid = processes.name(&process).unwrap();
        processes.tell(&mut tell, pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        processes.tell_parents(&mut tell, pid, Some(std::process::id()));
        processes.tell_again(&mut tell);
        tell.flush(&mut facts).unwrap();
        let number = |name| facts.facts.number(&Subject::Process(pid), name);
        assert_eq!(number(name::PARENT), Some(std::process::id().into()));
        assert_eq!(number(name::ENDED), Some(1));
    }
}

//! Who a process is: name, user, command line, cgroup, container, unit. Stays known after it ended.

pub mod cgroup;

use std::{fmt, fs, rc::Rc};

use rustc_hash::FxHashMap;
use tracer_common::{
    process::{ProcessKey, TICK},
    record::{CGROUP_LEVELS, ProcessSeen},
};

use self::cgroup::Place;
use crate::{kernel::clock::Epoch, time::Time};

/// Names a process: a reused pid has another start, so it is another process. Events and facts name it
/// alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid {
    /// Thread group id in the initial pid namespace; 0 for nobody.
    pub pid: u32,
    /// When it started, cut to the hundredth of a second that `/proc` tells.
    pub start: Time,
}

impl Pid {
    /// From the kernel's name of a process.
    #[must_use]
    pub const fn of(key: &ProcessKey, epoch: Epoch) -> Self {
        Self::in_ticks(key.tgid, key.start / TICK, epoch)
    }

    /// From what `/proc/PID/stat` tells: the start is in clock ticks since boot.
    #[must_use]
    pub const fn in_ticks(pid: u32, start: u64, epoch: Epoch) -> Self {
        Self {
            pid,
            start: epoch.time(start * TICK),
        }
    }

    /// Whether this stands for ended processes of a program, see [`Identity::past`].
    #[must_use]
    pub const fn is_past(self) -> bool {
        self.pid == 0 && self.start.0 != 0
    }
}

/// As it stands behind a name: `812`.
impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_past() {
            f.write_str("ended")
        } else {
            self.pid.fmt(f)
        }
    }
}

/// What stands for the name of an owner that is not known.
pub const UNKNOWN: &str = "(owner unknown)";

/// The name of those whose programs are not told apart either.
const OTHERS: &str = "(other programs)";

/// A process as events name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// When it started, as in [`Pid`].
    pub start: Time,
    /// User id.
    pub uid: Option<u32>,
    /// Thread group id of its parent.
    pub ppid: u32,
    /// Name of the leader, `task_struct.comm`.
    pub comm: String,
    /// Command line, as far as it was readable (256 bytes).
    pub args: Vec<String>,
    /// Cgroup, container, unit.
    pub place: Place,
}

impl Identity {
    /// What names it.
    #[must_use]
    pub const fn id(&self) -> Pid {
        Pid {
            pid: self.pid,
            start: self.start,
        }
    }

    /// The ended processes of its program that are told together: the same name and place, no pid, and a
    /// number, from 1 on, instead of a start.
    #[must_use]
    pub fn past(&self, number: u64) -> Self {
        Self {
            start: Time(number),
            comm: self.comm.clone(),
            place: self.place.clone(),
            ..Self::default()
        }
    }

    /// As above, of more programs than are told apart.
    #[must_use]
    pub fn past_of_others(number: u64) -> Self {
        Self {
            start: Time(number),
            comm: OTHERS.to_owned(),
            ..Self::default()
        }
    }

    /// Whether this stands for ended processes of that one's program.
    #[must_use]
    pub fn is_past_of(&self, who: &Self) -> bool {
        self.id().is_past() && self.comm == who.comm && self.place == who.place
    }

    /// Whether this stands for ended processes of any program that has no row.
    #[must_use]
    pub fn is_past_of_others(&self) -> bool {
        self.id().is_past() && self.comm == OTHERS
    }

    /// Its command line, arguments joined by spaces; `None` where it is not known.
    #[must_use]
    pub fn cmdline(&self) -> Option<String> {
        (!self.args.is_empty()).then(|| self.args.join(" "))
    }

    /// From the kernel's description.
    #[must_use]
    pub fn from_record(record: &ProcessSeen, epoch: Epoch) -> Self {
        let args = record.args.get(..record.args_len as usize).unwrap_or(&[]);
        let Pid { pid, start } = Pid::of(&record.head.owner, epoch);
        Self {
            pid,
            start,
            uid: Some(record.uid),
            ppid: record.ppid,
            comm: text(&record.comm),
            args: args
                .split(|byte| *byte == 0)
                .filter(|arg| !arg.is_empty())
                .map(|arg| String::from_utf8_lossy(arg).into_owned())
                .collect(),
            place: Place::of(&cgroup_path(record)),
        }
    }

    /// Adds what `/proc` knows and the kernel's description lacks, if the process is still the same:
    /// the command line of one found at start, the cgroup where version 1 is in use.
    fn enrich(&mut self, key: &ProcessKey) {
        if !is_alive(key) {
            return;
        }
        let root = format!("/proc/{}", key.tgid);
        if self.args.is_empty()
            && let Ok(args) = fs::read(format!("{root}/cmdline"))
        {
            self.args = args
                .split(|byte| *byte == 0)
                .filter(|arg| !arg.is_empty())
                .map(|arg| String::from_utf8_lossy(arg).into_owned())
                .collect();
        }
        if self.place.path.as_deref() == Some("/")
            && let Ok(text) = fs::read_to_string(format!("{root}/cgroup"))
        {
            self.place = Place::of(&cgroup::path_of(&text));
        }
    }
}

/// Whether a pid still is the process that it was.
pub(crate) fn is_alive(key: &ProcessKey) -> bool {
    i32::try_from(key.tgid)
        .ok()
        .and_then(|pid| procfs::process::Process::new(pid).ok()?.stat().ok())
        .is_some_and(|stat| stat.starttime == key.start / TICK)
}

/// The path of the cgroup (v2), from the names of its levels, the innermost first; the outermost is
/// the root, whose name is empty.
fn cgroup_path(record: &ProcessSeen) -> String {
    let names: Vec<String> = record
        .cgroups
        .iter()
        .map(|name| text(name))
        .take_while(|name| !name.is_empty() && name != "/")
        .collect();
    let cut = if names.len() == CGROUP_LEVELS {
        "/..."
    } else {
        ""
    };
    let path: String = names.iter().rev().map(|name| format!("/{name}")).collect();
    if path.is_empty() {
        String::from("/")
    } else {
        format!("{cut}{path}")
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The processes of a trace.
#[derive(Debug)]
pub struct Identities {
    epoch: Epoch,
    known: FxHashMap<ProcessKey, Rc<Identity>>,
}

impl Identities {
    /// None yet.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            known: FxHashMap::default(),
        }
    }

    /// Takes the kernel's description of a process; a later one (after an exec) replaces it.
    pub fn learn(&mut self, record: &ProcessSeen) {
        let mut identity = Identity::from_record(record, self.epoch);
        if identity.args.is_empty()
            && let Some(before) = self.known.get(&record.head.owner)
        {
            identity.args.clone_from(&before.args);
        }
        identity.enrich(&record.head.owner);
        self.known.insert(record.head.owner, Rc::new(identity));
    }

    /// Who it is; `None` for nobody, and for one whose description was lost.
    #[must_use]
    pub fn get(&self, key: &ProcessKey) -> Option<&Rc<Identity>> {
        self.known.get(key)
    }

    /// Who it is, also where the description was lost: then its name comes from the kernel's map, the
    /// rest from `/proc` if it lives.
    pub fn find(&mut self, key: &ProcessKey, comm: Option<[u8; 16]>) -> Rc<Identity> {
        if let Some(identity) = self.known.get(key) {
            return Rc::clone(identity);
        }
        let Pid { pid, start } = Pid::of(key, self.epoch);
        let mut identity = Identity {
            pid,
            start,
            comm: comm.map(|comm| text(&comm)).unwrap_or_default(),
            place: Place::of("/"),
            ..Identity::default()
        };
        if is_alive(key)
            && let Ok(process) = procfs::process::Process::new(key.tgid.cast_signed())
            && let Ok(status) = process.status()
        {
            identity.uid = Some(status.ruid);
            identity.ppid = status.ppid.cast_unsigned();
            identity.comm = status.name;
        }
        identity.enrich(key);
        let identity = Rc::new(identity);
        self.known.insert(*key, Rc::clone(&identity));
        identity
    }

    /// Finds out about processes that the kernel has not described.
    pub fn find_all(&mut self, processes: Vec<(ProcessKey, [u8; 16])>) {
        for (key, comm) in processes {
            if self.get(&key).is_none() {
                self.find(&key, Some(comm));
            }
        }
    }

    /// Forgets a process that ended and can cause no event.
    pub fn forget(&mut self, key: &ProcessKey) {
        self.known.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    fn described(levels: &[&str]) -> ProcessSeen {
        let mut record = ProcessSeen::zeroed();
        record.comm[..4].copy_from_slice(b"curl");
        record.args[..8].copy_from_slice(b"curl\0-s\0");
        record.args_len = 8;
        for (to, name) in record.cgroups.iter_mut().zip(levels) {
            to[..name.len()].copy_from_slice(name.as_bytes());
        }
        record
    }

    #[test]
    fn a_description_gives_name_arguments_and_unit() {
        let identity = Identity::from_record(
            &described(&["redis-server.service", "system.slice"]),
            Epoch { boot: 0 },
        );
        assert_eq!(identity.comm, "curl");
        assert_eq!(identity.args, ["curl", "-s"]);
        assert_eq!(
            identity.place.path.as_deref(),
            Some("/system.slice/redis-server.service")
        );
        assert_eq!(identity.place.unit.as_deref(), Some("redis-server.service"));
    }

    #[test]
    fn the_root_cgroup_has_a_path_too() {
        assert_eq!(
            Identity::from_record(&described(&[]), Epoch { boot: 0 })
                .place
                .path
                .as_deref(),
            Some("/")
        );
    }
}

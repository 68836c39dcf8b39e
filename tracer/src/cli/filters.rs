//! The filters on the command line.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use ipnet::IpNet;
use tracer_common::record::Kind;

use crate::{
    error::{Error, Result},
    kernel::{filters::Filters, netns},
};

/// Kinds of events by name.
const EVENTS: [(&str, Kind); 8] = [
    ("state", Kind::State),
    ("connection", Kind::Connection),
    ("retransmit", Kind::Retransmit),
    ("reset", Kind::Reset),
    ("connect_failed", Kind::ConnectFailed),
    ("time_wait_overflow", Kind::TimeWaitOverflow),
    ("fd_exhausted", Kind::FdExhausted),
    ("emfile", Kind::FdExhausted),
];

/// Filters, applied in the kernel. Several values of one filter widen it, several filters narrow it. A
/// filter on what an event does not have (a port of fd_exhausted) keeps that event out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct FilterArgs {
    /// Only sockets that this process owns
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Vec<u32>,
    /// Only sockets of processes of this name (at most 15 bytes)
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Only this local or remote port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Only local or remote addresses in this network
    #[arg(long, value_name = "NET", value_parser = network)]
    cidr: Vec<IpNet>,
    /// Only this network namespace: inode number, name (ip netns), or path
    #[arg(long, value_name = "NETNS")]
    netns: Vec<String>,
    /// Only processes in this cgroup (v2) or below it: path
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Kinds of events, separated by commas; `all` adds every state change
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = kind)]
    events: Vec<Wanted>,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    All,
    Kind(Kind),
}

fn kind(name: &str) -> std::result::Result<Wanted, String> {
    if name == "all" {
        return Ok(Wanted::All);
    }
    EVENTS
        .iter()
        .find(|(known, _)| *known == name.replace('-', "_"))
        .map(|(_, kind)| Wanted::Kind(*kind))
        .ok_or_else(|| {
            let known: Vec<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
            format!("no such event; there are {} and all", known.join(", "))
        })
}

/// A kind of event by its name, as events have it.
pub(super) fn event(name: &str) -> std::result::Result<&'static str, String> {
    let name = name.replace('-', "_");
    let mut known = EVENTS.iter().map(|(name, _)| *name).chain(["lost"]);
    match known.find(|known| *known == name) {
        Some("emfile") => Ok("fd_exhausted"),
        Some(name) => Ok(name),
        None => {
            let known: Vec<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
            Err(format!("no such event; there are {}", known.join(", ")))
        }
    }
}

fn network(text: &str) -> std::result::Result<IpNet, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(IpNet::from(address));
    }
    text.parse().map_err(|_| {
        "not a network; write ADDRESS/PREFIX, such as 10.0.0.0/8 or fd00::/8".to_owned()
    })
}

impl FilterArgs {
    /// Whether `--cgroup` is given.
    pub(super) const fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    /// Looks up what is given by name.
    pub(super) fn resolve(self) -> Result<Filters> {
        let is_all = self
            .events
            .iter()
            .any(|wanted| matches!(wanted, Wanted::All));
        let named: BTreeSet<Kind> = self
            .events
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Kind(kind) => Some(*kind),
                Wanted::All => None,
            })
            .collect();
        let events = if is_all || named.is_empty() {
            EVENTS
                .iter()
                .map(|(_, kind)| *kind)
                .filter(|kind| is_all || *kind != Kind::State)
                .collect()
        } else {
            named
        };
        for pid in &self.pid {
            check_pid(*pid)?;
        }
        if let Some(comm) = self
            .comm
            .iter()
            .find(|comm| comm.len() > 15 || comm.is_empty())
        {
            return Err(Error::usage(
                format!("--comm {comm:?}: the kernel keeps 1 to 15 bytes of a process's name"),
                format!(
                    "the name it would have is {:?}",
                    comm.chars().take(15).collect::<String>()
                ),
            ));
        }
        Ok(Filters {
            events,
            pids: self.pid,
            comms: self.comm,
            ports: self.port,
            cidrs: self.cidr,
            netns: self
                .netns
                .iter()
                .map(|netns| find_netns(netns))
                .collect::<Result<_>>()?,
            cgroup: self.cgroup.as_deref().map(find_cgroup).transpose()?,
        })
    }
}

fn check_pid(pid: u32) -> Result<()> {
    let status = i32::try_from(pid)
        .ok()
        .and_then(|pid| procfs::process::Process::new(pid).ok()?.status().ok());
    match status {
        Some(status) if status.tgid.cast_unsigned() == pid => Ok(()),
        Some(status) => Err(Error::usage(
            format!("--pid {pid} is a thread of process {}", status.tgid),
            format!("use --pid {}", status.tgid),
        )),
        None => Err(Error::usage(
            format!("--pid {pid}: there is no such process"),
            "`pgrep -a NAME` finds the pid of a running program; --comm NAME also matches ones that start later",
        )),
    }
}

fn find_netns(text: &str) -> Result<u32> {
    if let Ok(inode) = text.parse() {
        return Ok(inode);
    }
    let path = if text.contains('/') {
        PathBuf::from(text)
    } else {
        Path::new(netns::NAMED).join(text)
    };
    netns::inode(&path).map_err(|error| {
        Error::usage(
            format!("--netns {text}: {}: {error}", path.display()),
            "give an inode number (as `lsns -t net` shows), a name (as `ip netns` shows), or a path such as /proc/PID/ns/net",
        )
    })
}

/// The id of a cgroup is the inode number of its folder.
fn find_cgroup(path: &Path) -> Result<u64> {
    let hint = "give the folder of a cgroup of version 2, such as /sys/fs/cgroup/system.slice/nginx.service";
    let mounts: Vec<PathBuf> = procfs::mounts()
        .map(|mounts| {
            mounts
                .into_iter()
                .filter(|mount| mount.fs_vfstype == "cgroup2")
                .map(|mount| PathBuf::from(mount.fs_file))
                .collect()
        })
        .unwrap_or_default();
    let relative = path.strip_prefix("/").unwrap_or(path);
    let places = mounts.iter().map(|mount| mount.join(relative));
    let is_inside = mounts.iter().any(|mount| path.starts_with(mount));
    is_inside
        .then(|| path.to_owned())
        .into_iter()
        .chain(places)
        .find_map(|place| fs::metadata(place).ok())
        .map(|found| found.ino())
        .ok_or_else(|| Error::usage(format!("--cgroup {}: no such cgroup", path.display()), hint))
}

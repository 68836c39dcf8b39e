//! Many connections that do nothing. One process may not have that many descriptors, so several hold them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};
use tcptrace_tests::{Reaped, sockets};

use crate::work::{Latency, Load, Work};

/// Connections in all, each with both its sockets on this machine.
const CONNECTIONS: usize = 100_000;
/// Descriptors that a process needs beside its sockets.
const SPARE: usize = 64;
/// The command that starts a process that holds connections.
pub(crate) const HOLDER: &str = "idle-holder";

/// The processes that hold them.
pub(crate) struct Idle(Vec<Reaped>);

impl Idle {
    pub(crate) fn new() -> Self {
        let holders = CONNECTIONS.div_ceil(share());
        let holder = |_| {
            let mut child = Command::new(std::env::current_exe().expect("the program's own path"));
            child
                .arg(HOLDER)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            Reaped(child.spawn().expect("start a holder"))
        };
        Self((0..holders).map(holder).collect())
    }
}

/// Connections that one process can hold.
fn share() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    ((hard as usize).saturating_sub(SPARE) / 2).clamp(1, CONNECTIONS)
}

impl Load for Idle {
    /// Opens all of them, whatever the time: they stay open until the load ends.
    fn run(&mut self, _: Duration) -> Work {
        for holder in &mut self.0 {
            let input = holder.stdin.as_mut().expect("piped");
            input.write_all(b"open\n").expect("the holder lives");
        }
        let mut done = 0;
        for holder in &mut self.0 {
            let output = BufReader::new(holder.stdout.as_mut().expect("piped"));
            let held = output.lines().next().expect("an answer").expect("text");
            done += held.parse::<u64>().expect("a number");
        }
        Work {
            done,
            latency: Latency::None,
        }
    }

    fn servers(&self) -> Vec<Pid> {
        let pid = |holder: &Reaped| Pid::from_raw(holder.id() as i32);
        self.0.iter().map(pid).collect()
    }
}

/// One process' share: opens it when it is told to, and holds it until its input ends.
pub(crate) fn hold() {
    let mut lines = std::io::stdin().lines();
    lines.next();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raise the limit");
    // An address of its own, as the ports of one do not reach for all.
    let pid = std::process::id().to_be_bytes();
    let address = SocketAddr::from(([127, pid[1], pid[2], pid[3]], 0));
    let listener = TcpListener::bind(address).expect("listen");
    let number = CONNECTIONS.div_ceil(CONNECTIONS.div_ceil(share()));
    let held: Vec<_> = (0..number).map(|_| sockets::pair(&listener)).collect();
    println!("{}", held.len());
    lines.next();
}

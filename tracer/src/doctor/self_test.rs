//! A loopback connection of our own: do its events come, with the right owner?

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tracer_common::{
    conn::OwnerSource,
    process::{ProcessKey, TICK},
};

use super::Status;
use crate::{
    decode::Record,
    kernel::{clock, session::Session},
};

/// Both connection records are there within milliseconds; this is for a very slow machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Outcome of the self-test.
#[derive(Debug, Serialize)]
pub struct SelfTest {
    /// `ok`, `bad`, or `unknown` where no connection could be made.
    pub status: Status,
    /// What was seen.
    pub detail: String,
}

impl SelfTest {
    /// Nothing could be attached.
    pub(super) fn not_made(reason: String) -> Self {
        Self {
            status: Status::Unknown,
            detail: format!("could not probe: {reason}"),
        }
    }
}

/// This process as the kernel knows it. Within a pid namespace of its own it has another pid there, so its
/// start and its name decide.
struct Own {
    pid: Option<u32>,
    start: u64,
    comm: String,
}

impl Own {
    fn read() -> procfs::ProcResult<Self> {
        let stat = procfs::process::Process::myself()?.stat()?;
        let is_initial = super::is_initial("pid", super::INITIAL_PID_NAMESPACE);
        Ok(Self {
            pid: (is_initial == Some(true)).then(std::process::id),
            start: stat.starttime,
            comm: stat.comm,
        })
    }

    fn is(&self, key: &ProcessKey, comm: &[u8]) -> bool {
        self.pid.is_none_or(|pid| pid == key.tgid)
            && self.start == key.start / TICK
            && self.comm.as_bytes() == comm.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Makes a connection to `listener` and waits for the records of both its ends, which are all that
/// `session` lets in.
pub(super) fn run(session: &mut Session, listener: &TcpListener) -> SelfTest {
    if let Err(error) = connect(listener) {
        return SelfTest::not_made(format!("no loopback connection can be made here: {error}"));
    }
    let own = match Own::read() {
        Ok(own) => own,
        Err(error) => return SelfTest::not_made(format!("/proc/self: {error}")),
    };
    let mut ends = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while ends.len() < 2 && Instant::now() < deadline {
        let drained = session.drain(clock::now(), |record| {
            if let Record::Connection(record) = record {
                ends.push(record.head);
            }
        });
        if let Err(error) = drained {
            return SelfTest {
                status: Status::Bad,
                detail: error.to_string(),
            };
        }
        thread::sleep(Duration::from_millis(5));
    }
    let (mut connected, mut accepted, mut others) = (0, 0, 0);
    for end in &ends {
        let comm = session.process(&end.owner).map(|process| process.comm);
        let is_own = comm.is_some_and(|comm| own.is(&end.owner, &comm));
        match OwnerSource::from_byte(end.owner_source) {
            Some(OwnerSource::Connect) if is_own => connected += 1,
            Some(OwnerSource::Accept) if is_own => accepted += 1,
            _ => others += 1,
        }
    }
    let is_right = (connected, accepted, others) == (1, 1, 0);
    SelfTest {
        status: if is_right { Status::Ok } else { Status::Bad },
        detail: if is_right {
            "a loopback connection was seen from both ends, with the right owner".to_owned()
        } else {
            format!(
                "of a loopback connection's two ends, {connected} were seen as connected by us, {accepted} as accepted by us, {others} otherwise"
            )
        },
    }
}

/// Where the connection will go, so that nothing else is let in.
pub(super) fn listen() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

fn connect(listener: &TcpListener) -> std::io::Result<()> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    drop(client);
    drop(server);
    Ok(())
}

//! A loopback connection of our own: do its events come, with the right owner?

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use tracer_common::conn::OwnerSource;

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

/// Makes a connection and waits for the records of both its ends.
pub(super) fn run(session: &mut Session) -> SelfTest {
    if let Err(error) = connect() {
        return SelfTest::not_made(format!("no loopback connection can be made here: {error}"));
    }
    let own = std::process::id();
    let (mut connected, mut accepted, mut others) = (0, 0, 0);
    let deadline = Instant::now() + PATIENCE;
    while connected + accepted + others < 2 && Instant::now() < deadline {
        let drained = session.drain(clock::now(), |record| {
            if let Record::Connection(record) = record {
                match OwnerSource::from_byte(record.head.owner_source) {
                    Some(OwnerSource::Connect) if record.head.owner.tgid == own => connected += 1,
                    Some(OwnerSource::Accept) if record.head.owner.tgid == own => accepted += 1,
                    _ => others += 1,
                }
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

fn connect() -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    drop(client);
    drop(server);
    Ok(())
}

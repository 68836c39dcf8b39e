//! What a recorded trace takes to write and to read: `cargo bench --package tcptrace --bench trace_file`.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot write its file has nothing to measure"
)]

use std::{fs, io, net::Ipv4Addr, path::Path, rc::Rc};

use divan::{Bencher, black_box, counter::ItemsCount};
use tcptrace::{
    aggregate::Aggregate,
    event::{Detail, Ends, Event, Role, State, UsInState},
    file::{self, Writer},
    identity::{Identity, cgroup::Place},
    sink::Sink,
    time::Time,
    trace::frame::{End, Start},
};
use tracer_common::{
    conn::OwnerSource,
    record::End as Ending,
    tcp::state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, LAST_ACK},
};

fn main() {
    divan::main();
}

/// Events of a trace.
const MANY: u64 = 500_000;

/// Only what a trace has by default, or every state change too.
const DEPTHS: [&str; 2] = ["connections", "all"];

/// Events of connection churn between a client and a server.
fn events(depth: &str) -> impl Iterator<Item = Event> {
    let owner = |pid, comm: &str| {
        Some(Rc::new(Identity {
            pid,
            start: Time(1_700_000_000_000_000_000),
            uid: Some(1_000),
            ppid: 1,
            comm: comm.to_owned(),
            args: vec![comm.to_owned()],
            place: Place::of(&format!("/system.slice/{comm}.service")),
        }))
    };
    let owners = [owner(811, "client"), owner(812, "server")];
    let each = if depth == "all" { 5 } else { 1 };
    (0..MANY).map(move |number| {
        let connection = number / each;
        let is_client = connection.is_multiple_of(2);
        let port = 32_768 + (connection / 2 % 28_000) as u16;
        let (local, remote) = if is_client {
            (port, 6_379)
        } else {
            (6_379, port)
        };
        // Times that are no row of numbers.
        let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        let state = |old, new| Detail::State {
            old: State(old),
            new: State(new),
            in_old_us: Some(noise / 8),
        };
        let detail = match number % each {
            0 => {
                let mut us_in_state = UsInState::default();
                us_in_state.0[ESTABLISHED as usize] = 20 + noise;
                us_in_state.0[FIN_WAIT1 as usize] = noise / 16;
                Detail::Connection {
                    duration_us: Some(30 + noise),
                    connect_us: Some(noise / 8),
                    bytes_sent: 100,
                    bytes_received: 2_000,
                    segs_out: Some(9),
                    segs_retrans: 0,
                    srtt_us: Some(20 + (noise / 4) as u32),
                    end: if is_client {
                        Ending::ClosedLocal
                    } else {
                        Ending::ClosedRemote
                    },
                    errno: None,
                    role: Some(if is_client {
                        Role::Active
                    } else {
                        Role::Passive
                    }),
                    us_in_state,
                }
            }
            1 | 2 => state(ESTABLISHED, CLOSE_WAIT),
            _ => state(CLOSE_WAIT, LAST_ACK),
        };
        Event {
            ts: Time(1_700_000_001_000_000_000 + number * 2_000 + noise),
            conn_id: Some(connection),
            owner: owners[usize::from(!is_client)].clone(),
            owner_source: OwnerSource::Connect,
            netns: Some(4_026_531_840),
            ends: Some(Ends {
                local: (Ipv4Addr::LOCALHOST, local).into(),
                remote: Some((Ipv4Addr::LOCALHOST, remote).into()),
            }),
            detail,
        }
    })
}

fn write(path: &Path, events: impl Iterator<Item = Event>) {
    let mut writer = Writer::create(path, true).expect("a file");
    for event in events {
        writer.event(&event).expect("written");
    }
}

/// A sink that does nothing.
struct Nothing;

impl Sink for Nothing {
    fn start(&mut self, _: &Start) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        black_box(event);
        Ok(())
    }

    fn end(&mut self, _: &End) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(bencher: Bencher<'_, '_>, depth: &str, sink: impl Fn() -> Box<dyn Sink> + Sync) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    write(&path, events(depth));
    let bytes = fs::read(path).expect("the trace");
    bencher.counter(ItemsCount::new(MANY)).bench(|| {
        let size = bytes.len() as u64;
        file::read_from(Path::new("trace"), &bytes[..], size, sink().as_mut()).is_ok()
    });
}

/// Rows into columns, and the columns through the thread that compresses into the file.
#[divan::bench(args = DEPTHS, sample_count = 5)]
fn written(bencher: Bencher<'_, '_>, depth: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let events: Vec<Event> = events(depth).collect();
    bencher
        .counter(ItemsCount::new(MANY))
        .bench_local(|| write(&path, events.iter().cloned()));
}

#[divan::bench(args = DEPTHS, sample_count = 5)]
fn decoded(bencher: Bencher<'_, '_>, depth: &str) {
    read(bencher, depth, || Box::new(Nothing));
}

#[divan::bench(args = DEPTHS, sample_count = 5)]
fn decoded_and_added_up(bencher: Bencher<'_, '_>, depth: &str) {
    read(bencher, depth, || Box::new(Aggregate::default()));
}

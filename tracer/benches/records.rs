//! What a record takes in user space, step by step: `cargo bench --package tcptrace`.

use std::{collections::BTreeMap, io, rc::Rc};

use bytemuck::{Zeroable as _, bytes_of};
use divan::{Bencher, black_box, counter::ItemsCount};
use ratatui::{Terminal, backend::TestBackend};
use tcptrace::{
    aggregate::Aggregate,
    decode::{self, Record},
    event::{Event, Names},
    identity::{Identity, cgroup::Place},
    kernel::clock::Epoch,
    screen::{
        draw::{Signs, Theme, draw},
        state::State as Screen,
    },
    sink::{Sink, json::Json, lines::Lines},
};
use tracer_common::{
    conn::{OwnerSource, flag},
    record::{Connection, Head, Kind, State},
    tcp::state,
};

fn main() {
    divan::main();
}

/// Records of one go.
const MANY: usize = 1_000;

/// Nanoseconds from one to the next.
const APART: u64 = 2_000;

/// The records that come by the hundred thousand.
const KINDS: [&str; 2] = ["state", "connection"];

fn head(kind: Kind, place: usize) -> Head {
    let mut head = Head::zeroed();
    head.ts = 1_000_000_000_000 + place as u64 * APART;
    head.conn_id = place as u64 + 1;
    head.owner.tgid = 4_711;
    head.owner.start = 900_000_000_000;
    head.owner_source = OwnerSource::Accept as u8;
    head.kind = kind as u8;
    let loopback = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    head.tuple.laddr = bytemuck::cast(loopback);
    head.tuple.raddr = head.tuple.laddr;
    head.tuple.lport = 6_379;
    head.tuple.rport = 32_768 + (place % 28_000) as u16;
    head.tuple.netns = 4_026_531_833;
    head
}

fn bytes(kind: &str) -> Vec<Vec<u8>> {
    let record = |place| match kind {
        "state" => {
            let mut record = State::zeroed();
            record.head = head(Kind::State, place);
            record.in_old = 12_345;
            (record.old, record.new) = (state::ESTABLISHED, state::CLOSE_WAIT);
            bytes_of(&record).to_vec()
        }
        _ => {
            let mut record = Connection::zeroed();
            record.head = head(Kind::Connection, place);
            (record.duration, record.connect) = (123_456, 2_345);
            (record.bytes_sent, record.bytes_received) = (5, 38);
            for state in [
                state::SYN_RECV,
                state::ESTABLISHED,
                state::CLOSE_WAIT,
                state::LAST_ACK,
            ] {
                record.in_state[usize::from(state)] = 30_000;
            }
            record.srtt_us = 33;
            record.flags = flag::PASSIVE;
            bytes_of(&record).to_vec()
        }
    };
    (0..MANY).map(record).collect()
}

fn records(kind: &str) -> Vec<Record> {
    let decoded = bytes(kind)
        .iter()
        .map(|bytes| decode::record(bytes))
        .collect::<Result<_, _>>();
    decoded.unwrap_or_else(|error| panic!("{error}"))
}

fn owner() -> Rc<Identity> {
    Rc::new(Identity {
        pid: 4_711,
        uid: Some(107),
        comm: "redis-server".to_owned(),
        place: Place::of("/system.slice/redis-server.service"),
        ..Identity::default()
    })
}

fn names() -> Names {
    let epoch = Epoch {
        boot: 1_700_000_000_000_000_000,
    };
    Names::new(epoch, &BTreeMap::new(), Some(4_000.0))
}

fn events(kind: &str) -> Vec<Event> {
    let (names, owner) = (names(), owner());
    let records = records(kind);
    let events = records
        .iter()
        .filter_map(|record| names.event(record, Some(Rc::clone(&owner)), 1));
    events.collect()
}

#[divan::bench(args = KINDS)]
fn decode(bencher: Bencher<'_, '_>, kind: &str) {
    let bytes = bytes(kind);
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for bytes in &bytes {
            let _ = black_box(decode::record(black_box(bytes)));
        }
    });
}

/// Names for the kernel's numbers.
#[divan::bench(args = KINDS)]
fn name(bencher: Bencher<'_, '_>, kind: &str) {
    let (records, names, owner) = (records(kind), names(), owner());
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for record in &records {
            black_box(names.event(black_box(record), Some(Rc::clone(&owner)), 1));
        }
    });
}

#[divan::bench(args = KINDS)]
fn add_up(bencher: Bencher<'_, '_>, kind: &str) {
    into_sink(bencher, kind, Aggregate::default());
}

/// What the screen does with each event; less [`add_up`] it is what the screen adds.
#[divan::bench(args = KINDS)]
fn take_on_screen(bencher: Bencher<'_, '_>, kind: &str) {
    into_sink(bencher, kind, Screen::default());
}

/// A frame of 200 columns and 60 lines after a flood; ten are drawn in a second at most.
#[divan::bench(args = KINDS)]
fn draw_a_frame(bencher: Bencher<'_, '_>, kind: &str) {
    let mut state = Screen::default();
    for event in events(kind).iter().cycle().take(20_000) {
        let _ = state.event(event);
    }
    let Ok(mut terminal) = Terminal::new(TestBackend::new(200, 60));
    let theme = Theme::new(true, Signs::UNICODE);
    bencher.bench_local(|| {
        state.touch();
        state.refresh();
        let _ = terminal.draw(|frame| draw(frame, black_box(&state), &theme));
    });
}

#[divan::bench(args = KINDS)]
fn write_lines(bencher: Bencher<'_, '_>, kind: &str) {
    into_sink(bencher, kind, Lines(io::sink()));
}

#[divan::bench(args = KINDS)]
fn write_json(bencher: Bencher<'_, '_>, kind: &str) {
    into_sink(bencher, kind, Json::new(io::sink()));
}

fn into_sink(bencher: Bencher<'_, '_>, kind: &str, mut sink: impl Sink) {
    let mut events = events(kind);
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for event in &mut events {
            let _ = sink.event(black_box(event));
            // The next go is later: half a million events a second.
            event.ts.0 += APART * MANY as u64;
        }
    });
}

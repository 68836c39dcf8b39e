//! What an event takes in the file, of churn that is made up: times vary as much on every machine.

use std::{fs, rc::Rc};

use tracer_common::{conn::OwnerSource, record::End as Ending, tcp::state};

use super::{
    super::Writer,
    sample::{ends, hooks, processes, start, who},
};
use crate::{
    event::{Detail, Event, Role, UsInState},
    identity::Identity,
    sink::Sink as _,
    time::Time,
    trace::frame::{End, Sums},
};

/// Bytes for an event, all else in the file included.
const MOST: u64 = 12;
const CONNECTIONS: u64 = 40_000;
const A_SECOND: u64 = 1_000_000_000;

/// Numbers that look random, the same each time (xorshift).
struct Noise(u64);

impl Noise {
    /// About `typical`, now and then ten times as much.
    fn about(&mut self, typical: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let typical = if self.0.is_multiple_of(64) {
            10 * typical
        } else {
            typical
        };
        typical * 3 / 4 + (self.0 >> 8) % (typical / 2)
    }
}

/// Both ends of a connection that a client opens and the server closes at once.
fn connection(
    number: u64,
    ts: u64,
    noise: &mut Noise,
    [client, server]: &[Rc<Identity>; 2],
) -> [Event; 2] {
    let port = 32_768 + 2 * (noise.about(20_000) % 14_000);
    let (near, far) = (format!("127.0.0.1:{port}"), "127.0.0.1:7000");
    let us_connect = noise.about(30);
    let srtt = u32::try_from(noise.about(20)).unwrap();
    let mut event = |owner: &Rc<Identity>, role, owner_source, id, after| {
        let mut us_in_state = UsInState::default();
        let (is_active, established) = (role == Role::Active, noise.about(20));
        let states = match is_active {
            true => [state::SYN_SENT, state::CLOSE_WAIT, state::LAST_ACK],
            false => [state::SYN_RECV, state::FIN_WAIT1, state::FIN_WAIT2],
        };
        us_in_state.0[usize::from(state::ESTABLISHED)] = established;
        let mut duration = established;
        for state in states {
            us_in_state.0[usize::from(state)] = noise.about(8);
            duration += us_in_state.0[usize::from(state)];
        }
        Event {
            ts: Time(ts + after),
            conn_id: Some(id),
            owner: Some(Rc::clone(owner)),
            owner_source,
            netns: Some(4_026_531_840),
            ends: match is_active {
                true => ends(&near, Some(far)),
                false => ends(far, Some(&near)),
            },
            detail: Detail::Connection {
                duration_us: Some(duration),
                connect_us: is_active.then_some(us_connect),
                bytes_sent: 0,
                bytes_received: 0,
                segs_out: Some(4),
                segs_retrans: 0,
                srtt_us: Some(srtt),
                end: match is_active {
                    true => Ending::ClosedRemote,
                    false => Ending::ClosedLocal,
                },
                errno: None,
                role: Some(role),
                us_in_state,
            },
        }
    };
    [
        event(
            server,
            Role::Passive,
            OwnerSource::Accept,
            2 * number + 1,
            0,
        ),
        event(
            client,
            Role::Active,
            OwnerSource::Connect,
            2 * number,
            4_000,
        ),
    ]
}

#[test]
fn an_event_of_churn_takes_few_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    let mut writer = Writer::create(&path, false).unwrap();
    let owners = [who(7, "client", "/"), who(8, "server", "/")];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let start = start();
    let (mut ts, mut told) = (start.ts.0, start.ts.0);
    writer.start(&start).unwrap();
    for number in 0..CONNECTIONS {
        ts += noise.about(80_000);
        for event in connection(number, ts, &mut noise, &owners) {
            writer.event(&event).unwrap();
        }
        if ts - told > A_SECOND {
            told = ts;
            let sums = Sums {
                ts: Time(ts),
                processes: processes(number),
                hooks: hooks(number),
            };
            writer.sums(&sums).unwrap();
        }
    }
    let end = End {
        event: "end",
        ts: Time(ts),
        duration_us: (ts - start.ts.0) / 1_000,
        events: [("connection".into(), 2 * CONNECTIONS)].into(),
        hooks: hooks(CONNECTIONS),
        processes: processes(CONNECTIONS),
    };
    writer.end(&end).unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    let events = 2 * CONNECTIONS;
    assert!(bytes <= MOST * events, "{bytes} bytes, {events} events");
}

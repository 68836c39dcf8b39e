//! Traces that are made up, and a sink that keeps what it is fed.

use std::{borrow::Cow, fs, io, net::SocketAddr, path::Path, rc::Rc};

use tracer_common::{
    conn::OwnerSource,
    hook::Hook,
    process::Totals,
    record::{Cause, End as Ending},
    tcp::state,
};

use super::super::{Completeness, Writer, read_from};
use crate::{
    event::{Detail, Direction, Ends, Errno, Event, LostReason, Role, State, Syscall, UsInState},
    fact::{Fact, Subject, Value},
    identity::{Identity, cgroup::Place},
    kernel::counters::{HookRow, Lost},
    sink::Sink,
    time::Time,
    trace::frame::{End, HookStart, ProcessRow, Start, Sums},
};

/// Everything that a sink was fed, in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fed(pub(super) Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Start(Start),
    Event(Event),
    Fact(Fact),
    Sums(Sums),
    End(End),
}

impl Part {
    pub(super) fn feed(&self, sink: &mut dyn Sink) -> io::Result<()> {
        match self {
            Self::Start(start) => sink.start(start),
            Self::Event(event) => sink.event(event),
            Self::Fact(fact) => sink.fact(fact),
            Self::Sums(sums) => sink.sums(sums),
            Self::End(end) => sink.end(end),
        }
    }
}

impl Sink for Fed {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.0.push(Part::Start(start.clone()));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.0.push(Part::Event(event.clone()));
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.0.push(Part::Fact(fact.clone()));
        Ok(())
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.0.push(Part::Sums(sums.clone()));
        Ok(())
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.0.push(Part::End(end.clone()));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * SECOND;

pub(super) fn who(pid: u32, comm: &str, cgroup: &str) -> Rc<Identity> {
    Rc::new(Identity {
        pid,
        start: Time(BEGIN - u64::from(pid)),
        uid: (pid != 9).then_some(pid * 10),
        ppid: pid / 2,
        comm: comm.to_owned(),
        args: vec![format!("/usr/bin/{comm}")],
        place: Place::of(cgroup),
    })
}

fn owners() -> Vec<Option<Rc<Identity>>> {
    let docker = format!("/system.slice/docker-{}.scope", "ab".repeat(32));
    vec![
        Some(who(7, "redis-server", "/system.slice/redis-server.service")),
        Some(who(8, "curl", &docker)),
        // An exec: the same process under another name.
        Some(who(8, "wget", &docker)),
        Some(who(9, "naïve\u{1b}", "/")),
        None,
    ]
}

pub(super) fn ends(local: &str, remote: Option<&str>) -> Option<Ends> {
    Some(Ends {
        local: local.parse().unwrap(),
        remote: remote.map(|remote| remote.parse().unwrap()),
    })
}

fn details() -> Vec<Detail> {
    let mut us_in_state = UsInState::default();
    us_in_state.0[state::SYN_SENT as usize] = 12;
    us_in_state.0[state::ESTABLISHED as usize] = 0;
    us_in_state.0[state::CLOSING as usize] = u64::from(u32::MAX) + 7;
    vec![
        Detail::State {
            old: State(state::CLOSE),
            new: State(0),
            in_old_us: None,
        },
        Detail::State {
            old: State(state::SYN_RECV),
            new: State(state::ESTABLISHED),
            in_old_us: Some(17),
        },
        Detail::Connection {
            duration_us: Some(653),
            connect_us: None,
            bytes_sent: 1 << 40,
            bytes_received: 0,
            segs_out: Some(40),
            segs_retrans: 3,
            srtt_us: Some(33),
            end: Ending::ResetRemote,
            errno: Some(Errno(104)),
            role: Some(Role::Passive),
            us_in_state,
        },
        Detail::Connection {
            duration_us: None,
            connect_us: Some(1),
            bytes_sent: 1,
            bytes_received: 2,
            segs_out: Some(6),
            segs_retrans: 0,
            srtt_us: None,
            end: Ending::TimeWaitOverflow,
            errno: None,
            role: None,
            us_in_state: UsInState::default(),
        },
        Detail::Retransmit {
            cause: Cause::LossRecovery,
            segs: 2,
            seq: u32::MAX,
            backoff: 5,
            rto_us: Some(200_000),
            srtt_us: None,
            unacked_bytes: 1448,
            notsent_bytes: 99,
            err: -16,
        },
        Detail::Reset {
            direction: Direction::Sent,
            reason: Some("no_socket".into()),
        },
        Detail::Reset {
            direction: Direction::Received,
            reason: None,
        },
        Detail::ConnectFailed {
            errno: Errno(4096),
            syn_sent: false,
            connect_us: Some(66),
        },
        Detail::TimeWaitOverflow {
            tw_count: Some(5),
            tw_max: None,
            inferred: true,
            count: 7,
        },
        Detail::FdExhausted {
            errno: Errno(24),
            syscall: Some(Syscall(9999)),
            count: 2979,
            open_fds: Some(25),
            limit_soft: Some(24),
            limit_hard: Some(u64::MAX - 1),
        },
        Detail::Lost {
            hook: Hook::Retransmit,
            reason: LostReason::KretprobeMissed,
            count: 1,
        },
    ]
}

fn event(number: u64) -> Event {
    let owners = owners();
    let details = details();
    let ends = [
        ends("127.0.0.1:6379", Some("127.0.0.1:60156")),
        ends("[fd00::1]:80", None),
        None,
    ];
    let at = |length: usize| (number % length as u64) as usize;
    Event {
        ts: Time(BEGIN + number * 1_001),
        conn_id: (!number.is_multiple_of(3)).then_some(number / 2),
        owner: owners[at(owners.len())].clone(),
        owner_source: OwnerSource::from_byte((number % 7) as u8).unwrap(),
        netns: (!number.is_multiple_of(5)).then_some(4_026_531_840),
        ends: ends[at(ends.len())],
        detail: details[at(details.len())].clone(),
    }
}

pub(super) fn start() -> Start {
    Start {
        event: "start",
        schema: 1,
        ts: Time(BEGIN),
        host: "vm".into(),
        kernel: "6.18".into(),
        version: Cow::Borrowed("0.1.0"),
        hooks: vec![HookStart {
            hook: "accept".into(),
            rung: "tp_btf".into(),
        }],
        filters: vec!["--port 443".into(), "--pid 7".into()],
    }
}

pub(super) fn hooks(count: u64) -> Vec<HookRow> {
    let row = |hook, rung| HookRow {
        hook,
        rung,
        entered: count + 5,
        skipped: 1,
        missed: 1,
        emitted: count,
        filtered: 2,
        aggregated: 0,
        lost: Lost {
            ring_full: 2,
            map_full: 1,
        },
    };
    vec![
        row(Hook::State, Some(Cow::Borrowed("tp_btf"))),
        row(Hook::Settled, None),
    ]
}

pub(super) fn processes(count: u64) -> Vec<ProcessRow> {
    owners()
        .into_iter()
        .map(|who| ProcessRow {
            who,
            sockets: 3,
            totals: Totals {
                connections: count,
                connect_failed: 1,
                retransmit_segs: 2,
                resets_sent: 3,
                resets_received: 4,
                time_wait_overflow: 5,
                fd_exhausted: 6,
                lost: 7,
            },
        })
        .collect()
}

fn facts(ts: Time) -> Vec<Fact> {
    let local: SocketAddr = "0.0.0.0:80".parse().unwrap();
    [
        (Subject::Machine, Value::Number(-5)),
        (Subject::Namespace(4), Value::Text("reno".into())),
        (
            Subject::Process(owners()[0].as_ref().unwrap().id()),
            Value::Number(i64::MAX),
        ),
        (Subject::Listener { netns: 4, local }, Value::Number(0)),
        (
            Subject::Connection {
                netns: 4,
                ends: ends("[::1]:1", Some("[::1]:2")).unwrap(),
            },
            Value::Text(String::new()),
        ),
    ]
    .into_iter()
    .map(|(subject, value)| Fact {
        ts,
        subject,
        name: Cow::Borrowed("net.ipv4.tcp_max_tw_buckets"),
        value,
    })
    .collect()
}

/// A trace with all that there is, and sums after every `each` events.
pub(super) fn trace(events: u64, each: u64) -> Vec<Part> {
    let mut parts = vec![Part::Start(start())];
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..events {
        let event = event(number);
        let ts = event.ts;
        *counts.entry(event.detail.kind().into()).or_default() += 1;
        parts.push(Part::Event(event));
        if number % each == each - 1 {
            parts.extend(facts(ts).into_iter().map(Part::Fact));
            parts.push(Part::Sums(Sums {
                ts,
                processes: processes(number),
                // Every other time the same.
                hooks: hooks(number / (2 * each)),
            }));
        }
    }
    let ts = Time(BEGIN + events * 1_001 + 1);
    parts.push(Part::End(End {
        event: "end",
        ts,
        duration_us: 4711,
        events: counts,
        hooks: hooks(events),
        processes: processes(events),
    }));
    parts
}

pub(super) fn write(path: &Path, parts: &[Part]) {
    feed(Writer::create(path, false).unwrap(), parts);
}

pub(super) fn write_forced(path: &Path, parts: &[Part]) {
    feed(Writer::create(path, true).unwrap(), parts);
}

fn feed(mut writer: Writer, parts: &[Part]) {
    for part in parts {
        part.feed(&mut writer).unwrap();
    }
}

pub(super) fn bytes(parts: &[Part]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tcptrace");
    write(&path, parts);
    fs::read(path).unwrap()
}

pub(super) fn read_bytes(bytes: &[u8], sink: &mut dyn Sink) -> crate::error::Result<Completeness> {
    read_from(Path::new("t"), bytes, bytes.len() as u64, sink)
}

//! An incident: forty workers whose backend is dead, a script out of descriptors, a link that loses
//! everything, a full time-wait table.

mod before;
mod findings;

use std::{borrow::Cow, net::SocketAddr, rc::Rc};

use tracer_common::{
    conn::OwnerSource,
    hook::{Counters, Hook},
    process::Totals,
    record::{Cause, End as Ended},
};

use self::{before::begin, findings::findings};
use crate::{
    event::{Detail, Direction, Ends, Errno, Event, Role, Syscall, UsInState},
    identity::{
        Identity,
        cgroup::{Container, Place},
    },
    kernel::counters::HookRow,
    screen::state::State,
    sink::Sink,
    time::Time,
    trace::frame::{HookStart, ProcessRow, SCHEMA, Start, Sums},
};

/// 2026-01-31T12:00:00Z.
pub(super) const START: u64 = 1_769_860_800;
const SECOND: u64 = 1_000_000_000;
const NETNS: u32 = 4_026_531_840;

/// So many milliseconds after the start.
pub(super) const fn at(ms: u64) -> Time {
    Time(START * SECOND + ms * 1_000_000)
}

pub(super) fn process(pid: u32, comm: &str, unit: Option<&str>) -> Rc<Identity> {
    Rc::new(Identity {
        pid,
        start: Time((START - 3_600) * SECOND),
        uid: Some(1_000),
        ppid: 1,
        comm: comm.to_owned(),
        args: vec![format!("/usr/bin/{comm}"), "--serve".to_owned()],
        place: Place {
            path: Some("/".to_owned()),
            container: None,
            unit: unit.map(str::to_owned),
        },
    })
}

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ends(local: &str, remote: &str) -> Ends {
    Ends {
        local: end(local),
        remote: Some(end(remote)),
    }
}

pub(super) fn event(ms: u64, who: &Rc<Identity>, ends: Option<Ends>, detail: Detail) -> Event {
    let owner_source = match detail {
        Detail::FdExhausted { .. } => OwnerSource::Current,
        _ => OwnerSource::Connect,
    };
    Event {
        owner: Some(Rc::clone(who)),
        owner_source,
        conn_id: ends.map(|ends| u64::from(ends.local.port()) + 1),
        ends,
        ..Event::nobody(at(ms), Some(NETNS), detail)
    }
}

pub(super) fn refused(ms: u64, who: &Rc<Identity>) -> Event {
    let detail = Detail::ConnectFailed {
        errno: Errno::from_name("ECONNREFUSED").unwrap(),
        syn_sent: true,
        connect_us: Some(66),
    };
    let local = format!("10.0.0.5:{}", 40_000 + ms % 20_000);
    event(ms, who, Some(ends(&local, "10.0.0.9:8080")), detail)
}

pub(super) fn row(who: &Rc<Identity>, sockets: u64, totals: Totals) -> ProcessRow {
    ProcessRow {
        who: Some(Rc::clone(who)),
        sockets,
        totals,
    }
}

fn start() -> Start {
    let hook = |hook: Hook, rung: &'static str| HookStart {
        hook: hook.name().into(),
        rung: rung.into(),
    };
    Start {
        event: "start",
        schema: SCHEMA,
        ts: at(0),
        host: "web-1".to_owned(),
        kernel: "6.18.5".to_owned(),
        version: Cow::Borrowed("0.1.0"),
        hooks: vec![
            hook(Hook::State, "tp_btf"),
            hook(Hook::TimeWaitOverflow, "inferred"),
            hook(Hook::Accept, "tracepoint"),
        ],
        filters: vec![],
    }
}

/// What is known before any event.
pub(super) fn snapshot() -> State {
    let mut state = State::default();
    begin(&mut state);
    state.refresh();
    state
}

/// A minute of it.
pub(super) fn incident() -> State {
    let mut state = State::default();
    happen(&mut state);
    state.set_findings(findings());
    state.refresh();
    state
}

/// All of it but its end.
pub(super) fn happen(sink: &mut dyn Sink) {
    begin(sink);
    let script = process(1_234, "python3", None);
    let redis = process(812, "redis-server", Some("redis-server.service"));
    let proxy = Rc::new(Identity {
        place: Place {
            path: Some("/".to_owned()),
            container: Some(Container {
                runtime: "docker".into(),
                id: "3f4b2a9c8d7e6f504132a1b0c9d8e7f63f4b2a9c8d7e6f504132a1b0c9d8e7f6".to_owned(),
                pod_uid: None,
            }),
            unit: None,
        },
        ..(*process(900, "haproxy", None)).clone()
    });
    let workers: Vec<_> = (0..40)
        .map(|index| process(2_000 + index, "gunicorn", Some("shop.service")))
        .collect();
    for second in 0..=90 {
        let sums = sums(second, &script, &redis, &proxy, &workers);
        if second > 0 {
            for event in second_of(second, &script, &redis, &proxy, &workers) {
                sink.event(&event).unwrap();
            }
        }
        sink.sums(&sums).unwrap();
    }
}

fn second_of(
    second: u64,
    script: &Rc<Identity>,
    redis: &Rc<Identity>,
    proxy: &Rc<Identity>,
    workers: &[Rc<Identity>],
) -> Vec<Event> {
    let ms = second * 1_000 - 500;
    let mut events = vec![];
    if second > 50 {
        let detail = Detail::FdExhausted {
            errno: Errno::from_name("EMFILE").unwrap(),
            syscall: Syscall::from_name("socket"),
            count: second * 10,
            open_fds: Some(24),
            limit_soft: Some(24),
            limit_hard: Some(24),
        };
        events.push(event(ms, script, None, detail));
    }
    if second.is_multiple_of(8) {
        let detail = Detail::Retransmit {
            cause: Cause::Rto,
            segs: 1,
            seq: 77,
            backoff: 6,
            rto_us: Some(12_800_000),
            srtt_us: Some(412),
            unacked_bytes: 4_344,
            notsent_bytes: 0,
            err: 0,
        };
        let ends = ends("10.0.0.1:51282", "10.0.0.2:6379");
        events.push(event(ms + 1, redis, Some(ends), detail));
    }
    if second.is_multiple_of(5) {
        let detail = Detail::TimeWaitOverflow {
            tw_count: Some(100),
            tw_max: Some(100),
            inferred: true,
            count: 9,
        };
        let ends = ends("10.0.0.5:33000", "10.0.0.6:443");
        events.push(event(ms + 2, proxy, Some(ends), detail));
        let detail = Detail::Connection {
            duration_us: Some(1_200),
            connect_us: Some(300),
            bytes_sent: 517,
            bytes_received: 4_096,
            segs_out: Some(6),
            segs_retrans: 0,
            srtt_us: Some(280),
            end: Ended::ClosedLocal,
            errno: None,
            role: Some(Role::Active),
            us_in_state: UsInState::default(),
        };
        events.push(event(ms + 3, proxy, Some(ends), detail));
    }
    for (index, worker) in workers.iter().enumerate() {
        events.push(refused(ms + 10 + index as u64, worker));
    }
    let detail = Detail::Reset {
        direction: Direction::Sent,
        reason: Some("no_socket".into()),
    };
    let nobody = Event {
        ends: Some(ends("10.0.0.5:9", "10.0.0.7:51000")),
        ..Event::nobody(at(ms + 60), Some(NETNS), detail)
    };
    events.push(nobody);
    events
}

fn sums(
    second: u64,
    script: &Rc<Identity>,
    redis: &Rc<Identity>,
    proxy: &Rc<Identity>,
    workers: &[Rc<Identity>],
) -> Sums {
    let nothing = Totals::default();
    let mut processes = vec![
        row(
            script,
            20,
            Totals {
                fd_exhausted: (51..=second).map(|second| second * 10).sum(),
                ..nothing
            },
        ),
        row(
            redis,
            60,
            Totals {
                retransmit_segs: second / 8,
                ..nothing
            },
        ),
        row(
            proxy,
            14,
            Totals {
                time_wait_overflow: second / 5 * 9,
                connections: second / 5,
                ..nothing
            },
        ),
        ProcessRow {
            who: None,
            sockets: 0,
            totals: Totals {
                resets_sent: second,
                ..nothing
            },
        },
    ];
    processes.extend(workers.iter().map(|worker| {
        row(
            worker,
            3,
            Totals {
                connect_failed: second,
                connections: second,
                ..nothing
            },
        )
    }));
    let counters = Counters {
        entered: 10_000,
        emitted: 9_000,
        ring_full: if second > 80 { 1_000 } else { 0 },
        ..Counters::default()
    };
    let skipped = if second > 80 { 3 } else { 0 };
    Sums {
        ts: at(second * 1_000),
        processes,
        hooks: vec![HookRow::new(
            Hook::State,
            Some("tp_btf"),
            (skipped, 0),
            &counters,
        )],
    }
}

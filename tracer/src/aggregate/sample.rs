//! A trace made up for tests of what is shown of one.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
};

use tracer_common::{
    conn::OwnerSource,
    hook::{Counters, Hook},
    process::Totals,
    record::{Cause, End as How},
    tcp::state,
};

use super::Aggregate;
use crate::{
    event::{Detail, Direction, Ends, Errno, Event, Role, State, Syscall, UsInState},
    fact::{Fact, Subject, Value},
    identity::{Identity, Pid, cgroup::Place},
    kernel::counters::HookRow,
    sink::Sink as _,
    time::Time,
    trace::frame::{End, HookStart, ProcessRow, SCHEMA, Start},
};

/// When the sample begins.
pub(crate) const START: u64 = 1_763_913_600;
const NETNS: u32 = 4_026_531_840;

/// Makes a trace up, event by event.
pub(crate) struct Sample {
    pub(crate) aggregate: Aggregate,
    rows: Vec<ProcessRow>,
    skipped: u64,
    conn_id: u64,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let mut aggregate = Aggregate::default();
        let start = Start {
            event: "start",
            schema: SCHEMA,
            ts: at(0),
            host: String::from("web-1"),
            kernel: String::from("6.12.0"),
            version: "0.1.0".into(),
            hooks: vec![HookStart {
                hook: Hook::State.name().into(),
                rung: "tp_btf".into(),
            }],
            filters: vec![String::from("--port 6379")],
        };
        aggregate.start(&start).unwrap();
        Self {
            aggregate,
            rows: Vec::new(),
            skipped: 0,
            conn_id: 0,
        }
    }

    /// A process, which must be one before events name it.
    pub(crate) fn process(&mut self, pid: u32, comm: &str) -> Rc<Identity> {
        let who = Rc::new(Identity {
            pid,
            start: Time(u64::from(pid)),
            uid: Some(107),
            ppid: 1,
            comm: comm.to_owned(),
            args: vec![comm.to_owned(), String::from("--flag")],
            place: Place {
                path: Some(format!("/system.slice/{comm}.service")),
                unit: Some(format!("{comm}.service")),
                ..Place::default()
            },
        });
        self.rows.push(ProcessRow {
            who: Some(Rc::clone(&who)),
            sockets: 3,
            totals: Totals::default(),
        });
        who
    }

    fn totals(&mut self, who: Option<&Rc<Identity>>) -> &mut Totals {
        let place = self.rows.iter().position(|row| row.who.as_ref() == who);
        let place = place.unwrap_or_else(|| {
            self.rows.push(ProcessRow {
                who: who.cloned(),
                sockets: 0,
                totals: Totals::default(),
            });
            self.rows.len() - 1
        });
        &mut self.rows[place].totals
    }

    /// An event of a process, with the kernel's totals beside it.
    pub(crate) fn event(
        &mut self,
        second: u64,
        who: Option<&Rc<Identity>>,
        role: Role,
        detail: Detail,
    ) {
        self.conn_id += 1;
        self.count(who, &detail);
        let is_of_process = matches!(detail, Detail::FdExhausted { .. });
        let ephemeral = 40_000 + u16::try_from(self.conn_id % 20_000).unwrap();
        let (local, remote, source) = match role {
            Role::Active => (ephemeral, 6379, OwnerSource::Connect),
            Role::Passive => (6379, ephemeral, OwnerSource::Accept),
        };
        let address = |last, port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port);
        let event = Event {
            ts: at(second),
            conn_id: (!is_of_process).then_some(self.conn_id),
            owner: who.cloned(),
            owner_source: if who.is_some() {
                source
            } else {
                OwnerSource::Unknown
            },
            netns: Some(NETNS),
            ends: (!is_of_process && who.is_some()).then(|| Ends {
                local: address(1, local),
                remote: Some(address(2, remote)),
            }),
            detail,
        };
        self.aggregate.event(&event).unwrap();
    }

    /// Counts what a process did as the kernel does; the stream does not tell.
    pub(crate) fn count(&mut self, who: Option<&Rc<Identity>>, detail: &Detail) {
        let totals = self.totals(who);
        match detail {
            Detail::Connection { .. } => totals.connections += 1,
            Detail::ConnectFailed { .. } => totals.connect_failed += 1,
            Detail::Retransmit { segs, .. } => totals.retransmit_segs += u64::from(*segs),
            Detail::Reset {
                direction: Direction::Sent,
                ..
            } => totals.resets_sent += 1,
            Detail::Reset {
                direction: Direction::Received,
                ..
            } => totals.resets_received += 1,
            // What has no owner is known from the namespace's own counter only.
            Detail::TimeWaitOverflow { count, .. } if who.is_some() => {
                totals.time_wait_overflow += count
            }
            Detail::FdExhausted { count, .. } => totals.fd_exhausted += count,
            _ => {}
        }
    }

    pub(crate) fn fact(&mut self, second: u64, subject: Subject, name: &'static str, value: i64) {
        let fact = Fact {
            ts: at(second),
            subject,
            name: name.into(),
            value: Value::Number(value),
        };
        self.aggregate.fact(&fact).unwrap();
    }

    pub(crate) fn name(&mut self, pid: Pid, comm: &str) {
        let fact = Fact {
            ts: at(0),
            subject: Subject::Process(pid),
            name: "comm".into(),
            value: Value::Text(comm.to_owned()),
        };
        self.aggregate.fact(&fact).unwrap();
    }

    /// The kernel left out runs of the hook of retransmits.
    pub(crate) const fn skip(&mut self, runs: u64) {
        self.skipped += runs;
    }

    /// The trace so far, cut off.
    pub(crate) fn cut(self) -> Aggregate {
        self.aggregate
    }

    /// The trace with its end after `seconds`.
    pub(crate) fn end(mut self, seconds: u64) -> Aggregate {
        let hooks = [(Hook::State, 0), (Hook::Retransmit, self.skipped)];
        let end = End {
            event: "end",
            ts: at(seconds),
            duration_us: seconds * 1_000_000,
            events: self.aggregate.events.clone(),
            hooks: hooks
                .map(|(hook, skipped)| {
                    HookRow::new(hook, Some("tp_btf"), (skipped, 0), &Counters::default())
                })
                .to_vec(),
            processes: self.rows.clone(),
        };
        self.aggregate.end(&end).unwrap();
        self.aggregate
    }
}

/// A second of the sample.
pub(crate) const fn at(second: u64) -> Time {
    Time((START + second) * 1_000_000_000)
}

pub(crate) fn connection(end: How, errno: Option<i32>, segs: u32, connect_us: u64) -> Detail {
    let mut us_in_state = UsInState::default();
    us_in_state.0[usize::from(state::ESTABLISHED)] = connect_us * 10;
    Detail::Connection {
        duration_us: Some(connect_us * 12),
        connect_us: Some(connect_us),
        bytes_sent: 50_000,
        bytes_received: 700,
        segs_out: Some(100),
        segs_retrans: segs,
        srtt_us: Some(320),
        end,
        errno: errno.map(Errno),
        role: None,
        us_in_state,
    }
}

pub(crate) const fn retransmit(cause: Cause, segs: u32, seq: u32) -> Detail {
    Detail::Retransmit {
        cause,
        segs,
        seq,
        backoff: 1,
        rto_us: Some(400_000),
        srtt_us: Some(320),
        unacked_bytes: 1000,
        notsent_bytes: 0,
        err: 0,
    }
}

pub(crate) const fn refused() -> Detail {
    Detail::ConnectFailed {
        errno: Errno(111),
        syn_sent: true,
        connect_us: Some(66),
    }
}

pub(crate) const fn exhausted(syscall: u32, count: u64) -> Detail {
    Detail::FdExhausted {
        errno: Errno(24),
        syscall: Some(Syscall(syscall)),
        count,
        open_fds: Some(64),
        limit_soft: Some(64),
        limit_hard: Some(64),
    }
}

pub(crate) const fn overflow(count: u64) -> Detail {
    Detail::TimeWaitOverflow {
        tw_count: Some(100),
        tw_max: Some(100),
        inferred: false,
        count,
    }
}

/// Some of everything.
pub(crate) fn sample() -> Sample {
    let mut sample = Sample::new();
    let redis = sample.process(812, "redis-server");
    let worker = sample.process(900, "worker");
    for second in 0..10 {
        let old = State(state::SYN_SENT);
        let new = State(state::ESTABLISHED);
        let change = |old, new| Detail::State {
            old,
            new,
            in_old_us: None,
        };
        sample.event(second, Some(&worker), Role::Active, change(old, new));
        if second > 3 {
            sample.event(
                second,
                Some(&worker),
                Role::Active,
                change(new, State(state::CLOSE)),
            );
        }
        sample.event(
            second,
            Some(&redis),
            Role::Passive,
            connection(How::ClosedRemote, None, 0, 100 << second),
        );
        sample.event(
            second,
            Some(&worker),
            Role::Active,
            connection(How::ClosedLocal, None, 1, 90 << second),
        );
        sample.event(
            second,
            Some(&worker),
            Role::Active,
            retransmit(Cause::Fast, 1, 5),
        );
    }
    sample.event(
        4,
        Some(&redis),
        Role::Passive,
        connection(How::ResetRemote, Some(104), 4, 80),
    );
    sample.event(4, Some(&redis), Role::Passive, retransmit(Cause::Rto, 3, 9));
    sample.event(4, Some(&redis), Role::Passive, retransmit(Cause::Tlp, 1, 9));
    sample.event(5, Some(&worker), Role::Active, refused());
    sample.event(
        5,
        Some(&worker),
        Role::Active,
        Detail::Reset {
            direction: Direction::Received,
            reason: None,
        },
    );
    sample.event(
        5,
        None,
        Role::Active,
        Detail::Reset {
            direction: Direction::Sent,
            reason: Some("no_socket".into()),
        },
    );
    sample.event(6, Some(&worker), Role::Active, exhausted(41, 1_000));
    sample.event(7, Some(&worker), Role::Active, exhausted(257, 980));
    sample.event(8, Some(&redis), Role::Passive, overflow(901));
    sample.event(9, None, Role::Active, overflow(2));
    let netns = Subject::Namespace(NETNS);
    for (second, out, retrans) in [(0, 10_000, 100), (10, 11_200, 114)] {
        sample.fact(second, netns, "Tcp.OutSegs", out);
        sample.fact(second, netns, "Tcp.RetransSegs", retrans);
    }
    let chain = [
        (900, "worker", 700, 64),
        (700, "supervisord", 600, 64),
        (600, "bash", 1, 1024),
    ];
    for (pid, comm, parent, soft) in chain {
        let of = Pid {
            pid,
            start: Time(u64::from(pid)),
        };
        sample.name(of, comm);
        for (name, value) in [
            ("parent", parent),
            ("parent_start", parent),
            ("limit_nofile_soft", soft),
            ("limit_nofile_hard", soft),
        ] {
            sample.fact(0, Subject::Process(of), name, value);
        }
    }
    sample
}

//! Whatever a file says that was read: no rule panics.

use std::rc::Rc;

use proptest::{prelude::*, sample::select};
use tracer_common::{
    conn::OwnerSource,
    record::{Cause, End},
};

use super::{findings, format, synthetic};
use crate::{
    aggregate::Aggregate,
    event::{Detail, Ends, Errno, Event, Role, UsInState},
    fact::{Fact, Subject, Value, name},
    sink::Sink as _,
    time::Time,
};

/// Of the families of names, those that rules read.
const OF_NAMESPACES: [&str; 23] = [
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_rto_max_ms",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    name::SOMAXCONN,
    "sockstat.TCP.inuse",
    "sockstat.TCP.tw",
    "Tcp.AttemptFails",
    "Tcp.OutSegs",
    "Tcp.RetransSegs",
    "TcpExt.EmbryonicRsts",
    "TcpExt.ListenDrops",
    "TcpExt.ListenOverflows",
    "TcpExt.SyncookiesSent",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPTimeWaitOverflow",
    "drop.NETFILTER_DROP 10.0.0.1 10.0.0.2",
];

fn ends() -> Ends {
    synthetic::ends("10.0.0.1:40000", "10.0.0.2:80")
}

/// Everything that a rule may ask for.
fn asked() -> Vec<(Subject, &'static str)> {
    let netns = synthetic::NETNS;
    let of = |subject: Subject| {
        let names = name::NAMES.iter().filter(move |it| it.0 == subject.of());
        let names = names.map(|it| it.1).filter(|name| !name.ends_with('*'));
        names.map(move |name| (subject, name))
    };
    let back = Ends {
        local: ends().remote.unwrap(),
        remote: Some(ends().local),
    };
    let listener = Subject::Listener {
        netns,
        local: ends().remote.unwrap(),
    };
    let namespace = OF_NAMESPACES.map(|name| (Subject::Namespace(netns), name));
    let all = [
        Subject::Machine,
        Subject::Process(synthetic::process("app", 5).id()),
        Subject::Connection {
            netns,
            ends: ends(),
        },
        Subject::Connection { netns, ends: back },
        listener,
    ];
    all.into_iter().flat_map(of).chain(namespace).collect()
}

fn number() -> impl Strategy<Value = i64> {
    let edges = [0, 1, 2, 5, 64, 1_000, 120_000, -1, i64::MIN, i64::MAX];
    prop_oneof![select(edges.to_vec()), any::<i64>()]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        select(vec![0, 1, 1_700_000_000_000_000_000, u64::MAX]),
        any::<u64>()
    ]
    .prop_map(Time)
}

/// A value as its name asks for, mostly.
fn value(name: &'static str) -> BoxedStrategy<Value> {
    let texts: &'static [&'static str] = match name {
        name::STATE => &["ESTABLISHED", "SYN_SENT", "CLOSE"],
        name::TIMER => &["retransmit", "probe", "none"],
        name::COMM => &["app"],
        "net.ipv4.ip_local_port_range" => &["40000 40049", "9 1", "0 65535"],
        _ => return number().prop_map(Value::Number).boxed(),
    };
    select(texts.to_vec())
        .prop_map(|text| Value::Text(text.to_owned()))
        .boxed()
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let known = |(subject, name): (Subject, &'static str)| {
        let fact = (time(), value(name)).prop_map(move |(ts, value)| Fact {
            ts,
            subject,
            name: name.into(),
            value,
        });
        proptest::collection::vec(fact, 0..3)
    };
    let all: Vec<_> = asked().into_iter().map(known).collect();
    all.prop_map(|all| all.concat())
}

/// Data that is sent again, and the end of its connection.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let sent = (time(), any::<u8>(), proptest::option::of(any::<u64>()));
    let end = proptest::option::of((
        time(),
        select(vec![End::TimedOut, End::ResetRemote, End::Refused]),
        any::<u64>(),
    ));
    (proptest::collection::vec(sent, 0..6), end).prop_map(|(sent, end)| {
        let of = |ts, detail| Event {
            conn_id: Some(1),
            owner: Some(Rc::clone(&synthetic::process("app", 5))),
            owner_source: OwnerSource::Connect,
            ends: Some(ends()),
            netns: Some(synthetic::NETNS),
            ..Event::nobody(ts, None, detail)
        };
        let sent = sent.into_iter().map(|(ts, backoff, rto_us)| {
            let detail = Detail::Retransmit {
                cause: Cause::Rto,
                segs: 7,
                seq: 1,
                backoff,
                rto_us,
                srtt_us: Some(1),
                unacked_bytes: 1,
                notsent_bytes: 0,
                err: 0,
            };
            of(ts, detail)
        });
        let end = end.map(|(ts, end, us)| {
            let detail = Detail::Connection {
                duration_us: Some(us),
                connect_us: Some(us / 2),
                bytes_sent: 0,
                bytes_received: 0,
                segs_out: Some(0),
                segs_retrans: 1,
                srtt_us: Some(u32::MAX),
                end,
                errno: Some(Errno(libc::ETIMEDOUT)),
                role: Some(Role::Active),
                us_in_state: UsInState::default(),
            };
            of(ts, detail)
        });
        sent.chain(end).collect()
    })
}

proptest! {
    #[test]
    fn any_facts_are_judged(facts in facts(), events in events()) {
        let mut aggregate = Aggregate::default();
        for event in &events {
            aggregate.event(event).unwrap();
        }
        for fact in &facts {
            aggregate.fact(fact).unwrap();
        }
        let findings = findings(&aggregate);
        prop_assert!(!format::text(&findings).is_empty());
    }
}

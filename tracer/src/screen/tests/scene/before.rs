//! What is known before any event.

use std::borrow::Cow;

use super::{NETNS, at, end, ends, process, start};
use crate::{
    fact::{Fact, Subject, Value, name},
    identity::Pid,
    sink::Sink,
};

fn fact(sink: &mut dyn Sink, subject: Subject, name: impl Into<Cow<'static, str>>, number: i64) {
    let fact = Fact {
        ts: at(1),
        subject,
        name: name.into(),
        value: Value::Number(number),
    };
    sink.fact(&fact).unwrap();
}

fn text(sink: &mut dyn Sink, subject: Subject, name: &'static str, text: &str) {
    let fact = Fact {
        ts: at(1),
        subject,
        name: name.into(),
        value: Value::Text(text.to_owned()),
    };
    sink.fact(&fact).unwrap();
}

fn limits(sink: &mut dyn Sink, pid: Pid, open: i64, limit: i64) {
    let subject = Subject::Process(pid);
    fact(sink, subject, name::OPEN_FDS, open);
    fact(sink, subject, name::LIMIT_SOFT, limit);
    fact(sink, subject, name::LIMIT_HARD, limit);
}

pub(super) fn begin(sink: &mut dyn Sink) {
    sink.start(&start()).unwrap();
    let script = process(1_234, "python3", None);
    limits(sink, script.id(), 24, 24);
    let redis = process(812, "redis-server", Some("redis-server.service"));
    limits(sink, redis.id(), 71, 1_024);
    let shell = process(1_200, "bash", None);
    limits(sink, shell.id(), 4, 1_024);
    let of_script = Subject::Process(script.id());
    text(sink, of_script, name::COMM, "python3");
    text(sink, Subject::Process(shell.id()), name::COMM, "bash");
    text(
        sink,
        Subject::Process(redis.id()),
        name::COMM,
        "redis-server",
    );
    fact(sink, of_script, name::PARENT, 1_200);
    fact(sink, of_script, name::PARENT_START, shell.start.0 as i64);
    let machine = Subject::Machine;
    fact(sink, machine, name::FILE_NR, 1_216);
    fact(sink, machine, name::FILE_MAX, i64::MAX);
    let netns = Subject::Namespace(NETNS);
    for (name, number) in [
        ("sockstat.TCP.tw", 100),
        ("net.ipv4.tcp_max_tw_buckets", 100),
        ("Tcp.OutSegs", 20_000),
        ("Tcp.RetransSegs", 819),
        ("TcpExt.TCPTimeWaitOverflow", 901),
        ("TcpExt.ListenOverflows", 106),
        ("TcpExt.ListenDrops", 106),
        ("TcpExt.TCPTimeouts", 12),
        ("Tcp.AttemptFails", 4_000),
    ] {
        fact(sink, netns, name, number);
    }
    for (local, backlog, most) in [
        ("0.0.0.0:6379", 2, 1),
        ("0.0.0.0:80", 3, 511),
        ("[::]:22", 0, 128),
    ] {
        let listener = Subject::Listener {
            netns: NETNS,
            local: end(local),
        };
        fact(sink, listener, name::BACKLOG, backlog);
        fact(sink, listener, name::BACKLOG_MAX, most);
        fact(sink, listener, name::LISTENER_PID, 812);
    }
    for (remote, timer, backoff) in [
        ("10.0.0.2:6379", "retransmit", 6),
        ("10.0.0.3:6379", "probe", 2),
    ] {
        let connection = Subject::Connection {
            netns: NETNS,
            ends: ends("10.0.0.1:51282", remote),
        };
        for (name, number) in [
            (name::BACKOFF, backoff),
            (name::RETRANSMITS, backoff),
            (name::RTO_US, 12_800_000),
            (name::SRTT_US, 412),
            (name::UNACKED, 3),
            (name::TOTAL_RETRANS, 7),
            (name::CONNECTION_PID, 812),
        ] {
            fact(sink, connection, name, number);
        }
        text(sink, connection, name::TIMER, timer);
        text(sink, connection, name::STATE, "ESTABLISHED");
    }
}

//! Network namespaces: sysctls, and the kernel's own counters.

use std::{fs, path::Path};

use super::tell::Tell;
use crate::{
    fact::{Subject, Value, name},
    kernel::netns::Place,
};

/// Sysctls of TCP in `/proc/sys/net/ipv4`.
const SYSCTLS: [&str; 18] = [
    "ip_local_port_range",
    "tcp_abort_on_overflow",
    "tcp_keepalive_intvl",
    "tcp_keepalive_probes",
    "tcp_keepalive_time",
    "tcp_max_syn_backlog",
    "tcp_max_tw_buckets",
    "tcp_orphan_retries",
    "tcp_retries1",
    "tcp_retries2",
    "tcp_rmem",
    "tcp_rto_max_ms",
    "tcp_syn_linear_timeouts",
    "tcp_syn_retries",
    "tcp_synack_retries",
    "tcp_syncookies",
    "tcp_tw_reuse",
    "tcp_wmem",
];

/// Counters of `Ip` that tell of packets that stayed here.
const IP: [&str; 3] = ["OutNoRoutes", "OutDiscards", "InDiscards"];

/// Tells the sysctls. `/proc/sys/net` shows those of the namespace that the reader is in.
pub(super) fn tell_sysctls(tell: &mut Tell, place: &Place) {
    let subject = Subject::Namespace(place.inode());
    let values = place.inside(|| {
        let read = |path: String| Some(value(&fs::read_to_string(path).ok()?));
        let mut values: Vec<(String, Value)> = SYSCTLS
            .iter()
            .filter_map(|name| {
                let value = read(format!("/proc/sys/net/ipv4/{name}"))?;
                Some((format!("net.ipv4.{name}"), value))
            })
            .collect();
        if let Some(value) = read("/proc/sys/net/core/somaxconn".to_owned()) {
            values.push((name::SOMAXCONN.to_owned(), value));
        }
        Some(values)
    });
    for (name, value) in values.into_iter().flatten() {
        match value {
            Value::Number(number) => tell.number(subject, name, number),
            Value::Text(text) => tell.text(subject, name, text),
        }
    }
}

/// A number, or several with one space between.
fn value(text: &str) -> Value {
    match text.trim().parse() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Text(text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

/// Which counters have grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grown {
    /// Those of listeners that turn connections away.
    pub(super) listen: bool,
    /// Probes of a peer's closed window.
    pub(super) probes: bool,
}

/// Counters of listeners that turn connections away.
const LISTEN: [&str; 5] = [
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.SyncookiesSent",
];
/// Of a peer's closed window.
const PROBES: &str = "TcpExt.TCPWinProbe";

/// Tells the counters that have changed.
pub(super) fn tell_counters(tell: &mut Tell, place: &Place) -> Grown {
    let subject = Subject::Namespace(place.inode());
    let read = |root: &Path| {
        let file = |name| fs::read_to_string(root.join("net").join(name)).ok();
        Some((file("snmp")?, file("netstat")?, file("sockstat")?))
    };
    let texts = match place.task() {
        Some(task) => read(task),
        None => place.inside(|| read("/proc/thread-self".as_ref())),
    };
    let Some((snmp, netstat, sockstat)) = texts else {
        return Grown::default();
    };
    let mut grown = Grown::default();
    let mut on = |group: &str, key: &str, number: i64| {
        if group == "Ip" && !IP.contains(&key) {
            return;
        }
        let name = format!("{group}.{key}");
        let before = tell.told(&subject, &name);
        if before.is_some_and(|before| number > before) {
            grown.listen |= LISTEN.contains(&name.as_str());
            grown.probes |= name == PROBES;
        }
        if before != Some(number) {
            tell.number(subject, name, number);
        }
    };
    counters(&snmp, &["Tcp", "Ip"], &mut on);
    counters(&netstat, &["TcpExt"], &mut on);
    for (key, number) in tcp_sockets(&sockstat) {
        let name = format!("sockstat.TCP.{key}");
        tell.number(subject, name, number);
    }
    grown
}

/// Hands out the counters of the wanted groups: names on one line, numbers on the next.
fn counters(text: &str, groups: &[&str], on: &mut impl FnMut(&str, &str, i64)) {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let Some((group, names)) = names.split_once(':') else {
            continue;
        };
        let Some((_, numbers)) = numbers.split_once(':') else {
            continue;
        };
        if !groups.contains(&group) {
            continue;
        }
        let numbers = numbers.split_ascii_whitespace().map(str::parse);
        for (name, number) in names.split_ascii_whitespace().zip(numbers) {
            if let Ok(number) = number {
                on(group, name, number);
            }
        }
    }
}

/// `TCP: inuse 3 orphan 0 tw 41 alloc 5 mem 1`.
fn tcp_sockets(text: &str) -> impl Iterator<Item = (&str, i64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let words: Vec<&str> = line.unwrap_or_default().split_ascii_whitespace().collect();
    words
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_groups_and_names() {
        let text = "Ip: A OutNoRoutes\nIp: 1 2\nTcp: MaxConn B\nTcp: -1 7\nUdp: C\nUdp: 9\n";
        let mut found = Vec::new();
        counters(text, &["Tcp", "Ip"], &mut |group, name, number| {
            found.push(format!("{group}.{name} {number}"));
        });
        assert_eq!(
            found,
            ["Ip.A 1", "Ip.OutNoRoutes 2", "Tcp.MaxConn -1", "Tcp.B 7"]
        );
    }

    #[test]
    fn sockets_are_counted_by_kind() {
        let text = "sockets: used 10\nTCP: inuse 3 orphan 0 tw 41\nUDP: inuse 1\n";
        let found: Vec<_> = tcp_sockets(text).collect();
        assert_eq!(found, [("inuse", 3), ("orphan", 0), ("tw", 41)]);
    }

    #[test]
    fn a_sysctl_of_several_numbers_is_a_text() {
        assert_eq!(value("100\n"), Value::Number(100));
        assert_eq!(
            value("32768\t60999\n"),
            Value::Text("32768 60999".to_owned())
        );
    }
}

//! A network namespace's own counters of what events tell.

use std::{collections::BTreeMap, fs};

use super::netns;

/// A namespace's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// `TcpExt TCPTimeWaitOverflow`.
    pub overflows: u64,
    /// `Tcp RetransSegs`.
    pub retransmits: u64,
}

/// The counters of every namespace that can be seen, by inode number.
#[must_use]
pub fn counted() -> BTreeMap<u32, Counted> {
    netns::each(|place| {
        let read = |folder: &std::path::Path| {
            let text = |name| fs::read_to_string(folder.join(name)).ok();
            Some(Counted {
                overflows: counter(&text("netstat")?, "TCPTimeWaitOverflow"),
                retransmits: counter(&text("snmp")?, "RetransSegs"),
            })
        };
        match place.task() {
            Some(root) => read(&root.join("net")),
            None => place.inside(|| read("/proc/thread-self/net".as_ref())),
        }
    })
}

/// A counter in the text of `/proc/PID/net/netstat` or `snmp`: names on one line, numbers on the next.
fn counter(text: &str, wanted: &str) -> u64 {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let place = names
            .split_ascii_whitespace()
            .position(|name| name == wanted);
        if let Some(place) = place {
            return numbers
                .split_ascii_whitespace()
                .nth(place)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_by_name() {
        let text = "TcpExt: A TCPTimeWaitOverflow B\nTcpExt: 1 42 3\nIpExt: A\nIpExt: 9\n";
        assert_eq!(counter(text, "TCPTimeWaitOverflow"), 42);
        assert_eq!(counter("TcpExt: A\nTcpExt: 1\n", "TCPTimeWaitOverflow"), 0);
        assert_eq!(counter("", "TCPTimeWaitOverflow"), 0);
    }
}

//! A network namespace's own counter of time-wait overflows.

use std::{collections::BTreeMap, fs};

use super::netns;

/// `TCPTimeWaitOverflow` of every namespace that can be seen, by inode number.
#[must_use]
pub fn overflows() -> BTreeMap<u32, u64> {
    netns::each(|place| {
        let text = match place.task() {
            Some(root) => fs::read_to_string(root.join("net/netstat")).ok(),
            None => place.inside(|| fs::read_to_string("/proc/thread-self/net/netstat").ok()),
        };
        Some(overflow(&text?))
    })
}

/// The counter in the text of `/proc/PID/net/netstat`: names on one line, numbers on the next.
fn overflow(text: &str) -> u64 {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let place = names
            .split_ascii_whitespace()
            .position(|name| name == "TCPTimeWaitOverflow");
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
        assert_eq!(overflow(text), 42);
        assert_eq!(overflow("TcpExt: A\nTcpExt: 1\n"), 0);
        assert_eq!(overflow(""), 0);
    }
}

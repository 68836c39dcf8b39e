//! Sockets that are gone though no program saw them end. Not every kernel counts each program that it skips, so what the
//! programs think is open is compared with the sockets that there are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    thread,
    time::Duration,
};

use netlink_packet_sock_diag::inet::{StateFlags, Timer};
use tracer_common::{conn::Conn, tcp::state};

use super::{inet_diag, netns, session::Session, tables::entries};
use crate::event::Ends;

/// A socket leaves the kernel's table a moment before its end is told (`net/ipv4/tcp.c: tcp_set_state`), and comes into it a
/// moment after its connect is (`net/ipv4/tcp_ipv4.c: tcp_v4_connect`): what is missing is looked for so often,
const LOOKS: usize = 3;
/// and so long after the look before.
const PAUSE: Duration = Duration::from_millis(10);

impl Session {
    /// Counts the connections that ended unseen as skipped. Where the kernel does not list its sockets, or a namespace can't
    /// be entered, nobody can tell and nothing is counted.
    ///
    /// # Errors
    ///
    /// When the map can't be read.
    pub fn find_ended_unseen(&mut self) -> anyhow::Result<()> {
        let mut open = self.open()?;
        for look in 0..LOOKS {
            if open.is_empty() {
                break;
            }
            if look > 0 {
                thread::sleep(PAUSE);
            }
            open = missing(open);
            let still = self.open()?;
            open.retain(|id, _| still.contains_key(id));
        }
        self.ended_unseen += open.len() as u64;
        Ok(())
    }

    /// The connections that the programs think are open, by number.
    fn open(&mut self) -> anyhow::Result<HashMap<u64, Conn>> {
        let conns = entries::<u64, Conn>(&mut self.ebpf, "CONNS")?;
        let conns = conns.into_iter().map(|(_, conn)| (conn.id, conn));
        Ok(conns.filter(|(_, conn)| is_open(conn.state)).collect())
    }
}

/// Whether the kernel's table has a socket in this state. What waits in a listener's queue is left to the listener.
const fn is_open(of: u8) -> bool {
    matches!(
        of,
        state::SYN_SENT
            | state::ESTABLISHED
            | state::FIN_WAIT1
            | state::FIN_WAIT2
            | state::CLOSE_WAIT
            | state::LAST_ACK
            | state::CLOSING
    )
}

/// Those that the kernel does not list.
fn missing(mut conns: HashMap<u64, Conn>) -> HashMap<u64, Conn> {
    let wanted: HashSet<u32> = conns.values().map(|conn| conn.tuple.netns).collect();
    let listed: BTreeMap<u32, HashSet<Ends>> = netns::each(|place| {
        if wanted.contains(&place.inode()) {
            place.inside(listed)
        } else {
            Some(HashSet::new())
        }
    });
    conns.retain(|_, conn| {
        let listed = listed.get(&conn.tuple.netns);
        let ends = Ends::of(&conn.tuple);
        listed
            .zip(ends)
            .is_some_and(|(listed, ends)| !listed.contains(&ends))
    });
    conns
}

/// The connections of the namespace that the caller is in.
fn listed() -> Option<HashSet<Ends>> {
    let states = StateFlags::all() - StateFlags::LISTEN - StateFlags::TIME_WAIT;
    let mut found = HashSet::new();
    inet_diag::list(&states, |socket| {
        // One that waits in FIN_WAIT2 for its peer's FIN may be a time-wait socket, which no entry is of.
        if socket.timer != Some(Timer::TimeWait) {
            found.insert(socket.ends);
        }
    })
    .ok()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use tracer_common::conn::Tuple;

    use super::*;

    fn conn(local: SocketAddr, remote: SocketAddr) -> Conn {
        let address = |end: SocketAddr| match end {
            SocketAddr::V4(end) => bytemuck::cast(end.ip().to_ipv6_mapped().octets()),
            SocketAddr::V6(end) => bytemuck::cast(end.ip().octets()),
        };
        Conn {
            state: state::ESTABLISHED,
            tuple: Tuple {
                laddr: address(local),
                raddr: address(remote),
                netns: netns::inode("/proc/thread-self/ns/net".as_ref()).unwrap(),
                lport: local.port(),
                rport: remote.port(),
            },
            ..Conn::EMPTY
        }
    }

    /// Of the open ones none is missing, and of those that ended each, but where nobody can look.
    #[test]
    fn what_the_kernel_does_not_list_is_missing() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let at = listener.local_addr().unwrap();
            let client = TcpStream::connect(at).unwrap();
            let here = client.local_addr().unwrap();
            let mut elsewhere = conn(at, at);
            elsewhere.tuple.netns = 1;
            let conns = [conn(here, at), conn(at, here), conn(at, at), elsewhere];
            let conns = (0..).zip(conns).collect();
            assert_eq!(missing(conns).into_keys().collect::<Vec<_>>(), [2]);
        }
    }
}

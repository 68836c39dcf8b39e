//! Questions to the kernel's sock_diag about TCP sockets, in the namespace of the calling thread.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, Timer, nlas::Nla},
};
use netlink_sys::{Socket as Netlink, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::tcp_info::TcpInfo;
use crate::event::Ends;

/// A socket as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    /// Its ends; the remote port of a listener is 0.
    pub(super) ends: Ends,
    /// Its state.
    pub(super) state: u8,
    /// The timer that runs.
    pub(super) timer: Option<Timer>,
    /// Bytes that wait to be read; for a listener, connections that wait to be accepted.
    pub(super) recv_queue: u32,
    /// Bytes that are not acknowledged; for a listener, how many connections may wait.
    pub(super) send_queue: u32,
    /// Its inode number in sockfs; 0 where no descriptor stands for it.
    pub(super) inode: u64,
    /// What TCP tells, not of listeners.
    pub(super) info: Option<TcpInfo>,
}

impl Socket {
    fn read(response: &InetResponse) -> Self {
        let header = &response.header;
        let id = &header.socket_id;
        let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
        let (mut local, remote) = (
            address(id.source_address, id.source_port),
            address(id.destination_address, id.destination_port),
        );
        if remote.is_ipv4() && local.ip().is_unspecified() {
            local.set_ip(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        }
        let info = response.nlas.iter().find_map(|nla| match nla {
            Nla::TcpInfo(bytes) => TcpInfo::parse(bytes),
            _ => None,
        });
        Self {
            ends: Ends {
                local,
                remote: Some(remote),
            },
            state: header.state,
            timer: header.timer.clone(),
            recv_queue: header.recv_queue,
            send_queue: header.send_queue,
            inode: header.inode.into(),
            info,
        }
    }

    /// When its timer expires.
    pub(super) fn expires(&self) -> Option<Duration> {
        match self.timer {
            Some(
                Timer::Retransmit(expires, _) | Timer::KeepAlive(expires) | Timer::Probe(expires),
            ) => Some(expires),
            Some(Timer::TimeWait) | None => None,
        }
    }
}

/// Lists the sockets in these states.
pub(super) fn list(states: &StateFlags, mut on: impl FnMut(Socket)) -> io::Result<()> {
    let extensions = if *states == StateFlags::LISTEN {
        ExtensionFlags::empty()
    } else {
        ExtensionFlags::INFO
    };
    for family in [AF_INET, AF_INET6] {
        dump(family, states.clone(), extensions.clone(), |response| {
            on(Socket::read(response));
        })?;
    }
    Ok(())
}

/// One connection; `None` when there is none.
pub(super) fn find(ends: &Ends) -> io::Result<Option<Socket>> {
    let Some(remote) = ends.remote else {
        return Ok(None);
    };
    let request = InetRequest {
        family: if remote.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: ends.local.port(),
            destination_port: remote.port(),
            source_address: ends.local.ip(),
            destination_address: remote.ip(),
            interface_id: 0,
            // Any cookie: `include/uapi/linux/inet_diag.h: INET_DIAG_NOCOOKIE`.
            cookie: [0xff; 8],
        },
    };
    let mut found = None;
    match ask(request, NLM_F_REQUEST, |response| {
        found = Some(Socket::read(response))
    }) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
        // Where there is no connection, the kernel finds the listener.
        Ok(()) => Ok(found.filter(|socket| socket.ends == *ends)),
    }
}

/// Has the kernel list the TCP sockets of a family.
pub(super) fn dump(
    family: u8,
    states: StateFlags,
    extensions: ExtensionFlags,
    on: impl FnMut(&InetResponse),
) -> io::Result<()> {
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions,
        states,
        socket_id: if family == AF_INET {
            SocketId::new_v4()
        } else {
            SocketId::new_v6()
        },
    };
    ask(request, NLM_F_REQUEST | NLM_F_DUMP, on)
}

fn ask(request: InetRequest, flags: u16, mut on: impl FnMut(&InetResponse)) -> io::Result<()> {
    let mut socket = Netlink::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::from(SockDiagMessage::InetRequest(request));
    packet.header.flags = flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let is_dump = flags & NLM_F_DUMP == NLM_F_DUMP;
    let mut answer = Vec::with_capacity(64 << 10);
    loop {
        answer.clear();
        socket.recv(&mut answer, 0)?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    on(&response);
                    if !is_dump {
                        return Ok(());
                    }
                }
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(-done.code));
                }
                NetlinkPayload::Done(_) => return Ok(()),
                _ => {}
            }
            // Messages are aligned to four bytes.
            let len = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(len.max(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tracer_common::tcp::state;

    use super::*;

    #[test]
    fn a_listener_and_a_connection_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let mut listeners = Vec::new();
        list(&StateFlags::LISTEN, |socket| listeners.push(socket)).unwrap();
        let found = listeners
            .iter()
            .find(|socket| socket.ends.local == here)
            .unwrap();
        assert_eq!((found.state, found.recv_queue), (state::LISTEN, 0));
        assert!(found.send_queue > 0, "its backlog");

        let client = TcpStream::connect(here).unwrap();
        let ends = Ends {
            local: client.local_addr().unwrap(),
            remote: Some(here),
        };
        let socket = find(&ends).unwrap().unwrap();
        assert_eq!(socket.ends, ends);
        assert_eq!(socket.state, state::ESTABLISHED);
        assert!(socket.info.unwrap().rto_us >= 200_000);
        let nobody = Ends {
            local: here,
            remote: Some("127.0.0.1:1".parse().unwrap()),
        };
        assert_eq!(find(&nobody).unwrap(), None, "not the listener");
    }
}

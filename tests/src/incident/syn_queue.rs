//! More half-open connections than a listener has room for.

use std::net::SocketAddr;

use socket2::Socket;

use crate::{Veth, program::Redis, sockets};

/// redis at the far host, and a near host that answers no SYN-ACK: each of its connects stays half open.
pub struct SynQueue {
    /// The two hosts.
    pub veth: Veth,
    /// The server, whose listener it is.
    pub redis: Redis,
    half_open: Vec<Socket>,
}

impl SynQueue {
    /// The listener's backlog, which also bounds its half-open connections.
    pub const BACKLOG: usize = 128;

    /// Starts redis where `sysctls` hold.
    pub fn start(sysctls: &[(&str, &str)]) -> Self {
        let veth = Veth::new();
        for (name, value) in sysctls {
            veth.far.sysctl(name, value);
        }
        let redis = Redis::start(&veth.far, &["--tcp-backlog", &Self::BACKLOG.to_string()]);
        veth.near
            .drop_incoming("tcp flags & (syn | ack) == syn | ack");
        Self {
            veth,
            redis,
            half_open: vec![],
        }
    }

    /// The clients give up: no SYN is sent again.
    pub fn stop(&mut self) {
        self.half_open.clear();
    }

    /// Sends so many SYNs; the kernel sends each again after a second.
    pub fn flood(&mut self, number: usize) {
        let address: SocketAddr = format!("{}:{}", Veth::FAR, Redis::PORT)
            .parse()
            .expect("an address");
        let sockets = self.veth.near.run(|| {
            (0..number)
                .map(|_| {
                    let socket = sockets::tcp(address).expect("a socket");
                    socket.set_nonblocking(true).expect("a mode");
                    let error = socket.connect(&address.into()).expect_err("half open");
                    assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS));
                    socket
                })
                .collect::<Vec<_>>()
        });
        self.half_open.extend(sockets);
    }
}

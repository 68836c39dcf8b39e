//! A peer that is no longer there, and what looks like it.

use crate::{
    Netns, Veth,
    program::{Client, Redis},
    wait,
};

/// A redis replica in the near namespace, and its master in the far one.
pub struct Replication {
    /// The two hosts.
    pub veth: Veth,
    /// The near one.
    pub replica: Redis,
    /// The far one, while it lives.
    pub master: Option<Redis>,
}

impl Replication {
    /// Starts both, and waits until the replica is in step.
    ///
    /// `sysctls` are the near host's, such as `net.ipv4.tcp_retries2`.
    pub fn start(sysctls: &[(&str, &str)]) -> Self {
        let veth = Veth::new();
        for (name, value) in sysctls {
            veth.near.sysctl(name, value);
        }
        let master = Redis::start(&veth.far, &[]);
        let port = Redis::PORT.to_string();
        let replica = Redis::start(&veth.near, &["--replicaof", Veth::FAR, &port]);
        wait::until_true("the replica is in step", || {
            Redis::ask(&veth.near, &["info", "replication"]).contains("master_link_status:up")
        });
        Self {
            veth,
            replica,
            master: Some(master),
        }
    }

    /// Connections of the near side to the master, as `ss` shows them.
    pub fn connections(&self) -> String {
        self.veth
            .near
            .ss(&["-Htnoi", "state", "established", "dst", Veth::FAR])
    }

    /// From now on the far host neither hears nor says anything.
    pub fn vanish(&self) {
        vanish(&self.veth.far);
    }

    /// It is back, with a kernel that knows of no connection: the cable leads to another namespace.
    pub fn come_back_rebooted(&mut self) {
        let rebooted = Netns::new();
        let far = std::mem::replace(&mut self.veth.far, rebooted);
        let rebooted = &self.veth.far;
        far.ip(&format!("link set eth0 netns {}", rebooted.path()));
        rebooted.ip(&format!("addr add {}/24 dev eth0", Veth::FAR));
        rebooted.ip("link set eth0 up");
        self.master = Some(Redis::start(rebooted, &[]));
    }

    /// The master's process is killed; its host answers for it.
    pub fn kill_master(&mut self) {
        self.master = None;
    }

    /// The cable is pulled at the far end.
    pub fn pull_cable(&self) {
        self.veth.far.ip("link set eth0 down");
    }

    /// The near host has no route to the far one any more.
    pub fn lose_route(&self) {
        self.veth.near.ip("route del 10.99.0.0/24");
    }
}

/// From now on the host neither hears nor says anything. The rules are the far host's, so that none of them is to blame in the near one.
pub fn vanish(host: &Netns) {
    host.nft(
        "table inet gone {
             chain input { type filter hook input priority 0; drop; }
             chain output { type filter hook output priority 0; drop; }
         }\n",
    );
}

/// A client of a redis at the far host with keepalive: probes from 2 s on, one a second, and the end after two without an answer. It says
/// something every 200 ms, or nothing at all.
pub fn with_keepalive(veth: &Veth, talks: bool) -> Client {
    const KEEP: &str = r#"
import errno, socket
talks = sys.argv[3] == "true"
peer = socket.create_connection((sys.argv[2], 6379))
peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2)):
    peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
count("connected")
try:
    while talks:
        peer.send(b"PING\r\n")
        time.sleep(0.2)
    peer.recv(1)
except OSError as error:
    count(errno.errorcode[error.errno])
"#;
    Client::start(&veth.near, KEEP, &[Veth::FAR, &talks.to_string()])
}

/// A client of a redis at the far host that says something every 200 ms and reads no answer, with TCP_USER_TIMEOUT.
pub fn talker(veth: &Veth, user_timeout_ms: u32) -> Client {
    const TALK: &str = r#"
import socket
talk = socket.create_connection((sys.argv[2], 6379))
talk.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(sys.argv[3]))
try:
    while True:
        talk.send(b"PING\r\n")
        count("sent")
        time.sleep(0.2)
except OSError as error:
    import errno
    count(errno.errorcode[error.errno])
"#;
    Client::start(&veth.near, TALK, &[Veth::FAR, &user_timeout_ms.to_string()])
}

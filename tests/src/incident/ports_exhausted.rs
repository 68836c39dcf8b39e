//! No local port left to connect from.

use crate::{
    Netns,
    program::{Client, Redis},
};

/// A program that keeps every connection, in a namespace with few ports.
pub struct PortsExhausted {
    /// Where all of it runs.
    pub netns: Netns,
    /// Whom it connects to.
    pub redis: Redis,
}

impl PortsExhausted {
    /// How many ports `net.ipv4.ip_local_port_range` leaves.
    pub const PORTS: u64 = 50;

    /// Starts redis.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let netns = Netns::new();
        let redis = Redis::start(&netns, &[]);
        let last = 40000 + Self::PORTS - 1;
        netns.sysctl("net.ipv4.ip_local_port_range", &format!("40000 {last}"));
        Self { netns, redis }
    }

    /// A program that connects `number` times, a hundred times a second, and then waits.
    pub fn client(&self, number: u64) -> Client {
        const HOLD: &str = r#"
import socket, errno
held = []
for _ in range(int(sys.argv[2])):
    try:
        held.append(socket.create_connection(("127.0.0.1", 6379)))
        count("ok")
    except OSError as error:
        count(errno.errorcode[error.errno])
    time.sleep(0.01)
time.sleep(60)
"#;
        Client::start(&self.netns, HOLD, &[&number.to_string()])
    }
}

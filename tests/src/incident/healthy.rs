//! Busy and well: nothing here is anybody's trouble.

use std::{process::Stdio, time::Duration};

use crate::{
    Netns, Server, need_program,
    program::{Client, Nginx, Redis},
};

/// nginx with one small page, in `netns`.
pub fn nginx(netns: &Netns) -> Nginx {
    Nginx::start(
        netns.command(Nginx::path()),
        "worker_processes 2; events { worker_connections 512; }",
        "",
        "listen 8080; access_log off; location / { return 200 page; }",
    )
}

/// `wrk` asks nginx for so long, over connections that it keeps.
pub fn wrk(netns: &Netns, duration: Duration) -> Server {
    let mut command = netns.command(need_program("wrk", "wrk"));
    command
        .args(["-t", "1", "-c", "50", "-d"])
        .arg(format!("{}s", duration.as_secs()))
        .arg("http://127.0.0.1:8080/");
    Server::spawn(command.stdout(Stdio::null()))
}

/// `redis-benchmark` keeps a redis in `netns` busy until it is dropped.
pub fn redis_benchmark(netns: &Netns) -> (Server, Redis) {
    let redis = Redis::start(netns, &[]);
    let mut command = netns.command(need_program("redis-benchmark", "redis-tools"));
    command.args(["-q", "-l", "-t", "get,set", "-c", "50"]);
    (Server::spawn(command.stdout(Stdio::null())), redis)
}

/// Fetches pages like a browser: six connections at once that it keeps for a while, some given up in the middle, some by
/// reset.
pub fn browser(netns: &Netns) -> Client {
    const BROWSE: &str = r#"
import http.client, socket, struct
while True:
    connections = [http.client.HTTPConnection("127.0.0.1", 8080) for _ in range(6)]
    for number in range(4):
        for connection in connections:
            connection.request("GET", "/")
            count(str(connection.getresponse().read()))
        time.sleep(0.1)
    # A tab is closed while a page loads.
    connections[0].request("GET", "/")
    connections[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for connection in connections:
        connection.close()
"#;
    Client::start(netns, BROWSE, &[])
}

/// Tries each of some thousand ports once, for so long at least; all but one answer with a reset.
pub fn port_scan(netns: &Netns, duration: Duration) -> Client {
    const SCAN: &str = r#"
import socket
first, number, pause = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
for port in range(first, first + number):
    with socket.socket() as probe:
        count(str(probe.connect_ex(("127.0.0.1", port))))
    time.sleep(pause)
time.sleep(60)
"#;
    const FIRST: u16 = 8_000;
    // What is scanned must not be the scanner's own port: it would connect to itself.
    const OWN: u16 = 61_000;
    netns.sysctl("net.ipv4.ip_local_port_range", &format!("{OWN} 65535"));
    let number = (duration.as_millis() / 4).min(u128::from(OWN - FIRST));
    let pause = duration.as_secs_f64() / number as f64;
    let arguments = [FIRST.to_string(), number.to_string(), pause.to_string()];
    Client::start(netns, SCAN, &arguments.each_ref().map(String::as_str))
}

/// Short connections to redis, up to two hundred a second, each closed in order.
pub fn short_connections(netns: &Netns) -> (Client, Redis) {
    const ASK: &str = r#"
import redis
while True:
    client = redis.StrictRedis(host="127.0.0.1", port=6379)
    count(str(client.ping()))
    client.connection_pool.disconnect()
    time.sleep(0.005)
"#;
    let redis = Redis::start(netns, &[]);
    let client = Client::start(netns, ASK, &[]);
    (client, redis)
}

/// nginx in front of two servers that are restarted in turn.
pub struct RollingRestart {
    /// The one in front.
    pub front: Nginx,
    servers: [Option<Nginx>; 2],
}

impl RollingRestart {
    /// Starts the three, with port 8080 in front, which connects anew for each request.
    pub fn start(netns: &Netns) -> Self {
        Self::behind(netns, "", "")
    }

    /// As above; the front keeps its connections to them.
    pub fn with_keepalive(netns: &Netns) -> Self {
        let keep = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
        Self::behind(netns, "keepalive 16;", keep)
    }

    fn behind(netns: &Netns, upstream: &str, location: &str) -> Self {
        let servers = [0, 1].map(|at| Some(Self::server(netns, at)));
        let front = Nginx::start(
            netns.command(Nginx::path()),
            "worker_processes 1; events { worker_connections 512; }",
            &format!(
                "upstream servers {{ server 127.0.0.1:8001 max_fails=0; server 127.0.0.1:8002 max_fails=0; {upstream} }}"
            ),
            &format!("listen 8080; location / {{ {location} proxy_pass http://servers; }}"),
        );
        Self { front, servers }
    }

    fn server(netns: &Netns, at: usize) -> Nginx {
        Nginx::start(
            netns.command(Nginx::path()),
            "worker_processes 1; events { worker_connections 512; }",
            "",
            &format!(
                "listen 127.0.0.1:800{}; location / {{ return 200 page; }}",
                at + 1
            ),
        )
    }

    /// Ends one of the two in order, and starts it again `pause` later.
    pub fn restart(&mut self, netns: &Netns, at: usize, pause: Duration) {
        self.servers[at] = None;
        std::thread::sleep(pause);
        self.servers[at] = Some(Self::server(netns, at));
    }
}

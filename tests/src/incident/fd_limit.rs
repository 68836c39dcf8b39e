//! No descriptor left.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Netns,
    program::{Redis, Supervisord},
    sockets, wait,
};

/// A client that opens one connection after the other and closes none. When no descriptor is left the resolver cannot
/// read /etc/hosts, nor make a socket to ask anybody else.
const LEAK: &str = r#"
import redis
clients = []
while True:
    client = redis.StrictRedis(host="localhost", port=6379)
    try:
        client.ping()
        clients.append(client)
        count("ok")
    except redis.ConnectionError as error:
        count(str(error))
    time.sleep(0.001)
"#;

/// supervisord gives its program the limits that it has itself.
pub struct Supervised {
    /// Where all of it runs.
    pub netns: Netns,
    /// Whom the program connects to.
    pub redis: Redis,
    /// The parent of the program that has no descriptor left.
    pub supervisord: Supervisord,
}

impl Supervised {
    /// The sockets in TIME_WAIT beside it. They hold no descriptor.
    pub const TIME_WAIT: u64 = 40;

    /// Starts supervisord with those limits, and waits until its program fails.
    pub fn start(soft: u64, hard: u64, minfds: u64) -> Self {
        Self::start_in(Netns::new(), soft, hard, minfds)
    }

    /// As above, in a namespace that is there.
    pub fn start_in(netns: Netns, soft: u64, hard: u64, minfds: u64) -> Self {
        let redis = Redis::start(&netns, &[]);
        wait::until_true("sockets in TIME_WAIT", || {
            ping(&netns);
            netns.time_wait_sockets() >= Self::TIME_WAIT
        });
        let supervisord = Supervisord::start(&netns, soft, hard, minfds, LEAK, &["redis"]);
        let incident = Self {
            netns,
            redis,
            supervisord,
        };
        wait::until_true("no descriptor is left", || incident.failures() > 0);
        incident
    }

    /// Stops the program where it is: it fails no more.
    pub fn freeze(&self) {
        let program = Pid::from_raw(self.supervisord.program() as i32);
        kill(program, Signal::SIGSTOP).expect("stop the program");
    }

    /// How often the program was told that it has too many open files.
    pub fn failures(&self) -> u64 {
        let answers: BTreeMap<_, _> = self.supervisord.answers();
        let failures = answers.iter().filter(|(answer, _)| *answer != "ok");
        failures
            .map(|(answer, count)| {
                assert!(answer.contains("Too many open files"), "{answer}");
                count
            })
            .sum()
    }
}

/// A connection that this side closes first.
fn ping(netns: &Netns) {
    netns.run(|| {
        let mut stream = sockets::connect(&format!("127.0.0.1:{}", Redis::PORT)).expect("connect");
        stream.write_all(b"PING\r\n").expect("ask");
        stream.read_exact(&mut [0; 7]).expect("an answer");
    });
}

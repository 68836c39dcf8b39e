//! The time-wait table is full, which hurts nobody; and a client's error that it gets blamed for.

use std::collections::BTreeMap;

use crate::{
    Netns,
    program::{Client, Haproxy, Redis},
};

/// redis, in a namespace whose time-wait table is small.
pub struct SmallTable {
    /// Where all of it runs.
    pub netns: Netns,
    /// Whom the clients ask.
    pub redis: Redis,
}

/// Connects, asks, and closes, again and again; threads do it at once.
const SHORT: &str = r#"
import redis, threading
def run(number, pause):
    for _ in range(number):
        client = redis.StrictRedis(host="127.0.0.1", port=int(sys.argv[2]))
        try:
            count(str(client.ping()))
        except redis.RedisError as error:
            count(str(error))
        client.connection_pool.disconnect()
        time.sleep(pause)
threads = int(sys.argv[3])
for _ in range(threads):
    threading.Thread(target=run, args=(int(sys.argv[4]) // threads, float(sys.argv[5]))).start()
"#;

impl SmallTable {
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub const TABLE: u64 = 100;

    /// Starts redis.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let netns = Netns::new();
        netns.sysctl("net.ipv4.tcp_max_tw_buckets", &Self::TABLE.to_string());
        let redis = Redis::start(&netns, &[]);
        Self { netns, redis }
    }

    /// A program that makes `number` short connections to redis, a few hundred a second.
    pub fn clients(&self, number: u64) -> Client {
        short(&self.netns, Redis::PORT, 1, number, 0.002)
    }
}

fn short(netns: &Netns, port: u16, threads: u64, number: u64, pause: f64) -> Client {
    let arguments = [
        port.to_string(),
        threads.to_string(),
        number.to_string(),
        pause.to_string(),
    ];
    Client::start(netns, SHORT, &arguments.each_ref().map(String::as_str))
}

/// haproxy, whose backend is down, in a namespace where the table is full, too.
pub struct DeadBackend {
    /// Where all of it runs.
    pub netns: Netns,
    /// The one that is refused.
    pub haproxy: Haproxy,
}

impl DeadBackend {
    const PORT: u16 = 6380;
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub const TABLE: u64 = 10;

    /// Starts haproxy and fills the table.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let netns = Netns::new();
        netns.sysctl("net.ipv4.tcp_max_tw_buckets", &Self::TABLE.to_string());
        let redis = Redis::start(&netns, &[]);
        let answers: BTreeMap<_, _> = short(&netns, Redis::PORT, 1, 126, 0.0).ended();
        assert_eq!(answers["True"], 126, "{answers:?}");
        drop(redis);
        let haproxy = Haproxy::start(&netns, Self::PORT, Redis::PORT);
        Self { netns, haproxy }
    }

    /// A program that makes `number` short connections to haproxy, twelve at once. haproxy waits for a second before it tries again.
    pub fn clients(&self, number: u64) -> Client {
        short(&self.netns, Self::PORT, 12, number, 0.0)
    }
}

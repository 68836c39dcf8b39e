//! A connection that waits for data for ever: if its peer vanishes, nothing will ever tell.

use crate::{
    Veth,
    program::{Client, Redis},
    wait,
};

/// A subscriber without a timeout, and a redis at the far host that probes nobody.
pub struct HalfOpenRisk {
    /// The two hosts.
    pub veth: Veth,
    /// Whom it waits for.
    pub redis: Redis,
    /// The one that waits.
    pub subscriber: Client,
}

impl HalfOpenRisk {
    /// The near host's `net.ipv4.tcp_keepalive_time`, after which an idle connection would be probed if it asked for it. It is two
    /// hours everywhere else.
    pub const KEEPALIVE_TIME: u64 = 6;

    /// Starts both; the subscriber waits.
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        const SUBSCRIBE: &str = r#"
import redis
channel = redis.StrictRedis(host=sys.argv[2]).pubsub()
channel.subscribe("news")
for message in channel.listen():
    count(message["type"])
"#;
        let veth = Veth::new();
        let time = Self::KEEPALIVE_TIME.to_string();
        veth.near.sysctl("net.ipv4.tcp_keepalive_time", &time);
        let redis = Redis::start(&veth.far, &["--tcp-keepalive", "0"]);
        let subscriber = Client::start(&veth.near, SUBSCRIBE, &[Veth::FAR]);
        assert_eq!(subscriber.answers()["subscribe"], 1);
        wait::until_true("it is idle for long enough", || {
            let shown = veth.near.ss(&["-Htni", "state", "established"]);
            let idle = shown.split("lastrcv:").nth(1).expect("a connection");
            let idle: u64 = idle.split(' ').next().expect("ms").parse().expect("ms");
            idle > Self::KEEPALIVE_TIME * 1000
        });
        Self {
            veth,
            redis,
            subscriber,
        }
    }
}

//! A connection that waits for data for ever: if its peer vanishes, nothing will ever tell.

use crate::{
    Veth,
    program::{Client, Redis},
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
        let redis = Redis::start(&veth.far, &["--tcp-keepalive", "0"]);
        let subscriber = Client::start(&veth.near, SUBSCRIBE, &[Veth::FAR]);
        assert_eq!(subscriber.answers()["subscribe"], 1);
        Self {
            veth,
            redis,
            subscriber,
        }
    }
}

//! Connections that wait to be accepted, and find no room to wait.

use std::process::Stdio;

use crate::{
    Netns, Reaped,
    program::{Client, Redis},
    wait,
};

/// redis, with a backlog of one.
pub struct AcceptQueue {
    /// Where all of it runs.
    pub netns: Netns,
    /// The server that does not accept.
    pub redis: Redis,
}

impl AcceptQueue {
    /// The listener's backlog.
    pub const BACKLOG: u64 = 1;

    /// Starts it; it serves.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let netns = Netns::new();
        let backlog = Self::BACKLOG.to_string();
        let redis = Redis::start(
            &netns,
            &["--tcp-backlog", &backlog, "--enable-debug-command", "yes"],
        );
        Self { netns, redis }
    }

    /// redis does nothing for so many seconds; returns when it has begun.
    pub fn hold(&self, seconds: u32) -> Reaped {
        let mut command = Redis::client(&self.netns, &["debug", "sleep", &seconds.to_string()]);
        let held = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let held = Reaped(held.expect("start redis-cli"));
        wait::until_true("redis sleeps", || {
            // The first that connects is still let into the queue, and stays there.
            self.netns
                .run(|| crate::sockets::connect(&format!("127.0.0.1:{}", Redis::PORT)))
                .expect("the backlog has room");
            self.waiting() > 0
        });
        held
    }

    /// The listener's Recv-Q: how many wait to be accepted.
    pub fn waiting(&self) -> u64 {
        let listener = self.netns.ss(&["-Htln4"]);
        let queue = listener.split_whitespace().nth(1).expect("a listener");
        queue.parse().expect("a number")
    }

    /// `number` clients that ask at once, each once; they end when they have an answer.
    pub fn clients(&self, number: u32) -> Client {
        const ASK: &str = r#"
import redis, threading
def ask():
    try:
        count(str(redis.StrictRedis(host="127.0.0.1", port=6379).ping()))
    except redis.RedisError as error:
        count(str(error))
for _ in range(int(sys.argv[2])):
    threading.Thread(target=ask).start()
"#;
        Client::start(&self.netns, ASK, &[&number.to_string()])
    }
}

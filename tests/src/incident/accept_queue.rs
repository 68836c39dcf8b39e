//! Connections that wait to be accepted, and find no room to wait.

use std::process::Stdio;

use crate::{
    Netns, Reaped, Veth,
    program::{Client, Redis},
    sockets, wait,
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
        Self::start(Netns::new(), Self::BACKLOG)
    }

    /// As above; it asks for a queue as long as redis does by default, and `net.core.somaxconn` is [`Self::BACKLOG`].
    pub fn clamped() -> Self {
        let netns = Netns::new();
        netns.sysctl("net.core.somaxconn", &Self::BACKLOG.to_string());
        Self::start(netns, 511)
    }

    fn start(netns: Netns, backlog: u64) -> Self {
        let backlog = backlog.to_string();
        let arguments = ["--tcp-backlog", &backlog, "--enable-debug-command", "yes"];
        let redis = Redis::start(&netns, &arguments);
        Self { netns, redis }
    }

    /// redis does nothing for so many seconds; returns when it has begun.
    pub fn hold(&self, seconds: u32) -> Reaped {
        let mut command = Redis::client(&self.netns, &["debug", "sleep", &seconds.to_string()]);
        let held = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let held = Reaped(held.expect("start redis-cli"));
        wait::until_true("redis sleeps", || {
            // The first that connects is still let into the queue, and stays there.
            self.connect();
            self.waiting() > 0
        });
        held
    }

    /// A connection that is closed at once; where redis does not accept it stays in the queue.
    fn connect(&self) {
        let address = format!("127.0.0.1:{}", Redis::PORT);
        self.netns
            .run(|| sockets::connect(&address))
            .expect("the backlog has room");
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

/// The same with `net.ipv4.tcp_abort_on_overflow`, and clients at another host: their handshakes are under way when the queue is full,
/// and end with a reset.
pub struct Aborting {
    /// The two hosts; redis is at the far one.
    pub veth: Veth,
    /// Where it does not accept.
    pub queue: AcceptQueue,
}

impl Aborting {
    /// The listener's backlog: so many handshakes may be under way as well.
    pub const BACKLOG: u64 = 8;

    /// Starts redis; it serves.
    #[expect(clippy::new_without_default, reason = "it starts a program")]
    pub fn new() -> Self {
        let veth = Veth::new();
        veth.far.sysctl("net.ipv4.tcp_abort_on_overflow", "1");
        let queue = AcceptQueue::start(veth.far.another(), Self::BACKLOG);
        Self { veth, queue }
    }

    /// redis does nothing for so many seconds; returns when its queue has room for one more.
    pub fn hold(&self, seconds: u32) -> Reaped {
        let held = self.queue.hold(seconds);
        wait::until_true("the backlog is used up", || {
            let is_used_up = self.queue.waiting() == Self::BACKLOG;
            if !is_used_up {
                self.queue.connect();
            }
            is_used_up
        });
        held
    }

    /// [`Self::BACKLOG`] clients whose handshakes begin at once and go on at once: the answers to their SYNs are held up. Returns when all
    /// go on; only one finds room.
    pub fn clients(&self) -> Client {
        const ASK: &str = r#"
import redis, threading
def ask():
    connection = redis.Connection(host=sys.argv[2], port=6379)
    try:
        connection.connect()
        connection.send_command("PING")
        count(str(connection.read_response()))
    except redis.ConnectionError as error:
        count(str(error))
for _ in range(int(sys.argv[3])):
    threading.Thread(target=ask).start()
"#;
        self.veth
            .near
            .drop_incoming("tcp flags & (syn|ack) == syn|ack");
        let number = Self::BACKLOG.to_string();
        let clients = Client::start(&self.veth.near, ASK, &[Veth::FAR, &number]);
        wait::until_true("all handshakes are under way", || {
            let half_open = self.veth.far.ss(&["-Htn", "state", "syn-recv"]);
            half_open.lines().count() as u64 == Self::BACKLOG
        });
        self.veth.near.nft_clear();
        clients
    }
}

//! A receiver that has stopped reading: the sender may send nothing.

use crate::{Veth, program::Client, wait};

/// A program at the near host that sends to one at the far host, which reads nothing.
pub struct ZeroWindow {
    /// The two hosts.
    pub veth: Veth,
    /// The one that would send.
    pub sender: Client,
    /// The one that does not read.
    pub receiver: Client,
}

impl ZeroWindow {
    const PORT: &str = "9000";

    /// Starts both, and waits until the window is closed.
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        const RECEIVE: &str = r#"
import socket
listener = socket.create_server(("", int(sys.argv[2])))
count("listens")
held, peer = listener.accept()
time.sleep(120)
"#;
        const SEND: &str = r#"
import socket
to = socket.create_connection((sys.argv[2], int(sys.argv[3])))
while True:
    to.sendall(b"x" * 4096)
    count("sent")
"#;
        let veth = Veth::new();
        let receiver = Client::start(&veth.far, RECEIVE, &[Self::PORT]);
        assert!(!receiver.answers().is_empty(), "it listens");
        let sender = Client::start(&veth.near, SEND, &[Veth::FAR, Self::PORT]);
        let incident = Self {
            veth,
            sender,
            receiver,
        };
        wait::until_true("the persist timer runs", || {
            incident.connection().contains("timer:(persist")
        });
        incident
    }

    /// The sender's connection, as `ss` shows it.
    pub fn connection(&self) -> String {
        self.veth
            .near
            .ss(&["-Htnoi", "state", "established", "dst", Veth::FAR])
    }

    /// Bytes that the sender's process has written and nobody has acknowledged: its Send-Q.
    pub fn unsent(&self) -> u64 {
        let near = self.connection();
        let queue = near.split_whitespace().nth(1).expect("a connection");
        queue.parse().expect("a number")
    }

    /// Bytes that wait for the receiver to read: its Recv-Q.
    pub fn unread(&self) -> u64 {
        let far = self.veth.far.ss(&["-Htn", "state", "established"]);
        let queue = far.split_whitespace().next().expect("a connection");
        queue.parse().expect("a number")
    }
}

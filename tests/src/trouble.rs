//! Trouble of every kind in one namespace, watched and recorded by one trace.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Cgroup, Ended, Trace, Traffic, Veth, events::of, tcptrace};

/// What happened, by three accounts: the trace's own, the recording, and what the kernel and the programs counted.
pub struct Trouble {
    /// The recording.
    pub file: PathBuf,
    /// What the trace showed.
    pub ended: Ended,
    /// The client's process.
    pub client: u32,
    /// `RetransSegs` of the client's namespace.
    pub retrans_segs: u64,
    /// `OutSegs` of it.
    pub out_segs: u64,
    /// `TCPTimeWaitOverflow` of it.
    pub overflows: u64,
    /// What the client counted itself: calls that failed with EMFILE.
    pub exhausted: u64,
    /// Connects that it saw refused.
    pub refused: u64,
    /// Connections that it closed.
    pub closed: u64,
}

/// The peer's port where nothing listens.
pub const DEAD_PORT: u16 = 4;

impl Trouble {
    /// Makes it, with `storm` calls for a socket past the limit, and records it in `folder`.
    pub fn make(folder: &Path, name: &str, storm: u64) -> Self {
        const CONNECTIONS: u64 = 30;
        const REFUSED: u64 = 7;
        let file = folder.join(name);
        let veth = Veth::new();
        veth.near.sysctl("net.ipv4.tcp_max_tw_buckets", "5");
        let cgroup = Cgroup::new(&format!("docker-{}.scope", "5c".repeat(32)));
        let (mut client, mut server) = (Traffic::start(&veth.near), Traffic::start(&veth.far));
        cgroup.add(client.pid());
        let path = file.display().to_string();
        let trace = Trace::start(&veth.near, &["--events", "all", "--record", &path]);
        let port = server.ok("listen 10.99.0.2:0 64")[1];
        for at in 0..CONNECTIONS {
            client.ok(&format!("connect {}:{port}", Veth::FAR));
            server.ok("accept 0");
            client.ok(&format!("close {at}"));
            assert_eq!(server.error(&format!("receive {at} 1")), "EOF");
            server.ok(&format!("close {at}"));
        }
        // Two timeouts of the same data.
        client.ok(&format!("connect {}:{port}", Veth::FAR));
        server.ok("accept 0");
        veth.far.drop_incoming("meta l4proto tcp");
        client.ok(&format!("send {CONNECTIONS} 1000"));
        trace.wait_for("two timeouts", |events| {
            let events = of(events, "retransmit");
            events
                .iter()
                .filter(|event| event.text("cause") == "rto")
                .count()
                >= 2
        });
        veth.far.nft_clear();
        server.ok(&format!("receive {CONNECTIONS} 1000"));
        client.ok(&format!("close {CONNECTIONS}"));
        assert_eq!(server.error(&format!("receive {CONNECTIONS} 1")), "EOF");
        server.ok(&format!("close {CONNECTIONS}"));
        for _ in 0..REFUSED {
            let address = format!("connect {}:{DEAD_PORT}", Veth::FAR);
            assert_eq!(client.error(&address), "ECONNREFUSED");
        }
        let exhausted = if storm > 0 {
            client.ok("limit 12");
            client.ok(&format!("storm socket {storm}"))[1]
        } else {
            0
        };
        veth.near.quiet();
        let ended = trace.stop();
        Self {
            file,
            ended,
            client: client.pid(),
            retrans_segs: veth.near.counter("TcpRetransSegs"),
            out_segs: veth.near.counter("TcpOutSegs"),
            overflows: veth.near.counter("TcpExtTCPTimeWaitOverflow"),
            exhausted,
            refused: REFUSED,
            closed: CONNECTIONS + 1,
        }
    }

    /// What `tcptrace report ARGUMENTS --from FILE` prints.
    pub fn report(&self, arguments: &[&str]) -> String {
        printed(self.command("report", "--from").args(arguments))
    }

    /// The report's JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.report(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    fn command(&self, command: &str, option: &str) -> std::process::Command {
        let mut command = tcptrace([command, option]);
        command.arg(&self.file);
        command
    }
}

/// What a command prints that must succeed.
pub fn printed(command: &mut std::process::Command) -> String {
    let output = command.output().expect("start tcptrace");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

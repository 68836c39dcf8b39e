//! The same traffic in `tcpstates` of libbpf-tools, transition by transition.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use tcptrace_tests::{
    Netns, Reaped, Trace, Traffic,
    events::{Event, connections, path},
    need_program, wait,
};

/// A test's own three ports, as `tcpstates` sees all namespaces: below the range that the kernel takes ports from, so no other
/// traffic of the machine has them. The first is listened on, nobody listens on the others nor on the one behind the last.
type Ports = [u16; 3];

/// A transition as both tools tell it, and the addresses it belongs to.
type Transitions = BTreeMap<[String; 4], Vec<[String; 2]>>;

struct Tcpstates {
    child: Reaped,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Tcpstates {
    /// Starts it, and waits until it shows a connect that `probe` makes.
    fn start(port: u16, probe: impl Fn()) -> Self {
        // It needs tracefs, which a container may not have mounted: mount it where only tcpstates sees it.
        const SCRIPT: &str = "[ -e /sys/kernel/tracing/events ] || mount -t tracefs none /sys/kernel/tracing; exec stdbuf -oL \"$0\" --wide";
        let mut command = std::process::Command::new(need_program("unshare", "util-linux"));
        command
            .args(["--mount", "sh", "-c", SCRIPT])
            .arg(need_program("tcpstates", "libbpf-tools"));
        let mut child = Reaped(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(vec![]));
        let heard = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            output
                .lines()
                .for_each(|line| heard.lock().unwrap().push(line.unwrap()))
        });
        let started = Self {
            child,
            lines,
            reader: Some(reader),
        };
        wait::until_true("tcpstates shows a connect", || {
            probe();
            started.shows(port)
        });
        started
    }

    /// Whether a line with this remote port has come.
    fn shows(&self, port: u16) -> bool {
        let port = port.to_string();
        self.lines
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.split_whitespace().nth_back(4) == Some(&port))
    }

    /// The transitions that have one of `ports`, after a last connect (`probe`) has shown.
    fn stop(mut self, ports: &[u16], last: u16, probe: impl Fn()) -> Transitions {
        wait::until_true("tcpstates shows the last connect", || {
            probe();
            self.shows(last)
        });
        self.child.kill().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let mut transitions = Transitions::new();
        for line in self.lines.lock().unwrap().iter() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, _, _, .., laddr, lport, raddr, rport, old, "->", new, _] = &words[..] else {
                continue;
            };
            if !ports
                .iter()
                .any(|port| [lport, rport].contains(&&&*port.to_string()))
            {
                continue;
            }
            let key = [laddr, lport, raddr, rport].map(|word| word.to_string());
            transitions
                .entry(key)
                .or_default()
                .push([old, new].map(|word| word.to_string()));
        }
        transitions
    }
}

/// Ours, with TIME_WAIT called CLOSE as the kernel's tracepoint does.
fn ours(events: &[Event], mapped: bool) -> Transitions {
    let address = |event: &Event, field: &str| match event.text(field) {
        "0.0.0.0" if mapped => "::".to_owned(),
        address if mapped && event.text("family") == "ipv4" => format!("::ffff:{address}"),
        address => address.to_owned(),
    };
    let mut transitions = Transitions::new();
    for event in events {
        let new = event.text("new").replace("TIME_WAIT", "CLOSE");
        let key = [
            address(event, "laddr"),
            event.num("lport").to_string(),
            address(event, "raddr"),
            event.num("rport").to_string(),
        ];
        transitions
            .entry(key)
            .or_default()
            .push([event.text("old").to_owned(), new]);
    }
    transitions
}

fn refuse(netns: &Netns, port: u16) {
    netns.run(|| assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err()));
}

fn same(address: &str, mapped: bool, [port, dead, probe]: Ports) {
    let netns = Netns::new();
    let tcpstates = Tcpstates::start(probe, || refuse(&netns, probe));
    let ports = [port.to_string(), dead.to_string()];
    let trace = Trace::start(
        &netns,
        &[
            "--events", "state", "--port", &ports[0], "--port", &ports[1],
        ],
    );
    let (mut server, mut client) = (Traffic::start(&netns), Traffic::start(&netns));
    server.ok(&format!("listen {address}:{port} 16"));
    for at in 0..40 {
        client.ok(&format!("connect {address}:{port}"));
        server.ok("accept 0");
        match at % 4 {
            // The client closes first, the server does, the client resets, the server does with data unread.
            0 => {
                client.ok(&format!("close {at}"));
                assert_eq!(server.error(&format!("receive {at} 1")), "EOF");
                server.ok(&format!("close {at}"));
            }
            1 => {
                server.ok(&format!("close {at}"));
                assert_eq!(client.error(&format!("receive {at} 1")), "EOF");
                client.ok(&format!("close {at}"));
            }
            2 => {
                client.ok(&format!("reset {at}"));
                server.ok(&format!("close {at}"));
            }
            _ => {
                client.ok(&format!("send {at} 10"));
                server.ok(&format!("close {at}"));
                client.ok(&format!("close {at}"));
            }
        }
        assert_eq!(
            client.error(&format!("connect {address}:{dead}")),
            "ECONNREFUSED"
        );
    }
    server.ok("close_listener 0");
    let ended = trace.stop();
    let theirs = tcpstates.stop(&[port, dead], probe + 1, || refuse(&netns, probe + 1));
    let ours = ours(&ended.events, mapped);
    let number: usize = theirs.values().map(Vec::len).sum();
    assert!(number >= 40 * 10, "tcpstates shows {number} transitions");
    // `tcpstates` reads a buffer of each processor in turn, so its lines may be out of order; ours are in order, which `path`
    // checks, and the same set in a chain is the same sequence.
    for states in connections(&ended.events).values() {
        path(states);
    }
    let sorted = |transitions: &Vec<[String; 2]>| {
        let mut transitions = transitions.clone();
        transitions.sort();
        transitions
    };
    for (connection, transitions) in &theirs {
        let ours = ours.get(connection).map(sorted);
        assert_eq!(ours, Some(sorted(transitions)), "of {connection:?}");
    }
    assert_eq!(
        ours.len(),
        theirs.len(),
        "no more connections than tcpstates has"
    );
    assert_eq!(ended.events.len(), number);
}

#[test]
fn same_transitions_ipv4() {
    same("127.0.0.1", false, [13_570, 13_571, 13_572]);
}

#[test]
fn same_transitions_ipv6() {
    same("[::1]", false, [13_580, 13_581, 13_582]);
}

#[test]
fn same_transitions_ipv4_mapped() {
    same("[::ffff:127.0.0.1]", true, [13_590, 13_591, 13_592]);
}

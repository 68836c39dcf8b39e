//! What is read beside the events: of whom, and of how many.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tcptrace_tests::{
    Netns, Server, Traffic, Veth, children,
    finding::{self, Diagnosis, findings, the_only},
    need_program,
    program::venv,
    require_root, sockets, tcptrace_path, wait,
};

/// Records what `true` does, which is nothing, or all that happens in its namespace meanwhile.
fn record(netns: &Netns, file: &Path, arguments: &[&str]) {
    require_root();
    let mut command = netns.command(tcptrace_path());
    command.args(["record", "-o"]).arg(file).args(arguments);
    // Other tests have namespaces of their own.
    command.args(["--netns", &netns.inode().to_string()]);
    let status = command
        .args(["--", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

/// How many facts have one of these process ids or ports in them. Read by Arrow's own library.
fn facts_with(file: &Path, numbers: &[u64]) -> usize {
    const COUNT: &str = "
import pyarrow.ipc, sys
table = pyarrow.ipc.open_stream(sys.argv[1]).read_all()
wanted = {int(number) for number in sys.argv[2:]}
facts = [row for row in table.to_pylist() if row['event'] == 'fact']
assert facts
def numbers(row):
    return {row['pid'], row['lport'], row['rport'], row['value'] if row['name'] == 'pid' else None}
print(sum(1 for row in facts if wanted & numbers(row)))
";
    let output = Command::new(venv().join("bin/python"))
        .args(["-c", COUNT])
        .arg(file)
        .args(numbers.iter().map(u64::to_string))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// Begins to connect, and does not wait for the answer.
fn begin(netns: &Netns, port: u64) -> socket2::Socket {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    netns.run(|| {
        let socket = sockets::tcp(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address.into()).unwrap_err();
        socket
    })
}

/// A full listener and a connection that waits for ever belong to somebody else, and a recorded command is not told of them.
#[test]
fn those_of_others_are_left_out() {
    let veth = Veth::new();
    let (mut server, mut other) = (Traffic::start(&veth.far), Traffic::start(&veth.near));
    veth.near.sysctl("net.ipv4.tcp_keepalive_time", "1");
    server.ok("listen 10.99.0.2:7000 8");
    let waits = other.ok("connect 10.99.0.2:7000")[1];
    let full = other.ok("listen 127.0.0.1:0 1")[1];
    other.ok(&format!("connect_many 127.0.0.1:{full} 2"));
    let turned_away = begin(&veth.near, full);
    wait::until_true("somebody is turned away", || {
        veth.near.counter("TcpExtListenOverflows") > 0
    });
    drop(turned_away);
    wait::until_true("it is idle for long enough", || {
        let shown = veth.near.ss(&["-Htni", "dst", "10.99.0.2"]);
        let idle = shown.split("lastrcv:").nth(1).expect("a connection");
        idle.split(' ').next().unwrap().parse::<u64>().unwrap() > 2_500
    });

    let folder = tempfile::tempdir().unwrap();
    let named = [u64::from(other.pid()), waits, full];
    let system = folder.path().join("system");
    record(&veth.near, &system, &["--system"]);
    let mut found: Vec<_> = finding::recorded(&system)
        .iter()
        .map(|finding| finding.name().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, ["accept-queue-overflow", "half-open-risk"]);
    assert!(facts_with(&system, &named) > 0);

    let own = folder.path().join("own");
    record(&veth.near, &own, &[]);
    assert_eq!(finding::recorded(&own), []);
    assert_eq!(facts_with(&own, &named), 0);
}

/// Starts a shell that has its own limit of descriptors, and does `script` with a Python that fails for want of one.
fn shell(netns: &Netns, script: &str, then: &str) -> Server {
    let fail = format!(
        "
import socket, time
held = []
try:
    while True: held.append(socket.socket())
except OSError: pass
{then}"
    );
    let mut command = netns.limited_command(64, 64, need_program("bash", "bash"));
    command.args(["-c", script]);
    command.arg("bash").arg(need_program("python3", "python3"));
    Server::spawn(command.arg(fail))
}

/// More workers fail than are looked at in a second.
#[test]
fn forty_workers_are_one_finding() {
    let fail = "
while True:
    try: socket.socket()
    except OSError: time.sleep(0.3)
";
    let netns = Netns::new();
    let start = "for _ in {1..40}; do \"$1\" -c \"$2\" & done; wait";
    let parent = shell(&netns, start, fail);
    wait::until_true("all workers have no descriptor left", || {
        let workers = children(parent.pid());
        let is_full = |pid: &u32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            open.is_ok_and(|open| open.count() == 64)
        };
        workers.len() == 40 && workers.iter().all(is_full)
    });
    let found = findings(&netns, Duration::from_secs(3));
    let finding = the_only("fd-limit-inherited", &found);
    assert_eq!(finding.processes(), 40, "{finding:#?}");
    let parent = format!("bash[{}]", parent.pid());
    assert!(finding.sentence().contains(&parent), "{finding:#?}");
}

/// Who dies of it at once is told with its parent, too.
#[test]
fn a_program_that_dies_of_it_has_its_limit_from_its_parent() {
    let netns = Netns::new();
    let start = "while sleep 0.2; do \"$1\" -c \"$2\"; done";
    let parent = shell(&netns, start, "");
    let found = findings(&netns, Duration::from_secs(3));
    let finding = the_only("fd-limit-inherited", &found);
    let parent = format!("bash[{}]", parent.pid());
    assert!(finding.sentence().contains(&parent), "{finding:#?}");
}

/// Two processes share a port; the one whose queue is full is named, not the one that accepts.
#[test]
fn of_two_listeners_the_full_one() {
    let netns = Netns::new();
    netns.sysctl("net.core.somaxconn", "2");
    let mut accepts = Traffic::start(&netns);
    let mut stopped = Traffic::start(&netns);
    let port = accepts.ok("listen_shared 127.0.0.1:0")[1];
    stopped.ok(&format!("listen_shared 127.0.0.1:{port}"));
    accepts.say("serve 0 100000");
    kill(Pid::from_raw(stopped.pid() as i32), Signal::SIGSTOP).unwrap();
    let diagnosis = Diagnosis::start(&netns, Duration::from_secs(6));
    let _clients: Vec<_> = (0..40).map(|_| begin(&netns, port)).collect();
    let finding = the_only("accept-queue-overflow", &diagnosis.findings());
    assert_eq!(finding.pid(), stopped.pid(), "{finding:#?}");
    kill(Pid::from_raw(stopped.pid() as i32), Signal::SIGCONT).unwrap();
}

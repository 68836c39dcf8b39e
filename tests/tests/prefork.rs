//! Servers with several workers: each connection has the worker that accepted it, by the servers' own word.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    sync::Mutex,
};

use tcptrace_tests::{
    Ended, Netns, Trace,
    program::{Gunicorn, Nginx},
    sockets, wait,
};

const PORT: u16 = 8080;

/// The processes that served a client's port, one for each connection: the kernel gives a port again within a run.
type Workers = BTreeMap<i64, Vec<u32>>;

/// Answers to `clients` times `each` requests, each a client's port and the worker.
fn ask(netns: &Netns, clients: usize, each: usize) -> Vec<(i64, u32)> {
    let answers = Mutex::new(Vec::new());
    netns.run(|| {
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    for _ in 0..each {
                        let answer = get();
                        answers.lock().unwrap().push(answer);
                    }
                });
            }
        });
    });
    answers.into_inner().unwrap()
}

fn by_port(answers: impl IntoIterator<Item = (i64, u32)>) -> Workers {
    let mut workers = Workers::new();
    for (port, worker) in answers {
        workers.entry(port).or_default().push(worker);
    }
    workers.values_mut().for_each(|pids| pids.sort_unstable());
    workers
}

fn get() -> (i64, u32) {
    let mut stream = sockets::connect(&format!("127.0.0.1:{PORT}")).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.") && answer.contains(" 200 "),
        "{answer}"
    );
    let body = answer.rsplit("\r\n\r\n").next().unwrap().trim();
    let port = stream.local_addr().unwrap().port().into();
    (port, body.parse().unwrap())
}

fn answers(netns: &Netns) -> bool {
    netns.run(|| std::net::TcpStream::connect(("127.0.0.1", PORT)).is_ok())
}

/// Every connection at the server's side has a process of its own among those that `answered` names for the client's
/// port. An accept or a birth that the kernel skipped, and counted, is made up for.
fn each_has_its_worker(ended: &Ended, answered: &Workers, comm: &str) {
    let skipped = |hook| ended.hook(hook)["skipped"].as_u64().unwrap() as usize;
    let (mut left, mut unseen, mut unborn) = (answered.clone(), 0, 0);
    let mut unnamed = BTreeMap::<i64, usize>::new();
    for event in ended.of("connection") {
        if event.num("lport") != i64::from(PORT) {
            continue;
        }
        let (port, source) = (event.num("rport"), event.text("owner_source"));
        if source == "unknown" {
            unseen += 1;
            *unnamed.entry(port).or_default() += 1;
            continue;
        }
        let pids = left.entry(port).or_default();
        let place = pids.iter().position(|pid| *pid == event.pid());
        let place = place.unwrap_or_else(|| panic!("{:?}: {event:?}", answered.get(&port)));
        pids.swap_remove(place);
        assert_eq!(event.text("comm"), comm, "{event:?}");
        if event.field("duration_us").is_null() {
            unborn += 1;
        } else {
            assert_eq!(event.text("role"), "passive", "{event:?}");
        }
        if source == "iter" {
            unseen += 1;
        } else {
            assert_eq!(source, "accept", "{event:?}");
        }
    }
    for (port, unnamed) in &unnamed {
        let left = left.get(port).map_or(0, Vec::len);
        assert!(*unnamed <= left, "port {port}: {unnamed} more, {left} left");
    }
    let missing = left.values().map(Vec::len).sum::<usize>() - unnamed.values().sum::<usize>();
    assert!(
        missing + unborn <= skipped("inet_sock_set_state"),
        "{missing} missing, the births of {unborn} unseen"
    );
    let skipped_accepts = skipped("accept");
    assert!(
        unseen <= skipped_accepts,
        "{unseen} unseen, {skipped_accepts} skipped"
    );
    let workers: BTreeSet<_> = answered.values().flatten().collect();
    assert!(
        workers.len() > 1,
        "the load must reach several workers: {workers:?}"
    );
    for pid in workers {
        let number = answered
            .values()
            .flatten()
            .filter(|other| *other == pid)
            .count();
        let counted = ended.process(*pid)["connections"].as_u64().unwrap() as usize;
        assert!(counted <= number && counted + unseen + missing >= number);
    }
}

fn nginx(netns: &Netns, listen: &str) {
    let server = Nginx::start(
        netns.command(Nginx::path()),
        "worker_processes 4; events { worker_connections 64; accept_mutex off; }",
        "log_format own '$remote_port $pid';",
        &format!(
            "listen {listen}; access_log FOLDER/access own; location / {{ return 200 \"$pid\"; }}"
        ),
    );
    wait::until_true("nginx answers", || answers(netns));
    netns.quiet();
    let trace = Trace::start(netns, &[]);
    let answers = ask(netns, 12, 40);
    // nginx writes a line once a request is done, and closes the connection after that.
    wait::until_true("nginx has logged all", || {
        server.log("access").lines().count() >= answers.len()
    });
    netns.quiet();
    let ended = trace.stop();
    let log = server.log("access");
    let logged = log.lines().map(|line| line.split_once(' ').unwrap());
    let logged = by_port(logged.map(|(port, pid)| (port.parse().unwrap(), pid.parse().unwrap())));
    assert_eq!(logged, by_port(answers), "the log and the page");
    each_has_its_worker(&ended, &logged, "nginx");
}

#[test]
fn nginx_with_one_listener() {
    nginx(&Netns::new(), "127.0.0.1:8080");
}

/// A listener for each worker, all made by the master.
#[test]
fn nginx_with_reuseport() {
    nginx(&Netns::new(), "127.0.0.1:8080 reuseport");
}

/// Fewer ports than connections: each is used several times.
#[test]
fn nginx_with_clients_on_few_ports() {
    let netns = Netns::new();
    netns.sysctl("net.ipv4.ip_local_port_range", "40000 40099");
    nginx(&netns, "127.0.0.1:8080");
}

#[test]
fn gunicorn() {
    const APPLICATION: &str = "import os, time
def app(environ, start_response):
    time.sleep(0.005)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Connection', 'close')])
    return [str(os.getpid()).encode()]
";
    let netns = Netns::new();
    let command = netns.command(Gunicorn::path());
    let server = Gunicorn::start(command, &["--workers", "3"], APPLICATION);
    wait::until_true("gunicorn answers", || answers(&netns));
    wait::until_true("three workers are up", || server.workers().len() == 3);
    netns.quiet();
    let trace = Trace::start(&netns, &[]);
    let answers = ask(&netns, 6, 20);
    netns.quiet();
    let ended = trace.stop();
    each_has_its_worker(&ended, &by_port(answers), "gunicorn");
}

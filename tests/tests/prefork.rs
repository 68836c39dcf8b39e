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

/// Answers to `clients` times `each` requests, by the client's port.
fn ask(netns: &Netns, clients: usize, each: usize) -> BTreeMap<i64, String> {
    let answers = Mutex::new(BTreeMap::new());
    netns.run(|| {
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    for _ in 0..each {
                        let (port, answer) = get();
                        answers.lock().unwrap().insert(port, answer);
                    }
                });
            }
        });
    });
    answers.into_inner().unwrap()
}

fn get() -> (i64, String) {
    let mut stream = sockets::connect(&format!("127.0.0.1:{PORT}")).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.") && answer.contains(" 200 "),
        "{answer}"
    );
    let body = answer.rsplit("\r\n\r\n").next().unwrap().trim().to_owned();
    (stream.local_addr().unwrap().port().into(), body)
}

fn answers(netns: &Netns) -> bool {
    netns.run(|| std::net::TcpStream::connect(("127.0.0.1", PORT)).is_ok())
}

/// Every connection at the server's side has the process that `worker` names for the client's port. An accept that the
/// kernel skipped, and counted, is made up for.
fn each_has_its_worker(ended: &Ended, worker: &BTreeMap<i64, u32>, comm: &str) {
    let records: Vec<_> = ended
        .of("connection")
        .into_iter()
        .filter(|event| event.num("lport") == i64::from(PORT))
        .collect();
    let skipped = |hook| ended.hook(hook)["skipped"].as_u64().unwrap() as usize;
    let missing = worker.len() - records.len();
    assert!(
        missing <= skipped("inet_sock_set_state"),
        "{missing} missing"
    );
    let mut unseen = 0;
    for event in records {
        let (pid, source) = (event.pid(), event.text("owner_source"));
        if source == "unknown" {
            unseen += 1;
            continue;
        }
        assert_eq!(pid, worker[&event.num("rport")], "{event:?}");
        assert_eq!((event.text("comm"), event.text("role")), (comm, "passive"));
        if source == "iter" {
            unseen += 1;
        } else {
            assert_eq!(source, "accept", "{event:?}");
        }
    }
    let skipped_accepts = skipped("accept");
    assert!(
        unseen <= skipped_accepts,
        "{unseen} unseen, {skipped_accepts} skipped"
    );
    let workers: BTreeSet<_> = worker.values().collect();
    assert!(
        workers.len() > 1,
        "the load must reach several workers: {workers:?}"
    );
    for pid in workers {
        let number = worker.values().filter(|other| *other == pid).count();
        let counted = ended.process(*pid)["connections"].as_u64().unwrap() as usize;
        assert!(counted <= number && counted + unseen + missing >= number);
    }
}

fn nginx(listen: &str) {
    let netns = Netns::new();
    let server = Nginx::start(
        netns.command(Nginx::path()),
        "worker_processes 4; events { worker_connections 64; accept_mutex off; }",
        "log_format own '$remote_port $pid';",
        &format!(
            "listen {listen}; access_log FOLDER/access own; location / {{ return 200 \"$pid\"; }}"
        ),
    );
    wait::until_true("nginx answers", || answers(&netns));
    let trace = Trace::start(&netns, &[]);
    let answers = ask(&netns, 12, 40);
    // nginx writes a line once a request is done, and closes the connection after that.
    wait::until_true("nginx has logged all", || {
        server.log("access").lines().count() >= answers.len()
    });
    netns.quiet();
    let ended = trace.stop();
    let worker: BTreeMap<i64, u32> = server
        .log("access")
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(port, pid)| (port.parse().unwrap(), pid.parse().unwrap()))
        .collect();
    assert_eq!(worker.len(), answers.len());
    for (port, pid) in &worker {
        assert_eq!(answers[port], pid.to_string(), "the log and the page agree");
    }
    each_has_its_worker(&ended, &worker, "nginx");
}

#[test]
fn nginx_with_one_listener() {
    nginx("127.0.0.1:8080");
}

/// A listener for each worker, all made by the master.
#[test]
fn nginx_with_reuseport() {
    nginx("127.0.0.1:8080 reuseport");
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
    let trace = Trace::start(&netns, &[]);
    let answers = ask(&netns, 6, 20);
    netns.quiet();
    let ended = trace.stop();
    let worker = answers
        .iter()
        .map(|(port, pid)| (*port, pid.parse().unwrap()))
        .collect();
    each_has_its_worker(&ended, &worker, "gunicorn");
}

//! What `curl` does, seen from outside.

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

use tcptrace_tests::{
    Netns, Reaped, Trace,
    events::{connection, path},
    need_program, sockets,
};

fn curl(netns: &Netns, url: &str) -> (u32, Option<i32>) {
    let mut command = netns.command(need_program("curl", "curl"));
    command
        .args(["--silent", "--show-error", "--max-time", "20", url])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = Reaped(command.spawn().unwrap());
    (child.id(), child.wait().unwrap().code())
}

#[test]
fn fetches_a_page() {
    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let netns = Netns::new();
    let trace = Trace::start(&netns, &["--events", "all", "--comm", "curl"]);
    let (asked, port, pid) = netns.run(|| {
        let listener = sockets::listen("127.0.0.1:0", 16).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::scope(|scope| {
            let server = scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![];
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(PAGE.as_bytes()).unwrap();
                // Wait until curl has closed, so that curl is the one that closes first.
                stream.read_to_end(&mut vec![]).unwrap();
                request.len()
            });
            let (pid, code) = curl(&netns, &format!("http://127.0.0.1:{port}/"));
            assert_eq!(code, Some(0));
            (server.join().unwrap(), port, pid)
        })
    });
    let ended = trace.stop();
    let states = connection(&ended.events, "CLOSE SYN_SENT");
    assert_eq!(
        path(&states),
        "CLOSE SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT"
    );
    for event in &ended.events {
        assert_eq!(
            (event.pid(), event.text("comm"), event.text("owner_source")),
            (pid, "curl", "connect")
        );
        assert_eq!(event.num("rport"), i64::from(port));
    }
    let records = ended.of("connection");
    assert_eq!(records.len(), 1);
    assert_eq!(
        (
            records[0].num("bytes_sent"),
            records[0].num("bytes_received")
        ),
        (asked as i64, PAGE.len() as i64)
    );
    assert_eq!(
        (records[0].text("end"), records[0].text("role")),
        ("closed_local", "active")
    );
}

#[test]
fn is_refused() {
    let netns = Netns::new();
    let trace = Trace::start(&netns, &[]);
    let (pid, code) = curl(&netns, "http://127.0.0.1:4/");
    assert_eq!(code, Some(7), "curl: failed to connect");
    let ended = trace.stop();
    let failures = ended.of("connect_failed");
    assert_eq!(failures.len(), 1, "{:#?}", ended.events);
    let failure = failures[0];
    assert_eq!(
        (failure.pid(), failure.text("comm"), failure.text("errno")),
        (pid, "curl", "ECONNREFUSED")
    );
    assert_eq!(
        (failure.text("raddr"), failure.num("rport")),
        ("127.0.0.1", 4)
    );
    assert_eq!(ended.process(pid)["connect_failed"], 1);
}

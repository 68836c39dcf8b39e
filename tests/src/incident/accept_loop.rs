//! Servers that accept more connections than they have descriptors for: each fails in a way of its own.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use socket2::Socket;

use crate::{
    Netns, Server, need_program, open_descriptors,
    program::{Gunicorn, Nginx, Rsyslog, venv},
    sockets, wait,
};

/// A server that runs out of descriptors in its accept loop.
pub struct AcceptLoop {
    /// Where all of it runs.
    pub netns: Netns,
    /// Its clients: they wait, connected, for what never comes.
    pub clients: Vec<TcpStream>,
    limit: u64,
    program: Program,
}

enum Program {
    One(Server),
    Nginx(Nginx),
    Rsyslog(Rsyslog),
    Gunicorn(Gunicorn),
}

impl AcceptLoop {
    const PORT: u16 = 8080;
    /// gunicorn's limit of descriptors.
    pub const GUNICORN_LIMIT: u64 = 24;
    /// How many clients come after the last that found a descriptor.
    const TOO_MANY: usize = 3;

    /// Python's own `http.server`: a thread for each connection.
    pub fn http_server() -> Self {
        Self::start(24, |netns, limit| {
            let mut command = netns.limited_command(limit, limit, venv().join("bin/python"));
            command.args(["-m", "http.server", "--bind", "127.0.0.1", "8080"]);
            Program::One(Server::spawn(
                command.stdout(Stdio::null()).stderr(Stdio::null()),
            ))
        })
    }

    /// A server on Python's `asyncio`: it waits for a second when accept fails.
    pub fn asyncio() -> Self {
        const SERVE: &str = "
import asyncio
async def serve(reader, writer):
    await reader.read()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 8080)
    await server.serve_forever()
asyncio.run(main())
";
        Self::start(24, |netns, limit| {
            let mut command = netns.limited_command(limit, limit, venv().join("bin/python"));
            command.args(["-c", SERVE]);
            Program::One(Server::spawn(
                command.stdout(Stdio::null()).stderr(Stdio::null()),
            ))
        })
    }

    /// node, which lets go of a descriptor that it keeps for this, accepts with it, and closes that.
    pub fn node() -> Self {
        const SERVE: &str = r#"require("net").createServer(() => {}).listen(8080, "127.0.0.1")"#;
        Self::start(40, |netns, limit| {
            let mut command = netns.limited_command(limit, limit, need_program("node", "nodejs"));
            Program::One(Server::spawn(
                command
                    .args(["-e", SERVE])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null()),
            ))
        })
    }

    /// nginx, whose worker has a limit from its own configuration.
    pub fn nginx_by_configuration() -> Self {
        Self::start(32, |netns, limit| {
            let main = format!("worker_rlimit_nofile {limit};");
            Program::Nginx(nginx(netns.command(Nginx::path()), &main))
        })
    }

    /// nginx, whose worker has the limit that its master was started with.
    pub fn nginx_by_ulimit() -> Self {
        Self::start(32, |netns, limit| {
            let command = netns.limited_command(limit, limit, Nginx::path());
            Program::Nginx(nginx(command, ""))
        })
    }

    /// As above, and few may wait: the master's listener, which its worker can't accept from, is full as well.
    pub fn nginx_with_a_short_backlog() -> Self {
        Self::start(32, |netns, limit| {
            let main = format!("worker_rlimit_nofile {limit};");
            let backlog = format!("backlog={}", Self::TOO_MANY - 1);
            Program::Nginx(listening(netns.command(Nginx::path()), &main, &backlog))
        })
    }

    /// gunicorn with threads.
    pub fn gunicorn() -> Self {
        const PAGE: &str = "
def app(environ, start_response):
    start_response('200 OK', [])
    return [b'page']
";
        Self::start(Self::GUNICORN_LIMIT, |netns, limit| {
            let command = netns.limited_command(limit, limit, Gunicorn::path());
            let threads = ["--worker-class", "gthread", "--threads", "64"];
            Program::Gunicorn(Gunicorn::start(command, &threads, PAGE))
        })
    }

    /// rsyslog's TCP input.
    pub fn rsyslog() -> Self {
        Self::start(24, |netns, limit| {
            let configuration = "module(load=\"imtcp\")
                input(type=\"imtcp\" address=\"127.0.0.1\" port=\"8080\")
                *.* action(type=\"omfile\" file=\"FOLDER/out\")\n";
            let command = netns.limited_command(limit, limit, Rsyslog::path());
            Program::Rsyslog(Rsyslog::start(command, configuration))
        })
    }

    fn start(limit: u64, program: impl FnOnce(&Netns, u64) -> Program) -> Self {
        let netns = Netns::new();
        let program = program(&netns, limit);
        let mut incident = Self {
            netns,
            clients: vec![],
            limit,
            program,
        };
        let first = wait::until("the server answers", || incident.connect());
        incident.clients.push(first);
        incident.fill();
        incident
    }

    fn connect(&self) -> Option<TcpStream> {
        let address = format!("127.0.0.1:{}", Self::PORT);
        self.netns.run(|| sockets::connect(&address).ok())
    }

    /// Connects until the server has no descriptor left; none of its calls has failed yet.
    fn fill(&mut self) {
        while (open_descriptors(self.pid()) as u64) < self.limit {
            self.one_more();
            wait::until_true("the server accepts", || self.waiting() == 0);
        }
    }

    /// Connections that nobody has accepted: the listener's Recv-Q.
    pub fn waiting(&self) -> u64 {
        let listener = self.netns.ss(&["-Htln"]);
        let queue = listener.split_whitespace().nth(1).expect("a listener");
        queue.parse().expect("a number")
    }

    /// Connects a few times more: the incident.
    pub fn overrun(&mut self) {
        for _ in 0..Self::TOO_MANY {
            self.one_more();
        }
    }

    /// So many more want to connect, and find no room to wait.
    pub fn knock(&self, number: usize) -> Vec<Socket> {
        let address = SocketAddr::from(([127, 0, 0, 1], Self::PORT));
        self.netns.run(|| {
            let knock = |_| {
                let socket = sockets::tcp(address).expect("a socket");
                socket.set_nonblocking(true).expect("a mode");
                let error = socket.connect(&address.into()).expect_err("no answer");
                assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS));
                socket
            };
            (0..number).map(knock).collect()
        })
    }

    /// Connects once more, and waits until that is closed by the server.
    pub fn one_is_rejected(&mut self) {
        let mut client = self.connect().expect("the backlog has room");
        let told = client.read(&mut [0]).expect("the end of the connection");
        assert_eq!(told, 0);
        // One that comes while it still accepts is turned away without another failure.
        wait::until_true("the server waits", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()));
            stat.is_ok_and(|stat| stat.contains(") S "))
        });
    }

    fn one_more(&mut self) {
        let client = self.connect().expect("the backlog has room");
        self.clients.push(client);
    }

    /// The process that accepts.
    pub fn pid(&self) -> u32 {
        match &self.program {
            Program::One(server) => server.pid(),
            Program::Rsyslog(rsyslog) => rsyslog.pid(),
            Program::Nginx(nginx) => nginx.workers()[0],
            Program::Gunicorn(gunicorn) => {
                wait::until("a worker", || gunicorn.workers().first().copied())
            }
        }
    }
}

fn nginx(command: Command, main: &str) -> Nginx {
    listening(command, main, "")
}

fn listening(command: Command, main: &str, options: &str) -> Nginx {
    Nginx::start(
        command,
        &format!("{main} worker_processes 1; events {{ worker_connections 512; }}"),
        "",
        &format!("listen 127.0.0.1:8080 {options}; location / {{ return 200 page; }}"),
    )
}

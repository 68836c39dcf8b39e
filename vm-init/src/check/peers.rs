//! Both ends of one connection, each in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// A connection that was made and ended: the client closed first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) client: SocketAddr,
    pub(super) client_pid: u32,
    pub(super) server: SocketAddr,
    pub(super) server_pid: u32,
}

/// Starts the server process, talks to it and closes.
pub(super) fn connect_once() -> Result<Connection> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut child = Command::new(program)
        .args(["check", "serve"])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the server process")?;
    let mut address = String::new();
    let stdout = child.stdout.take().context("the server has no output")?;
    BufReader::new(stdout).read_line(&mut address)?;
    let server: SocketAddr = address
        .trim()
        .parse()
        .context("reading the server's address")?;

    let mut stream = TcpStream::connect(server).context("connecting")?;
    let client = stream.local_addr()?;
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"hello", "the server answered {answer:?}");
    drop(stream);
    let status = child.wait()?;
    ensure!(status.success(), "the server ended with {status}");
    Ok(Connection {
        client,
        client_pid: std::process::id(),
        server,
        server_pid: child.id(),
    })
}

/// The server process: prints its address, answers one client what it sent and closes after it.
pub(super) fn serve() -> Result<()> {
    let listener =
        TcpListener::bind("127.0.0.1:0").context("listening on the loopback interface")?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept().context("accepting")?;
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer)?;
    stream.write_all(&buffer)?;
    let rest = stream.read(&mut buffer)?;
    ensure!(rest == 0, "the client sent more than it should");
    Ok(())
}

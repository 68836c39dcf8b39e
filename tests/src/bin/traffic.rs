//! A process that does with TCP what it is told, a command a line, and counts for itself what the kernel answered.
//!
//! It answers each line with `ok NUMBERS...` or `error ERRNO`. Sockets are named by their number in the order they came.

use std::{
    io::{self, BufRead as _, IoSlice, IoSliceMut, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{net::UnixDatagram, process::CommandExt as _},
    },
    time::Duration,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tcptrace_tests::{descriptor_calls, sockets, uring};

#[derive(Default)]
struct Sockets {
    listeners: Vec<Option<TcpListener>>,
    streams: Vec<Option<TcpStream>>,
    others: Vec<socket2::Socket>,
    inbox: Option<UnixDatagram>,
}

fn main() {
    // `traffic once ADDRESS` connects and is gone.
    if let [_, _, address] = &std::env::args().collect::<Vec<_>>()[..] {
        let connected = sockets::connect(address).is_ok();
        std::process::exit(i32::from(!connected));
    }
    let mut sockets = Sockets::default();
    println!("ok");
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let words: Vec<&str> = line.split_whitespace().collect();
        match sockets.run(&words) {
            Ok(numbers) => {
                let numbers: String = numbers.iter().map(|number| format!(" {number}")).collect();
                println!("ok{numbers}");
            }
            Err(error) => println!("error {}", sockets::errno_name(&error)),
        }
    }
}

impl Sockets {
    fn run(&mut self, words: &[&str]) -> io::Result<Vec<u64>> {
        let number = |at: usize| words[at].parse::<usize>().expect("a number");
        match words[0] {
            // listen ADDRESS BACKLOG -> listener port
            "listen" => self.keep_listener(sockets::listen(words[1], number(2) as i32)?),
            "listen_shared" => self.keep_listener(listen_shared(words[1])?),
            // listen_v6 PORT -> listener port: on all addresses, and not for IPv4
            "listen_v6" => self.keep_listener(listen_v6(number(1) as u16)?),
            // accept LISTENER -> stream, the peer's port
            "accept" => {
                let (stream, peer) = self.listener(number(1)).accept()?;
                Ok(vec![self.keep(stream), peer.port().into()])
            }
            // accept_uring LISTENER -> stream; close_uring STREAM
            "accept_uring" => {
                let stream = uring::accept(self.listener(number(1)))?;
                Ok(vec![self.keep(stream)])
            }
            "close_uring" => {
                let stream = self.streams[number(1)].take().expect("an open stream");
                uring::close(stream).map(|()| vec![])
            }
            // uring: makes a ring -> 1 where it makes sockets
            "uring" => {
                uring::prepare()?;
                Ok(vec![u64::from(uring::has_socket()?)])
            }
            // accept_many LISTENER N
            "accept_many" => (0..number(2))
                .try_for_each(|_| {
                    let (stream, _) = self.listener(number(1)).accept()?;
                    self.keep(stream);
                    Ok(())
                })
                .map(|()| vec![]),
            // accept_waiting LISTENER -> the ports of all peers that wait
            "accept_waiting" => self.accept_waiting(number(1)),
            // serve LISTENER N: accept and close, churn ADDRESS N: connect and close when the peer has
            "serve" => (0..number(2))
                .try_for_each(|_| self.listener(number(1)).accept().map(drop))
                .map(|()| vec![]),
            "churn" => (0..number(2))
                .try_for_each(|_| {
                    sockets::connect(words[1])?
                        .read_to_end(&mut vec![])
                        .map(drop)
                })
                .map(|()| vec![]),
            // user_timeout STREAM MILLISECONDS
            "user_timeout" => {
                let timeout = Some(Duration::from_millis(number(2) as u64));
                socket2::SockRef::from(&*self.stream(number(1)))
                    .set_tcp_user_timeout(timeout)
                    .map(|()| vec![])
            }
            // connect ADDRESS -> stream, its own port
            "connect" => self.keep_stream(sockets::connect(words[1])?),
            // connect_fast ADDRESS BYTES -> stream, its own port: the bytes ride in the SYN
            "connect_fast" => {
                self.keep_stream(sockets::connect_fast(words[1], &vec![b'x'; number(2)])?)
            }
            "connect_nonblocking" => self.keep_stream(sockets::connect_nonblocking(words[1])?),
            // connect_many ADDRESS N -> their ports
            "connect_many" => (0..number(2))
                .map(|_| Ok(self.keep_stream(sockets::connect(words[1])?)?[1]))
                .collect(),
            "send" => self
                .stream(number(1))
                .write_all(&vec![b'x'; number(2)])
                .map(|()| vec![]),
            // send_all N: N bytes on every stream
            "send_all" => {
                let data = vec![b'x'; number(1)];
                self.streams
                    .iter()
                    .flatten()
                    .try_for_each(|mut stream| stream.write_all(&data))
                    .map(|()| vec![])
            }
            "receive" => self
                .stream(number(1))
                .read_exact(&mut vec![0; number(2)])
                .map(|()| vec![]),
            "shutdown" => self
                .stream(number(1))
                .shutdown(std::net::Shutdown::Write)
                .map(|()| vec![]),
            "close" => {
                self.streams[number(1)] = None;
                Ok(vec![])
            }
            "close_all" => {
                self.streams.clear();
                Ok(vec![])
            }
            // free: what storms took
            "free" => {
                self.others.clear();
                Ok(vec![])
            }
            "close_listener" => {
                self.listeners[number(1)] = None;
                Ok(vec![])
            }
            "reset" => {
                sockets::reset_on_close(self.stream(number(1)));
                self.streams[number(1)] = None;
                Ok(vec![])
            }
            "limit" => {
                let limit = number(1) as u64;
                nix::sys::resource::setrlimit(
                    nix::sys::resource::Resource::RLIMIT_NOFILE,
                    limit,
                    limit,
                )?;
                Ok(vec![])
            }
            // storm socket|socket_uring|open N, storm accept|accept_uring N LISTENER -> successes, EMFILE or ENFILE
            "storm" => self.storm(words[1], number(2), words.get(3).map_or(0, |_| number(3))),
            // each_call -> how many calls that return descriptors found none
            "each_call" => Ok(vec![descriptor_calls::attempt_all()]),
            "fork" => fork(),
            // inbox PATH, then hand STREAM PATH or hand_listener LISTENER PATH in another process, then take or take_listener
            "inbox" => {
                self.inbox = Some(UnixDatagram::bind(words[1])?);
                Ok(vec![])
            }
            "hand" => hand(self.stream(number(1)).as_raw_fd(), words[2]),
            "hand_listener" => hand(self.listener(number(1)).as_raw_fd(), words[2]),
            "take" => {
                let stream = take(self.inbox.as_ref().expect("an inbox"))?;
                Ok(vec![self.keep(stream.into())])
            }
            "take_listener" => {
                let listener = take(self.inbox.as_ref().expect("an inbox"))?;
                self.keep_listener(listener.into())
            }
            // exec PATH, of this program under whatever name: it answers as one that starts
            "exec" => Err(std::process::Command::new(words[1]).exec()),
            "exit" => std::process::exit(0),
            other => panic!("no command {other}"),
        }
    }

    fn listener(&self, at: usize) -> &TcpListener {
        self.listeners[at].as_ref().expect("an open listener")
    }

    fn stream(&mut self, at: usize) -> &mut TcpStream {
        self.streams[at].as_mut().expect("an open stream")
    }

    fn keep(&mut self, stream: TcpStream) -> u64 {
        self.streams.push(Some(stream));
        self.streams.len() as u64 - 1
    }

    fn keep_stream(&mut self, stream: TcpStream) -> io::Result<Vec<u64>> {
        let port = stream.local_addr()?.port();
        Ok(vec![self.keep(stream), port.into()])
    }

    fn keep_listener(&mut self, listener: TcpListener) -> io::Result<Vec<u64>> {
        let port = listener.local_addr()?.port();
        self.listeners.push(Some(listener));
        Ok(vec![self.listeners.len() as u64 - 1, port.into()])
    }

    fn accept_waiting(&mut self, listener: usize) -> io::Result<Vec<u64>> {
        self.listener(listener).set_nonblocking(true)?;
        let mut ports = vec![];
        while let Ok((stream, peer)) = self.listener(listener).accept() {
            ports.push(peer.port().into());
            self.keep(stream);
        }
        Ok(ports)
    }

    fn storm(&mut self, call: &str, times: usize, listener: usize) -> io::Result<Vec<u64>> {
        let (mut successes, mut failures) = (0, 0);
        for _ in 0..times {
            let result = match call {
                "socket" => sockets::tcp("127.0.0.1:0".parse().expect("an address"))
                    .map(|s| self.others.push(s)),
                "socket_uring" => uring::socket().map(|s| self.others.push(s)),
                "open" => std::fs::File::open("/proc/self/comm").map(drop),
                "accept" => self.listener(listener).accept().map(|(stream, _)| {
                    self.keep(stream);
                }),
                "accept_uring" => uring::accept(self.listener(listener)).map(|stream| {
                    self.keep(stream);
                }),
                other => panic!("no call {other}"),
            };
            match result {
                Ok(()) => successes += 1,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    failures += 1
                }
                Err(error) => return Err(error),
            }
        }
        Ok(vec![successes, failures])
    }
}

/// A listener that shares its port with other processes.
fn listen_shared(address: &str) -> io::Result<TcpListener> {
    let address = address.parse().expect("an address");
    let socket = sockets::tcp(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// A listener on all addresses that leaves those of IPv4 to others.
fn listen_v6(port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let socket = sockets::tcp(address)?;
    socket.set_only_v6(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// A child that holds all descriptors until it is killed.
fn fork() -> io::Result<Vec<u64>> {
    // SAFETY: this process has one thread, and the child makes only system calls.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => loop {
            // SAFETY: pause has no arguments.
            unsafe { libc::pause() };
        },
        child => Ok(vec![child as u64]),
    }
}

fn hand(descriptor: RawFd, path: &str) -> io::Result<Vec<u64>> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    let descriptors = [descriptor];
    let control = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &control,
        MsgFlags::empty(),
        None,
    )?;
    Ok(vec![])
}

fn take(inbox: &UnixDatagram) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([i32; 1]);
    let message = recvmsg::<()>(
        inbox.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            // SAFETY: the kernel has just given this process the descriptor, and nothing else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(descriptors[0]) });
        }
    }
    Err(io::Error::other("no descriptor came"))
}

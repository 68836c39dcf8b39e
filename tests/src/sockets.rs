//! Sockets of the test's own process, for what `std::net` does not let one do.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// A TCP socket; an IPv4-mapped address makes an IPv6 socket that speaks IPv4.
pub fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let domain = if address.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A listener with a backlog.
pub fn listen(address: &str, backlog: i32) -> io::Result<TcpListener> {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = tcp(address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A blocking connect.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = tcp(address)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// A connect whose SYN carries `data` (`tcp(7)`: `MSG_FASTOPEN`); where `net.ipv4.tcp_fastopen` lets it, without a cookie.
pub fn connect_fast(address: &str, data: &[u8]) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = tcp(address)?;
    socket.send_to_with_flags(data, &address.into(), libc::MSG_FASTOPEN)?;
    Ok(socket.into())
}

/// A non-blocking connect, and the socket's error after it was polled; the first `Err` is what `connect` itself said.
pub fn connect_nonblocking(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = tcp(address)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let mut descriptor = libc::pollfd {
        fd: std::os::fd::AsRawFd::as_raw_fd(&socket),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: the array has one element and outlives the call.
    unsafe { libc::poll(&raw mut descriptor, 1, 30_000) };
    socket.take_error()?.map_or(Ok(()), Err)?;
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// A connection and its accepted peer, over a listener that stays open.
pub fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect(&listener.local_addr().expect("bound").to_string()).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, server)
}

/// Makes the next close send a reset.
pub fn reset_on_close(stream: &TcpStream) {
    socket2::SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .expect("SO_LINGER");
}

/// The name of an error number: `ECONNREFUSED`; `EOF` for the end of a stream.
pub fn errno_name(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "EOF".to_owned();
    }
    format!(
        "{:?}",
        nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0))
    )
}

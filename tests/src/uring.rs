//! Calls that go through a ring of io_uring, so that no system call of their own is made.

use std::{
    io,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _},
};

use io_uring::{IoUring, Probe, opcode, squeue, types::Fd};

/// Takes a connection from a listener's queue.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let accept = opcode::Accept::new(
        Fd(listener.as_raw_fd()),
        std::ptr::null_mut(),
        std::ptr::null_mut(),
    );
    let descriptor = call(&accept.build())?;
    // SAFETY: the kernel has just given this process the descriptor, and nothing else owns it.
    Ok(unsafe { TcpStream::from_raw_fd(descriptor) })
}

/// Makes a TCP socket; needs Linux 5.19, see [`has_socket`].
pub fn socket() -> io::Result<socket2::Socket> {
    let descriptor = call(&opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build())?;
    // SAFETY: as above.
    Ok(unsafe { socket2::Socket::from_raw_fd(descriptor) })
}

/// Whether this kernel's rings make sockets.
pub fn has_socket() -> io::Result<bool> {
    let mut probe = Probe::new();
    IoUring::new(1)?.submitter().register_probe(&mut probe)?;
    Ok(probe.is_supported(opcode::Socket::CODE))
}

/// Closes a descriptor.
pub fn close(stream: TcpStream) -> io::Result<()> {
    let descriptor = std::os::fd::IntoRawFd::into_raw_fd(stream);
    call(&opcode::Close::new(Fd(descriptor)).build()).map(drop)
}

thread_local! {
    /// Made before descriptors run out, since it is one.
    static RING: std::cell::RefCell<Option<IoUring>> = const { std::cell::RefCell::new(None) };
}

/// Makes the ring, unless it is there.
pub fn prepare() -> io::Result<()> {
    RING.with_borrow_mut(|ring| {
        if ring.is_none() {
            *ring = Some(IoUring::new(1)?);
        }
        Ok(())
    })
}

/// Submits one call and waits for its result.
fn call(entry: &squeue::Entry) -> io::Result<i32> {
    prepare()?;
    RING.with_borrow_mut(|ring| {
        let ring = ring.as_mut().expect("prepared");
        // SAFETY: what the entry points to lives until the call is through.
        unsafe { ring.submission().push(entry) }.expect("room for one entry");
        ring.submit_and_wait(1)?;
        let result = ring.completion().next().expect("one result").result();
        if result < 0 {
            Err(io::Error::from_raw_os_error(-result))
        } else {
            Ok(result)
        }
    })
}

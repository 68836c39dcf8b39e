//! An accept loop without a descriptor to spare.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::work::{Load, Work, repeat};

/// A listener with one connection that waits.
pub(crate) struct Emfile {
    listener: TcpListener,
    _waits: TcpStream,
}

impl Emfile {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let waits = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        Self {
            listener,
            _waits: waits,
        }
    }
}

impl Load for Emfile {
    fn run(&mut self, time: Duration) -> Work {
        let next = self.listener.try_clone().expect("a descriptor");
        let lowest_free = next.as_raw_fd() as u64;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
        setrlimit(Resource::RLIMIT_NOFILE, lowest_free, hard).expect("lower the limit");
        let times = repeat(time, || {
            let error = self.listener.accept().expect_err("no descriptor is left");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        });
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("raise the limit again");
        times.into()
    }
}

//! Processes that live for one connection.

use std::{
    net::{TcpListener, TcpStream},
    time::Duration,
};

use nix::{
    sys::wait::waitpid,
    unistd::{ForkResult, fork},
};

use crate::work::{Load, Work, repeat};

/// The listener of all of them.
pub(crate) struct Processes(TcpListener);

impl Processes {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("listen"))
    }
}

impl Load for Processes {
    fn run(&mut self, time: Duration) -> Work {
        let address = self.0.local_addr().expect("bound");
        repeat(time, || {
            // SAFETY: the child makes system calls on the stack's values only, and leaves without running anything of this process.
            match unsafe { fork() }.expect("fork") {
                ForkResult::Child => {
                    let is_connected = TcpStream::connect(address).is_ok();
                    // SAFETY: as above; it does not return.
                    unsafe { libc::_exit(i32::from(!is_connected)) }
                }
                ForkResult::Parent { child } => {
                    drop(self.0.accept().expect("accept"));
                    waitpid(child, None).expect("wait");
                }
            }
        })
        .into()
    }
}

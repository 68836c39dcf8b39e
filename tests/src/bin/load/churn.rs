//! Connections over loopback: connect, accept, close both ends.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};

use crate::work::{Latency, Load, Work, histogram, repeat};

/// A listener for each thread, which is its own client.
pub(crate) struct Churn(Vec<TcpListener>);

impl Churn {
    pub(crate) fn new(threads: usize) -> Self {
        let listener = |_| TcpListener::bind("127.0.0.1:0").expect("listen");
        Self((0..threads).map(listener).collect())
    }

    /// A few rounds, not measured.
    pub(crate) fn rounds(&self, number: usize) {
        let address = address(&self.0[0]);
        (0..number).for_each(|_| round(&self.0[0], address));
    }
}

impl Load for Churn {
    fn run(&mut self, time: Duration) -> Work {
        if let [listener] = &self.0[..] {
            let address = address(listener);
            return repeat(time, || round(listener, address)).into();
        }
        let mut all = histogram();
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .0
                .iter()
                .map(|listener| {
                    scope.spawn(move || {
                        // A descriptor table of its own, as a process would have.
                        unshare(CloneFlags::CLONE_FILES).expect("unshare the descriptors");
                        let address = address(listener);
                        repeat(time, || round(listener, address))
                    })
                })
                .collect();
            for thread in threads {
                all += thread.join().expect("a thread of the load");
            }
        });
        all.into()
    }
}

/// As [`Churn`] on one thread, with time between two connections.
pub(crate) struct Trickle(pub(crate) Churn);

impl Load for Trickle {
    fn run(&mut self, time: Duration) -> Work {
        const BETWEEN: Duration = Duration::from_millis(1);
        let end = Instant::now() + time;
        let mut done = 0;
        while Instant::now() < end {
            self.0.rounds(1);
            done += 1;
            thread::sleep(BETWEEN);
        }
        Work {
            done,
            latency: Latency::None,
        }
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("bound")
}

fn round(listener: &TcpListener, address: SocketAddr) {
    let client = TcpStream::connect(address).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    // The server closes first, so the client's port is free again at once.
    drop(server);
    drop(client);
}

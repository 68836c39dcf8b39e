//! Transfers over a link that loses one segment in a hundred.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tcptrace_tests::{Netns, sockets};

use crate::work::{Load, Work, histogram, repeat};

/// Transfers at once.
const STREAMS: usize = 16;
/// Bytes of one transfer.
const SIZE: usize = 256 << 10;

/// Who answers each transfer with one byte.
pub(crate) struct Lossy(TcpListener);

impl Lossy {
    pub(crate) fn new(netns: &Netns) -> Self {
        // One in a hundred, not at random: each run loses as much. Only what holds data, so that no connect waits a second.
        netns.drop_incoming(
            "meta l4proto tcp tcp flags & (syn | fin | rst) == 0 numgen inc mod 100 < 1",
        );
        Self(TcpListener::bind("127.0.0.1:0").expect("listen"))
    }
}

fn answer(mut stream: TcpStream) {
    let mut data = vec![0; SIZE];
    while stream.read_exact(&mut data).is_ok() {
        stream.write_all(&[0]).expect("answer");
    }
}

impl Load for Lossy {
    fn run(&mut self, time: Duration) -> Work {
        let mut all = histogram();
        thread::scope(|scope| {
            let transfer = |stream: &mut TcpStream| {
                stream.write_all(&[0; SIZE]).expect("send");
                stream.read_exact(&mut [0]).expect("the answer");
            };
            let threads: Vec<_> = (0..STREAMS)
                .map(|_| {
                    let (mut client, server) = sockets::pair(&self.0);
                    scope.spawn(move || answer(server));
                    scope.spawn(move || repeat(time, || transfer(&mut client)))
                })
                .collect();
            for thread in threads {
                all += thread.join().expect("a thread of the load");
            }
        });
        all.into()
    }
}

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

/// Connections, each with the thread that answers a transfer with one byte.
pub(crate) struct Lossy(Vec<TcpStream>);

impl Lossy {
    pub(crate) fn new(netns: &Netns) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let pair = |_| {
            let (client, server) = sockets::pair(&listener);
            thread::spawn(move || answer(server));
            client
        };
        let streams = (0..STREAMS).map(pair).collect();
        // One in a hundred, not at random: each run loses as much. Only what holds data, so that no connect waits a second.
        netns.drop_incoming(
            "meta l4proto tcp tcp flags & (syn | fin | rst) == 0 numgen inc mod 100 < 1",
        );
        Self(streams)
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
            let streams = self.0.iter_mut();
            let threads: Vec<_> = streams
                .map(|stream| scope.spawn(move || repeat(time, || transfer(stream))))
                .collect();
            for thread in threads {
                all += thread.join().expect("a thread of the load");
            }
        });
        all.into()
    }
}

//! Servers that refuse clients by a limit of their own: no descriptor is missing, and none is looked for.

use std::{io::Read as _, net::TcpStream};

use crate::{
    Netns,
    program::{Memcached, Redis},
    sockets,
};

/// A server with room for [`ClientLimit::CLIENTS`].
pub struct ClientLimit {
    /// Where all of it runs.
    pub netns: Netns,
    port: u16,
    program: Program,
}

enum Program {
    Redis(Redis),
    Memcached(Memcached),
}

impl ClientLimit {
    /// How many clients each server takes.
    pub const CLIENTS: usize = 30;

    /// redis, by its `maxclients`.
    pub fn redis() -> Self {
        let netns = Netns::new();
        let server = Redis::start(&netns, &["--maxclients", &Self::CLIENTS.to_string()]);
        Self {
            netns,
            port: Redis::PORT,
            program: Program::Redis(server),
        }
    }

    /// memcached, by its `-c`.
    pub fn memcached() -> Self {
        let netns = Netns::new();
        let server = Memcached::start(&netns, &["-t", "1", "-c", &Self::CLIENTS.to_string()]);
        Self {
            netns,
            port: Memcached::PORT,
            program: Program::Memcached(server),
        }
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        match &self.program {
            Program::Redis(server) => server.pid(),
            Program::Memcached(server) => server.pid(),
        }
    }

    /// Connects `number` clients that stay; returns what each was told, nothing where it was taken.
    pub fn connect(&self, number: usize) -> Vec<(TcpStream, String)> {
        let address = format!("127.0.0.1:{}", self.port);
        self.netns.run(|| {
            (0..number)
                .map(|_| {
                    let mut client = sockets::connect(&address).expect("connect");
                    client
                        .set_read_timeout(Some(std::time::Duration::from_millis(100)))
                        .expect("a timeout");
                    let mut told = String::new();
                    // It ends with a timeout where the server takes the client and waits for it to speak.
                    let _ = client.read_to_string(&mut told);
                    (client, told)
                })
                .collect()
        })
    }
}

//! A process that somebody looks at.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use netlink_packet_sock_diag::inet::StateFlags;

use super::{Collector, socket};
use crate::{
    event::Ends,
    fact::{Subject, name},
    identity::Pid,
    kernel::inet_diag::{self, Socket},
    sink::Sink,
    time::Time,
};

/// Connections that are told, of a process that has more.
const MOST: usize = 512;

/// The connections of a process that were told, and where they are.
pub(super) type Told = HashSet<(u32, Ends)>;

impl Collector {
    /// Tells a process's limits, ancestors and connections. `owned` are the connections that the kernel
    /// programs know as its own, with when they were born, where that is known.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn look_at(
        &mut self,
        pid: Pid,
        owned: &HashMap<Ends, Option<Time>>,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        self.tell.at_now();
        self.processes.tell(&mut self.tell, pid);
        self.processes.tell_parents(&mut self.tell, pid, None);
        let mut now = Told::new();
        for (netns, place) in &self.places {
            if owned.is_empty() || now.len() >= MOST {
                break;
            }
            let found = place.inside(|| connections(owned).ok()).unwrap_or_default();
            for socket in found.iter().take(MOST - now.len()) {
                let ends = socket.ends;
                socket::tell_connection(&mut self.tell, *netns, socket, Some(pid));
                if let Some(Some(born)) = owned.get(&ends) {
                    let subject = Subject::Connection {
                        netns: *netns,
                        ends,
                    };
                    self.tell.number(subject, name::BORN, born.0);
                }
                now.insert((*netns, ends));
            }
        }
        for (netns, ends) in self.looked_at.difference(&now) {
            let (netns, ends) = (*netns, *ends);
            self.tell.closed(Subject::Connection { netns, ends });
        }
        self.looked_at = now;
        self.tell.flush(sink)
    }
}

/// Those of them that are in the namespace of this thread.
fn connections(owned: &HashMap<Ends, Option<Time>>) -> io::Result<Vec<Socket>> {
    let states = StateFlags::all() - StateFlags::TIME_WAIT - StateFlags::CLOSE - StateFlags::LISTEN;
    let mut found = Vec::new();
    inet_diag::list(&states, |socket| {
        if owned.contains_key(&socket.ends) {
            found.push(socket);
        }
    })?;
    Ok(found)
}

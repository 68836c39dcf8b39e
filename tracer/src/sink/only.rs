//! Part of a recorded trace: what a filter lets through.

use std::{borrow::Cow, collections::BTreeMap, io};

use super::Sink;
use crate::{
    event::Event,
    fact::Fact,
    trace::frame::{End, Start, Sums},
};

/// What is wanted; an empty list lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Owners, process ids.
    pub pids: Vec<u32>,
    /// Local or remote ports.
    pub ports: Vec<u16>,
    /// Kinds of events, by name.
    pub events: Vec<&'static str>,
}

impl Wanted {
    fn is_all(&self) -> bool {
        self.pids.is_empty() && self.ports.is_empty() && self.events.is_empty()
    }

    fn has(&self, event: &Event) -> bool {
        let has_pid = || {
            let owner = event.owner.as_ref();
            owner.is_some_and(|owner| self.pids.contains(&owner.pid))
        };
        let has_port = || {
            event.ends.is_some_and(|ends| {
                self.ports.contains(&ends.local.port())
                    || ends
                        .remote
                        .is_some_and(|remote| self.ports.contains(&remote.port()))
            })
        };
        (self.events.is_empty() || self.events.contains(&event.detail.kind()))
            && (self.pids.is_empty() || has_pid())
            && (self.ports.is_empty() || has_port())
    }
}

/// Feeds what is wanted. The end counts the events that were fed and has the wanted processes; books of
/// hooks stay those of the whole trace.
pub struct Only<'a> {
    sink: &'a mut dyn Sink,
    wanted: Wanted,
    events: BTreeMap<Cow<'static, str>, u64>,
}

impl<'a> Only<'a> {
    /// Feeds `sink`.
    pub const fn new(sink: &'a mut dyn Sink, wanted: Wanted) -> Self {
        Self {
            sink,
            wanted,
            events: BTreeMap::new(),
        }
    }
}

impl Sink for Only<'_> {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.sink.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        if !self.wanted.has(event) {
            return Ok(());
        }
        *self.events.entry(event.detail.kind().into()).or_default() += 1;
        self.sink.event(event)
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.sink.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.sink.sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        if self.wanted.is_all() {
            return self.sink.end(end);
        }
        let mut end = end.clone();
        end.events = std::mem::take(&mut self.events);
        let pids = &self.wanted.pids;
        end.processes.retain(|row| {
            let pid = row.who.as_ref().map(|who| who.pid);
            pids.is_empty() || pid.is_some_and(|pid| pids.contains(&pid))
        });
        self.sink.end(&end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

//! What the trace tells changes what is shown: the screen as a sink.

use std::io;

use super::{Key, Page, Port, SECOND, State, Tally};
use crate::{
    aggregate::{FlowKey, Process},
    event::{Detail, Event},
    fact::{Fact, Subject},
    sink::Sink,
    time::Time,
    trace::frame::{End, ProcessRow, Start, Sums},
};

impl Sink for State {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.touch();
        self.aggregate.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.has_news = true;
        self.aggregate.event(event)?;
        self.stream.push(event, self.view.shows(event));
        self.all.add(event.ts, self.started());
        // Plain events are most of a busy stream, and tell nothing of peers that counts here.
        if let Some(tally) = trouble(&event.detail)
            && let Some(flow) = FlowKey::of(event)
        {
            let second = self.second_of(event.ts);
            let is_owned = event.owner.is_some();
            self.peers
                .add(self.listening.peer(&flow, is_owned), second, &tally);
            if let Some(port) = self.listening.port(&flow, is_owned) {
                self.ports.add(port, second, &tally);
            }
        }
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        if let Subject::Listener { netns, local } = fact.subject {
            self.listening.add(Port {
                netns,
                port: local.port(),
            });
        }
        self.touch();
        self.aggregate.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        let first = self.second.is_none();
        let before = self.second();
        let now = ((sums.ts.since(self.started()) + SECOND / 2) / SECOND).max(before);
        self.second = Some(now);
        self.all.settle();
        let nothing = Process::default();
        for (pid, past) in sums.folded() {
            self.processes.merge(&pid, past);
            if self.view.page == Page::Process(pid) {
                self.view.page = Page::Process(past);
            }
            if self.view.selected == Some(Key::Process(pid)) {
                self.view.selected = Some(Key::Process(past));
            }
        }
        for row in &sums.processes {
            let pid = row.pid();
            // What it has more now did not happen now: it was told of processes that it stands for.
            if pid.is_past() {
                continue;
            }
            let process = self.aggregate.process(pid).unwrap_or(&nothing);
            // Sockets that were there before the trace were not opened in it.
            let sockets = if first { row.sockets } else { process.sockets };
            let grown = growth(process, sockets, row);
            self.processes.spread(pid, before, now, &grown);
        }
        self.processes.prune(now);
        self.peers.prune(now);
        self.ports.prune(now);
        self.touch();
        self.aggregate.sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.touch();
        self.aggregate.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// The second that an event is counted in: the one whose sums will have it.
    fn second_of(&self, ts: Time) -> u64 {
        ts.since(self.started()) / SECOND + 1
    }
}

/// What an event adds; `None` for one that is no trouble.
fn trouble(detail: &Detail) -> Option<Tally> {
    let clamp = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let mut tally = Tally {
        events: 1,
        ..Tally::default()
    };
    match *detail {
        Detail::ConnectFailed { .. } => tally.failed = 1,
        Detail::Retransmit { segs, .. } => tally.segs = segs,
        Detail::Reset { .. } => tally.resets = 1,
        Detail::TimeWaitOverflow { count, .. } => tally.overflows = clamp(count),
        Detail::FdExhausted { count, .. } => tally.descriptors = clamp(count),
        Detail::Connection { .. } | Detail::State { .. } | Detail::Lost { .. } => return None,
    }
    Some(tally).filter(|tally| tally.trouble() > 0)
}

/// What happened to a process since its last sums, as the kernel counted. Connections opened are those
/// that ended and those that are open now and were not before.
fn growth(before: &Process, sockets_before: u64, row: &ProcessRow) -> Tally {
    let grown =
        |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
    let (now, then) = (&row.totals, &before.totals);
    Tally {
        events: 0,
        opened: grown(
            row.sockets + now.connections,
            sockets_before + then.connections,
        ),
        failed: grown(now.connect_failed, then.connect_failed),
        segs: grown(now.retransmit_segs, then.retransmit_segs),
        resets: grown(
            now.resets_sent + now.resets_received,
            then.resets_sent + then.resets_received,
        ),
        overflows: grown(now.time_wait_overflow, then.time_wait_overflow),
        descriptors: grown(now.fd_exhausted, then.fd_exhausted),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tracer_common::process::Totals;

    use super::*;
    use crate::identity::Identity;

    #[test]
    fn a_programs_row_has_the_last_minute_of_its_ended_processes() {
        let who = Identity {
            pid: 5,
            start: Time(7),
            comm: String::from("worker"),
            ..Identity::default()
        };
        let row = |who: &Identity, connect_failed| ProcessRow {
            who: Some(Rc::new(who.clone())),
            sockets: 0,
            totals: Totals {
                connect_failed,
                ..Totals::default()
            },
        };
        let sums = |second, processes| Sums {
            ts: Time(second * SECOND),
            processes,
            hooks: Vec::new(),
        };
        let mut state = State::default();
        state.view.page = Page::Process(who.id());
        let past = who.past(1);
        state.sums(&sums(1, vec![row(&who, 10)])).unwrap();
        state
            .sums(&sums(2, vec![row(&who, 0), row(&past, 10)]))
            .unwrap();
        state.refresh();
        let rows: Vec<_> = state
            .rows
            .iter()
            .map(|row| (row.name(), row.minute.failed, row.totals.connect_failed))
            .collect();
        assert_eq!(rows, [(String::from("worker[ended]"), 10, 10)]);
        assert_eq!(state.view.page, Page::Process(past.id()));
    }
}

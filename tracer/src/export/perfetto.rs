//! JSON that Perfetto and `chrome://tracing` show: a track group per process, with its connections as
//! slices, its events as instants, and its totals as counters.
//!
//! The format is Chrome's trace events: `ph` is `M` for a name, `b` and `e` for the two ends of a slice,
//! `i` for an instant, `C` for a counter; times are microseconds from the trace's start. A slice's `id2` is `local`: with a
//! plain `id` Perfetto takes it out of its process.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::Exporter;
use crate::{
    error::Result,
    event::{Detail, Event},
    file::place::{self, Place},
    identity::{Identity, Pid, UNKNOWN},
    sink::Sink,
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// Above every process id (`PID_MAX_LIMIT` is 4,194,304): what a reused one is moved by.
const REUSED: u64 = 10_000_000;

/// Writes the trace into a file.
pub struct Perfetto {
    out: BufWriter<File>,
    place: Place,
    begun: Time,
    is_first: bool,
    /// The track group of each process, by its number and the name that it has been given.
    tracks: HashMap<Pid, (u64, String)>,
    /// When the first state of each connection began that is still to be told of, ns from the trace's start.
    states: HashMap<u64, i64>,
    /// How many processes have had an id.
    uses: HashMap<u32, u64>,
}

impl Perfetto {
    /// Makes the file.
    ///
    /// # Errors
    ///
    /// When it exists and `force` is not given, or can't be made.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let (file, place) = place::create(path, force)?;
        Ok(Self {
            out: BufWriter::with_capacity(64 << 10, file),
            place,
            begun: Time::default(),
            is_first: true,
            tracks: HashMap::new(),
            states: HashMap::new(),
            uses: HashMap::new(),
        })
    }

    fn complete(&mut self) -> io::Result<()> {
        if self.is_first {
            self.out.write_all(b"{\"traceEvents\":[")?;
        }
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }

    fn put(&mut self, event: &Value) -> io::Result<()> {
        let before = if self.is_first {
            "{\"traceEvents\":[\n"
        } else {
            ",\n"
        };
        self.is_first = false;
        self.out.write_all(before.as_bytes())?;
        serde_json::to_writer(&mut self.out, event).map_err(Into::into)
    }

    /// Nanoseconds from the trace's start.
    fn since_start(&self, ts: Time) -> i64 {
        ts.0.wrapping_sub(self.begun.0).cast_signed()
    }

    /// The track group of an owner; 0 is that of what has none.
    fn track(&mut self, who: Option<&Identity>) -> io::Result<u64> {
        let id = who.map(Identity::id).unwrap_or_default();
        let comm = who.map_or(UNKNOWN, |who| &who.comm);
        let number = match self.tracks.get(&id) {
            Some((number, name)) if name == comm => return Ok(*number),
            Some((number, _)) => *number,
            None => {
                let uses = self.uses.entry(id.pid).or_default();
                *uses += 1;
                u64::from(id.pid) + (*uses - 1) * REUSED
            }
        };
        self.tracks.insert(id, (number, comm.to_owned()));
        self.put(&json!({
            "ph": "M", "name": "process_name", "pid": number, "args": {"name": comm},
        }))?;
        Ok(number)
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let (pid, id) = (slice.track, slice.id);
        for (phase, ts) in [("b", slice.from), ("e", slice.to)] {
            let mut event = json!({
                "ph": phase, "cat": "connection", "id2": {"local": id.to_string()}, "pid": pid, "tid": pid,
                "name": slice.name, "ts": us(ts),
            });
            if phase == "b" {
                event["args"] = slice.args.clone();
            }
            self.put(&event)?;
        }
        Ok(())
    }
}

/// Nanoseconds as Perfetto reads them: it cuts off what is beyond three digits, so no arithmetic may follow.
fn us(ns: i64) -> f64 {
    ns as f64 / 1e3
}

fn ns(us: u64) -> i64 {
    us.saturating_mul(1_000).cast_signed()
}

struct Slice<'a> {
    track: u64,
    id: u64,
    name: &'a str,
    /// ns from the trace's start, as is `to`.
    from: i64,
    to: i64,
    args: Value,
}

impl Exporter for Perfetto {
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.complete()
            .map_err(|error| super::failed(self.place.path(), error))?;
        self.place.keep()
    }
}

impl Sink for Perfetto {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.begun = start.ts;
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        let track = self.track(event.owner.as_deref())?;
        let to = self.since_start(event.ts);
        let args = serde_json::to_value(event)?;
        let id = event.conn_id.unwrap_or_default();
        match &event.detail {
            Detail::Connection { duration_us, .. } => {
                let name = event
                    .ends
                    .map_or_else(String::new, |ends| match ends.remote {
                        Some(remote) => format!("{} -> {remote}", ends.local),
                        None => ends.local.to_string(),
                    });
                let from = duration_us.map_or(0, |us| to - ns(us));
                // Each duration is cut to microseconds, and what is shown within another has to begin later.
                let states = self.states.remove(&id).map_or(from, |first| first - 1);
                self.slice(&Slice {
                    track,
                    id,
                    name: &name,
                    from: from.min(states),
                    to,
                    args,
                })
            }
            Detail::State { old, in_old_us, .. } => match in_old_us {
                Some(us) => {
                    let from = to - ns(*us);
                    self.states.entry(id).or_insert(from);
                    self.slice(&Slice {
                        track,
                        id,
                        name: old.name(),
                        from,
                        to,
                        args,
                    })
                }
                None => Ok(()),
            },
            detail => self.put(&json!({
                "ph": "i", "s": "p", "cat": "event", "pid": track, "tid": track,
                "name": detail.kind(), "ts": us(to), "args": args,
            })),
        }
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        let ts = us(self.since_start(sums.ts));
        for row in &sums.processes {
            let track = self.track(row.who.as_deref())?;
            let totals = row.totals;
            for (name, value) in [
                ("sockets", row.sockets),
                ("connections", totals.connections),
                ("connect_failed", totals.connect_failed),
                ("retransmit_segs", totals.retransmit_segs),
                ("resets_sent", totals.resets_sent),
                ("resets_received", totals.resets_received),
                ("time_wait_overflow", totals.time_wait_overflow),
                ("fd_exhausted", totals.fd_exhausted),
            ] {
                self.put(&json!({
                    "ph": "C", "pid": track, "name": name, "ts": ts, "args": {"value": value},
                }))?;
            }
        }
        Ok(())
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.sums(&Sums {
            ts: end.ts,
            processes: end.processes.clone(),
            hooks: Vec::new(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracer_common::{record::End as How, tcp::state};

    use super::*;
    use crate::{
        aggregate::sample::connection,
        event::{State, UsInState},
    };

    #[test]
    fn a_state_is_within_its_connection_whatever_was_cut_off() {
        const BEGIN: u64 = 1_763_913_600_000_000_001;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let mut perfetto = Box::new(Perfetto::create(&path, false).unwrap());
        perfetto.begun = Time(BEGIN);
        let event = |ts, detail| Event {
            conn_id: Some(7),
            ..Event::nobody(Time(BEGIN + ts), None, detail)
        };
        let state = |ts, in_old_us| {
            let (old, new) = (State(state::SYN_SENT), State(state::ESTABLISHED));
            let in_old_us = Some(in_old_us);
            event(
                ts,
                Detail::State {
                    old,
                    new,
                    in_old_us,
                },
            )
        };
        // Born at 1,000,003 ns, of which the connection's own duration has lost 900.
        let mut ended = connection(How::ClosedLocal, None, 0, 2);
        let Detail::Connection {
            duration_us,
            us_in_state,
            ..
        } = &mut ended
        else {
            panic!("a connection");
        };
        (*duration_us, *us_in_state) = (Some(9), UsInState::default());
        for event in [
            state(1_002_003, 2),
            state(1_005_300, 3),
            event(1_009_900, ended),
        ] {
            perfetto.event(&event).unwrap();
        }
        perfetto.finish().unwrap();
        let trace: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap().iter();
        let written: Vec<_> = events.filter_map(|event| event["ts"].as_number()).collect();
        // Perfetto reads three digits, and cuts off what a float has beyond them.
        for time in &written {
            let digits = time.to_string();
            let cut = digits.split_once('.').map_or(0, |(_, digits)| digits.len());
            assert!(cut <= 3, "{digits}");
        }
        let times: Vec<f64> = written.iter().filter_map(|time| time.as_f64()).collect();
        let [first, first_ended, second, second_ended, begun, ended] = times[..] else {
            panic!("three slices: {times:?}");
        };
        assert_eq!(
            (first_ended, second_ended, ended),
            (1_002.003, 1_005.3, 1_009.9)
        );
        assert!(begun < first, "{times:?}");
        assert!(first_ended <= second && second_ended <= ended, "{times:?}");
    }
}

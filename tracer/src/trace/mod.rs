//! A live trace: records come out of the kernel, get an owner's identity, are added up and shown.

pub mod frame;
mod overflows;
mod storms;

use std::{collections::BTreeMap, os::fd::OwnedFd, rc::Rc};

use anyhow::Context as _;
use tracer_common::{
    process::{Process, ProcessKey, Totals, flag},
    record::{FdExhausted, Kind, TimeWaitOverflow},
};

use self::{
    frame::{End, HookStart, Start},
    overflows::Overflows,
    storms::Storms,
};
use crate::{
    aggregate::{Aggregate, ProcessRow},
    decode::Record,
    error::Result,
    event::{Detail, Names},
    identity::{Identities, Identity},
    kernel::{
        clock::{self, Epoch},
        counters::HookRow,
        netstat,
        session::{Options, Session},
    },
    sink::Sink,
};

/// A live trace.
pub struct Trace {
    session: Session,
    names: Names,
    identities: Identities,
    aggregate: Aggregate,
    started: u64,
    fd: Storms<FdExhausted>,
    tw: Storms<TimeWaitOverflow>,
    overflows: Overflows,
    options: Options,
    rows: Vec<HookRow>,
    /// Ended processes that had no socket at the last tick.
    leaving: Vec<ProcessKey>,
    owner_ended: bool,
    accepts_skipped: u64,
}

impl Trace {
    /// Loads, attaches and finds what exists.
    ///
    /// # Errors
    ///
    /// See [`Session::start`].
    pub fn start(options: Options) -> Result<Self> {
        let mut session = Session::start(&options)?;
        let mut identities = Identities::default();
        identities.find_all(session.newcomers());
        let overflows = if options.filters.is_whole_namespaces() {
            netstat::overflows()
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            names: Names {
                epoch: Epoch::now(),
                reset_reasons: session.reset_reasons().clone(),
                us_per_jiffy: clock::us_per_jiffy(),
            },
            session,
            identities,
            aggregate: Aggregate::default(),
            started: clock::now(),
            fd: Storms::default(),
            tw: Storms::default(),
            overflows: Overflows::since(overflows),
            options,
            rows: Vec::new(),
            leaving: Vec::new(),
            owner_ended: false,
            accepts_skipped: 0,
        })
    }

    /// The first line.
    #[must_use]
    pub fn start_line(&self) -> Start {
        let machine = nix::sys::utsname::uname();
        let text = |value: Option<&std::ffi::OsStr>| {
            value.map_or_else(String::new, |value| value.to_string_lossy().into_owned())
        };
        Start {
            event: "start",
            schema: 1,
            ts: self.names.epoch.format(self.started),
            host: text(machine.as_ref().ok().map(|machine| machine.nodename())),
            kernel: text(machine.as_ref().ok().map(|machine| machine.release())),
            version: env!("CARGO_PKG_VERSION"),
            hooks: self
                .session
                .attached()
                .iter()
                .map(|attached| HookStart {
                    hook: attached.hook.name(),
                    rung: attached.rung.name,
                })
                .collect(),
            filters: self.options.filters.describe(),
        }
    }

    /// Descriptors that become readable when much waits.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn wakers(&self) -> std::io::Result<[OwnedFd; 2]> {
        self.session.wakers()
    }

    /// Takes the reader of the programs' own diagnostics.
    ///
    /// # Errors
    ///
    /// When the object has none.
    pub fn logger(&mut self) -> anyhow::Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
        self.session.logger()
    }

    /// Shows the events that are ready.
    ///
    /// # Errors
    ///
    /// When the sink fails, or a record is malformed.
    pub fn poll(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        loop {
            let now = clock::now();
            if !self.drain(now, sink)? {
                return sink.flush().map_err(Into::into);
            }
        }
    }

    fn drain(&mut self, now: u64, sink: &mut dyn Sink) -> anyhow::Result<bool> {
        let mut records = Vec::new();
        let is_more = self
            .session
            .drain(now, |record| records.push(record))
            .context("the eBPF object and this program do not belong together")?;
        for record in records {
            self.show(&record, sink)?;
        }
        Ok(is_more)
    }

    fn show(&mut self, record: &Record, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let count = match record {
            Record::ProcessSeen(seen) => {
                self.identities.learn(seen);
                return Ok(());
            }
            Record::ProcessGone(_) => {
                self.owner_ended = true;
                return Ok(());
            }
            Record::FdExhausted(record) => self.fd.told(record),
            Record::TimeWaitOverflow(record) => {
                let count = self.tw.told(record);
                self.overflows.told(record.head.tuple.netns, count);
                count
            }
            _ => 1,
        };
        // A total that came late: an earlier line told of it already.
        if count == 0 {
            return Ok(());
        }
        let owner = self.owner(&record.head().owner);
        if let Some(event) = self.names.event(record, owner.as_ref(), count) {
            self.aggregate.count(event.event);
            sink.event(&event)?;
        }
        Ok(())
    }

    /// Who it is: as described, else, where the description was lost, as far as the kernel's map and
    /// `/proc` tell.
    fn owner(&mut self, key: &ProcessKey) -> Option<Rc<Identity>> {
        if !key.is_known() {
            return None;
        }
        if let Some(identity) = self.identities.get(key) {
            return Some(Rc::clone(identity));
        }
        let comm = self.session.process(key).map(|process| process.comm);
        Some(self.identities.find(key, comm))
    }

    /// Who a process of the kernel's map is.
    fn identity(&mut self, key: &ProcessKey, process: &Process) -> Rc<Identity> {
        if !key.is_known() {
            return Rc::default();
        }
        self.identities.find(key, Some(process.comm))
    }

    fn row(&self, key: ProcessKey, identity: &Identity, totals: Totals) -> ProcessRow {
        ProcessRow {
            pid: key.is_known().then_some(key.tgid),
            pid_start: key.is_known().then(|| self.names.epoch.format(key.start)),
            uid: identity.uid,
            comm: key.is_known().then(|| identity.comm.clone()),
            cmdline: (!identity.args.is_empty()).then(|| identity.args.join(" ")),
            cgroup: identity.place.path.clone(),
            container: identity.place.container.clone(),
            unit: identity.place.unit.clone(),
            totals,
        }
    }

    /// What is done once a second: tells what storms and losses have added, forgets ended processes,
    /// finds new holders for their sockets.
    ///
    /// # Errors
    ///
    /// When the sink fails, or a map can't be read.
    pub fn tick(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        self.drain(clock::now(), sink)?;
        self.settle_storms(false, sink)?;
        self.tell_lost(sink)?;
        let accepts_skipped = self
            .rows
            .iter()
            .find(|row| row.hook == "accept")
            .map_or(0, |row| row.skipped);
        if self.owner_ended || accepts_skipped != self.accepts_skipped {
            self.session.scan()?;
            self.identities.find_all(self.session.newcomers());
            self.owner_ended = false;
            self.accepts_skipped = accepts_skipped;
        }
        self.forget_ended()?;
        sink.flush()?;
        Ok(())
    }

    /// Retires processes that ended and own nothing, a tick after they were first seen so: all their
    /// events have been shown by then.
    fn forget_ended(&mut self) -> anyhow::Result<()> {
        let mut leaving = Vec::new();
        for (key, process) in self.session.processes()? {
            if process.flags & flag::EXITED == 0 || process.sockets != 0 || !key.is_known() {
                continue;
            }
            if self.leaving.contains(&key) {
                let identity = self.identity(&key, &process);
                self.aggregate.retire(key, &identity, &process.totals);
                self.session.forget(&key);
                self.identities.forget(&key);
            } else {
                leaving.push(key);
            }
        }
        self.leaving = leaving;
        Ok(())
    }

    /// Tells what storms have added since their last record: the kernel sends few, and some may be lost.
    /// A storm whose first record has not come may still have it on the way, unless it `is_over`.
    fn settle_storms(&mut self, is_over: bool, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let now = clock::now();
        let wants = |kind| self.options.filters.events.contains(&kind);
        let mut records = Vec::new();
        if wants(Kind::FdExhausted) {
            for (key, storm) in self.session.fd_storms()? {
                records.extend(
                    self.fd
                        .rest(&key, storm.total, now, is_over)
                        .map(Record::FdExhausted),
                );
            }
        }
        if wants(Kind::TimeWaitOverflow) {
            for (key, storm) in self.session.tw_storms()? {
                records.extend(
                    self.tw
                        .rest(&key, storm.total, now, is_over)
                        .map(Record::TimeWaitOverflow),
                );
            }
        }
        records
            .iter()
            .try_for_each(|record| self.show(record, sink))
    }

    /// Tells what was lost and skipped since the last time.
    fn tell_lost(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let rows = self.session.counters()?;
        let now = clock::now();
        for (place, row) in rows.iter().enumerate() {
            let before = self.rows.get(place);
            let terms = [
                (
                    "ring_full",
                    row.lost.ring_full,
                    before.map_or(0, |row| row.lost.ring_full),
                ),
                (
                    "map_full",
                    row.lost.map_full,
                    before.map_or(0, |row| row.lost.map_full),
                ),
                (
                    "recursion",
                    row.skipped,
                    before.map_or(0, |row| row.skipped),
                ),
            ];
            for (reason, count, before) in terms {
                if count <= before {
                    continue;
                }
                let detail = Detail::Lost {
                    hook: row.hook,
                    reason,
                    count: count - before,
                };
                self.aggregate.count("lost");
                sink.event(&self.names.nobody(now, "lost", None, detail))?;
            }
        }
        self.rows = rows;
        Ok(())
    }

    /// Tells the overflows that a namespace's own counter has and that found no owner.
    fn reconcile_overflows(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let filters = &self.options.filters;
        if !filters.is_whole_namespaces() {
            return Ok(());
        }
        let now = clock::now();
        for (netns, count) in self.overflows.rest(&netstat::overflows()) {
            if !filters.netns.is_empty() && !filters.netns.contains(&netns) {
                continue;
            }
            let detail = Detail::TimeWaitOverflow {
                tw_count: None,
                tw_max: None,
                inferred: true,
                count,
            };
            self.aggregate.count("time_wait_overflow");
            sink.event(
                &self
                    .names
                    .nobody(now, "time_wait_overflow", Some(netns), detail),
            )?;
        }
        Ok(())
    }

    /// Shows what is left, and returns the last line. Detaching, when the trace is dropped, takes the
    /// kernel a second or two.
    ///
    /// # Errors
    ///
    /// When the sink fails, or a map can't be read.
    pub fn finish(&mut self, sink: &mut dyn Sink) -> anyhow::Result<End> {
        // Settles what retransmits were missed on sockets that are still open.
        self.session.scan()?;
        while self.drain(u64::MAX, sink)? {}
        self.settle_storms(true, sink)?;
        self.reconcile_overflows(sink)?;
        self.tell_lost(sink)?;
        let live: Vec<_> = self
            .session
            .processes()?
            .into_iter()
            .map(|(key, process)| (key, self.identity(&key, &process), process.totals))
            .collect();
        let now = clock::now();
        let processes = self
            .aggregate
            .processes(&live)
            .into_iter()
            .map(|(key, identity, totals)| self.row(key, &identity, totals))
            .collect();
        let end = End {
            event: "end",
            ts: self.names.epoch.format(now),
            duration_us: (now - self.started) / 1_000,
            events: self.aggregate.events().clone(),
            hooks: self.rows.clone(),
            processes,
        };
        sink.end(&end)?;
        sink.flush()?;
        Ok(end)
    }
}

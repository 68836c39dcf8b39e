//! A live trace: records come out of the kernel, get an owner's identity, are added up and shown.

pub mod frame;
mod processes;
mod remainder;
mod settle;
mod storms;
mod totals;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_common::{
    hook::Hook,
    process::{Process, ProcessKey, Totals},
    record::{FdExhausted, TimeWaitOverflow},
};

use self::{
    frame::{End, HookStart, ProcessRow, SCHEMA, Start, Sums},
    remainder::Remainder,
    storms::Storms,
    totals::Ended,
};
use crate::{
    decode::Record,
    error::Result,
    event::{Ends, Event, Names},
    identity::{Identities, Identity, Pid},
    kernel::{
        clock::{self, Epoch},
        counters::HookRow,
        facts::Collector,
        session::{Options, Session},
    },
    sink::Sink,
};

/// A process that is looked at is asked after this often, and at most a twentieth of the time is spent on it.
const LOOK: Duration = Duration::from_secs(1);
/// See [`LOOK`].
const LOOK_COST: u32 = 20;

/// A live trace.
pub struct Trace {
    session: Session,
    names: Names,
    identities: Identities,
    /// Records on their way, here so that their memory is used again.
    records: Vec<Record>,
    /// Reads facts, where they are wanted.
    facts: Option<Collector>,
    /// When a process may be looked at again.
    look_again: Option<Instant>,
    /// Events that were shown, by kind.
    events: BTreeMap<Cow<'static, str>, u64>,
    ended: Ended,
    started: u64,
    fd: Storms<FdExhausted>,
    tw: Storms<TimeWaitOverflow>,
    overflows: Remainder,
    retransmits: Remainder,
    options: Options,
    rows: Vec<HookRow>,
    /// What was told of each process last, see [`Sums`].
    told: HashMap<ProcessKey, (u64, Totals)>,
    /// Ended processes that had no socket at the last tick.
    leaving: Vec<ProcessKey>,
    /// Ended processes that owned sockets at the last tick.
    survived: HashSet<ProcessKey>,
    unseen_accepts: u64,
}

impl Trace {
    /// Loads, attaches and finds what exists.
    ///
    /// # Errors
    ///
    /// See [`Session::start`].
    pub fn start(options: Options) -> Result<Self> {
        let mut session = Session::start(&options)?;
        let epoch = Epoch::now();
        let mut identities = Identities::new(epoch);
        identities.find_all(session.newcomers());
        let counted = settle::counted(&options.filters);
        let unseen_accepts = session.unseen_accepts()?;
        Ok(Self {
            names: Names::new(epoch, session.reset_reasons(), clock::us_per_jiffy()),
            session,
            identities,
            records: Vec::new(),
            facts: options
                .facts
                .then(|| Collector::new(epoch, options.filters.clone())),
            look_again: None,
            events: BTreeMap::new(),
            ended: Ended::default(),
            started: clock::now(),
            fd: Storms::default(),
            tw: Storms::default(),
            overflows: Remainder::since(settle::each(&counted, |one| one.overflows)),
            retransmits: Remainder::since(settle::each(&counted, |one| one.retransmits)),
            options,
            rows: Vec::new(),
            told: HashMap::new(),
            leaving: Vec::new(),
            survived: HashSet::new(),
            unseen_accepts,
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
            schema: SCHEMA,
            ts: self.names.epoch.time(self.started),
            host: text(machine.as_ref().ok().map(|machine| machine.nodename())),
            kernel: text(machine.as_ref().ok().map(|machine| machine.release())),
            version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
            hooks: self
                .session
                .attached()
                .iter()
                .map(|attached| HookStart {
                    hook: attached.hook.name().into(),
                    rung: attached.rung.name.into(),
                })
                .collect(),
            filters: self.options.filters.describe(),
        }
    }

    /// Reads the facts that stand before any event, where facts are wanted.
    pub fn read_facts(&mut self) {
        if let Some(facts) = &mut self.facts {
            facts.read();
        }
    }

    /// Tells the facts that were read and not told yet.
    ///
    /// # Errors
    ///
    /// When the sink fails.
    pub fn tell_facts(&mut self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        if let Some(facts) = &mut self.facts {
            facts.flush(sink)?;
        }
        Ok(())
    }

    /// Tells all there is to know of a process that somebody looks at: limits, ancestors, and its open
    /// connections. On a machine with many connections this is slow, so it does nothing when it was called
    /// too lately for what it cost.
    ///
    /// # Errors
    ///
    /// When the sink fails, or a map can't be read.
    pub fn look_at(&mut self, pid: Pid, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let Some(facts) = &mut self.facts else {
            return Ok(());
        };
        let began = Instant::now();
        if self.look_again.is_some_and(|next| began < next) {
            return Ok(());
        }
        let epoch = self.names.epoch;
        let is_wanted = |key: &ProcessKey| Pid::of(key, epoch) == pid;
        let found = self.session.connections_of(is_wanted)?;
        let born = found.iter().filter_map(|(tuple, born)| {
            Some((Ends::of(tuple)?, born.map(|born| epoch.time(born))))
        });
        facts.look_at(pid, &born.collect(), sink)?;
        self.look_again = Some(began + LOOK.max(began.elapsed() * LOOK_COST));
        Ok(())
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

    /// Shows events that are ready, so many at once that the caller is not kept long. Returns whether there
    /// may be more.
    ///
    /// # Errors
    ///
    /// When the sink fails, or a record is malformed.
    pub fn poll(&mut self, sink: &mut dyn Sink) -> anyhow::Result<bool> {
        let is_more = self.drain(clock::now(), sink)?;
        if !is_more {
            sink.flush()?;
        }
        Ok(is_more)
    }

    fn drain(&mut self, now: u64, sink: &mut dyn Sink) -> anyhow::Result<bool> {
        let mut records = std::mem::take(&mut self.records);
        let is_more = self
            .session
            .drain(now, |record| records.push(record.clone()))
            .context("the eBPF object and this program do not belong together")?;
        let shown = records
            .iter()
            .try_for_each(|record| self.show(record, sink));
        records.clear();
        self.records = records;
        shown.map(|()| is_more)
    }

    fn show(&mut self, record: &Record, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let count = match record {
            Record::ProcessSeen(seen) => {
                self.identities.learn(seen);
                return Ok(());
            }
            Record::FdExhausted(record) => self.fd.told(record),
            Record::TimeWaitOverflow(record) => {
                let count = self.tw.told(record);
                self.overflows.told(record.head.tuple.netns, count);
                count
            }
            Record::Retransmit(record) => {
                let segs = record.segs.into();
                self.retransmits.told(record.head.tuple.netns, segs);
                1
            }
            _ => 1,
        };
        // A total that came late: an earlier line told of it already.
        if count == 0 {
            return Ok(());
        }
        let owner = self.owner(&record.head().owner);
        match self.names.event(record, owner, count) {
            Some(event) => self.tell(&event, sink),
            None => Ok(()),
        }
    }

    fn tell(&mut self, event: &Event, sink: &mut dyn Sink) -> anyhow::Result<()> {
        *self.events.entry(event.detail.kind().into()).or_default() += 1;
        if let Some(facts) = &mut self.facts {
            facts.observe(event, &mut self.session);
        }
        sink.event(event).map_err(Into::into)
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

    /// A process of the kernel's map, with what it has of it now.
    fn row(&mut self, key: &ProcessKey, process: &Process) -> ProcessRow {
        let who = key
            .is_known()
            .then(|| self.identities.find(key, Some(process.comm)));
        ProcessRow {
            who,
            sockets: process.sockets,
            totals: process.totals,
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
        let mut rows = self.rows.iter();
        let accept = rows.find(|row| row.hook == Hook::Accept);
        let skipped = accept.map_or(0, |row| row.skipped);
        let unseen_accepts = self.session.unseen_accepts()?.wrapping_add(skipped);
        let mut processes = self.session.processes()?;
        if self.has_an_owner_ended(&processes) || unseen_accepts != self.unseen_accepts {
            self.session.scan()?;
            self.identities.find_all(self.session.newcomers());
            self.unseen_accepts = unseen_accepts;
            processes = self.session.processes()?;
        }
        self.tell_sums(&processes, sink)?;
        self.forget_ended(&processes, sink)?;
        if let Some(facts) = &mut self.facts {
            facts.tick(&mut self.session, sink)?;
        }
        sink.flush()?;
        Ok(())
    }

    fn sums(&self, processes: Vec<ProcessRow>) -> Sums {
        Sums {
            ts: self.names.epoch.time(clock::now()),
            processes,
            hooks: self.rows.clone(),
        }
    }

    /// Shows what is left, and returns the last line. Detaching, when the trace is dropped, takes the
    /// kernel a second or two.
    ///
    /// # Errors
    ///
    /// When the sink fails, or a map can't be read.
    pub fn finish(&mut self, sink: &mut dyn Sink) -> anyhow::Result<End> {
        // Before what is told is complete, so that nothing counts as missing that is on its way.
        let counted = settle::counted(&self.options.filters);
        // Settles what retransmits were missed on sockets that are still open.
        self.session.scan()?;
        self.session.find_ended_unseen()?;
        while self.drain(u64::MAX, sink)? {}
        self.settle_storms(true, sink)?;
        self.tell_lost(sink)?;
        self.reconcile(&counted, sink)?;
        if let Some(facts) = &mut self.facts {
            facts.end(&mut self.session, sink)?;
        }
        let live: Vec<_> = self
            .session
            .processes()?
            .into_iter()
            .map(|(key, process)| (key, self.row(&key, &process)))
            .collect();
        let now = clock::now();
        let end = End {
            event: "end",
            ts: self.names.epoch.time(now),
            duration_us: (now - self.started) / 1_000,
            events: self.events.clone(),
            hooks: self.rows.clone(),
            processes: self.ended.all(live),
        };
        sink.end(&end)?;
        sink.flush()?;
        Ok(end)
    }
}

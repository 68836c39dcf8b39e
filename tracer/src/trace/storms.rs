//! Storms: what they have told, and the rest that only the kernel's map knows.

use std::{collections::HashMap, hash::Hash};

use bytemuck::Zeroable as _;
use tracer_common::{
    conn::OwnerSource,
    record::{FdExhausted, Kind, TimeWaitOverflow},
    storm::{FdKey, TwKey},
};

use crate::storm::Ledger;

/// A record of a storm: it carries the total so far.
pub(super) trait StormRecord: Copy {
    /// What the kernel counts by.
    type Key: Copy + Eq + Hash;

    fn key(&self) -> Self::Key;

    fn total(&self) -> u64;

    /// The same, later.
    fn grown(self, total: u64, now: u64) -> Self;

    /// What can be told of a storm whose every record was lost.
    fn unseen(key: &Self::Key) -> Self;
}

/// The storms of one kind.
pub(super) struct Storms<R: StormRecord> {
    counts: Ledger<R::Key>,
    latest: HashMap<R::Key, R>,
}

impl<R: StormRecord> Default for Storms<R> {
    fn default() -> Self {
        Self {
            counts: Ledger::default(),
            latest: HashMap::new(),
        }
    }
}

impl<R: StormRecord> Storms<R> {
    /// Takes a record; returns how many failures it tells that were not told before.
    pub(super) fn told(&mut self, record: &R) -> u64 {
        self.latest.insert(record.key(), *record);
        self.counts.since(record.key(), record.total())
    }

    /// Forgets a storm that can't grow any more.
    pub(super) fn forget(&mut self, key: &R::Key) {
        self.latest.remove(key);
        self.counts.forget(key);
    }

    /// A record for what the kernel's map has and no record told: the latest one, grown. A storm of which
    /// none has come may have it on the way, unless it `is_over`.
    pub(super) fn rest(&self, key: &R::Key, total: u64, now: u64, is_over: bool) -> Option<R> {
        let latest = self.latest.get(key).copied();
        let record = latest.or_else(|| is_over.then(|| R::unseen(key)))?;
        Some(record.grown(total, now))
    }
}

impl StormRecord for FdExhausted {
    type Key = FdKey;

    fn key(&self) -> FdKey {
        FdKey {
            process: self.head.owner,
            syscall: self.syscall,
            errno: self.errno,
            netns: self.head.tuple.netns,
            pad: 0,
        }
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn grown(mut self, total: u64, now: u64) -> Self {
        self.head.ts = now;
        self.total = total;
        self
    }

    fn unseen(key: &FdKey) -> Self {
        let mut record = Self::zeroed();
        record.head.kind = Kind::FdExhausted as u8;
        record.head.owner = key.process;
        record.head.owner_source = OwnerSource::Current as u8;
        record.head.tuple.netns = key.netns;
        record.syscall = key.syscall;
        record.errno = key.errno;
        record.open_fds = u32::MAX;
        record.limit_soft = u64::MAX;
        record.limit_hard = u64::MAX;
        record
    }
}

impl StormRecord for TimeWaitOverflow {
    type Key = TwKey;

    fn key(&self) -> TwKey {
        TwKey {
            process: self.head.owner,
            netns: self.head.tuple.netns,
            owner_source: u32::from(self.head.owner_source),
        }
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn grown(mut self, total: u64, now: u64) -> Self {
        self.head.ts = now;
        self.total = total;
        self
    }

    fn unseen(key: &TwKey) -> Self {
        let mut record = Self::zeroed();
        record.head.kind = Kind::TimeWaitOverflow as u8;
        record.head.owner = key.process;
        record.head.owner_source = u8::try_from(key.owner_source).unwrap_or(0);
        record.head.tuple.netns = key.netns;
        record.inferred = 1;
        record
    }
}

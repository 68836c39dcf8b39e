//! Single connections that are in trouble.

use std::{collections::BTreeMap, rc::Rc};

use rustc_hash::FxHashMap;
use tracer_common::record::{Cause, End};

use crate::{
    event::{Detail, Direction, Ends, Errno, Event},
    identity::Identity,
    time::Time,
};

/// Connections that are told apart. When there are more, those that ended go first, then the calmest.
const KEPT: usize = 8_192;

/// The connections that retransmit, were reset, or ended badly.
#[derive(Debug, Default)]
pub struct Connections {
    by_id: FxHashMap<u64, Connection>,
    /// Connections that found no room.
    pub dropped: u64,
}

/// A connection in trouble.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number in the trace.
    pub id: u64,
    /// Its owner, as of its last event.
    pub owner: Option<Rc<Identity>>,
    /// Network namespace.
    pub netns: Option<u32>,
    /// Its ends.
    pub ends: Option<Ends>,
    /// Its first event here.
    pub first: Time,
    /// Its last event here.
    pub last: Time,
    /// Segments sent again, by cause.
    pub segs: BTreeMap<Cause, u64>,
    /// The present stretch of timeouts that found nothing acknowledged.
    pub stall: Option<Stall>,
    /// Smoothed round-trip time at its last event, us.
    pub srtt_us: Option<u32>,
    /// Bytes sent and not acknowledged, at its last retransmit.
    pub unacked_bytes: u32,
    /// What the local stack said to its last retransmit: 0, or a negative error number.
    pub err: i32,
    /// Resets sent.
    pub resets_sent: u32,
    /// Resets received.
    pub resets_received: u32,
    /// How it ended, and its error; `None` while it lives.
    pub end: Option<(End, Option<Errno>)>,
}

/// Timeouts of the same data, one after the other: nothing is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The sequence number that is sent again and again.
    pub seq: u32,
    /// When it was first sent again.
    pub first: Time,
    /// When the timer first expired: a tail-loss probe may come before.
    pub first_timeout: Option<Time>,
    /// When it was last sent again.
    pub last: Time,
    /// How often.
    pub repeats: u32,
    /// Of those, how often because the timer expired.
    pub timeouts: u32,
    /// Exponent of the back-off at the last.
    pub backoff: u8,
    /// The retransmission timeout that was set at the last, us.
    pub rto_us: Option<u64>,
}

impl Connection {
    /// Segments sent again.
    #[must_use]
    pub fn total_segs(&self) -> u64 {
        self.segs.values().sum()
    }
}

impl Connections {
    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.by_id.values()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Connection> {
        self.by_id.get(&id)
    }

    pub(super) fn add(&mut self, event: &Event) {
        let Some(id) = event.conn_id else { return };
        let is_trouble = match event.detail {
            Detail::Retransmit { .. } | Detail::Reset { .. } | Detail::ConnectFailed { .. } => true,
            Detail::Connection { end, .. } => !matches!(
                end,
                End::ClosedLocal | End::ClosedRemote | End::TimeWaitOverflow
            ),
            _ => false,
        };
        if !self.by_id.contains_key(&id) {
            if !is_trouble {
                return;
            }
            if self.by_id.len() >= KEPT {
                self.make_room();
            }
        }
        self.by_id
            .entry(id)
            .or_insert_with(|| Connection {
                id,
                owner: None,
                netns: event.netns,
                ends: event.ends,
                first: event.ts,
                last: event.ts,
                segs: BTreeMap::new(),
                stall: None,
                srtt_us: None,
                unacked_bytes: 0,
                err: 0,
                resets_sent: 0,
                resets_received: 0,
                end: None,
            })
            .add(event);
    }

    /// Lets an eighth go: those that ended first, and of equals those with the fewest segments.
    fn make_room(&mut self) {
        let mut all: Vec<(bool, u64, u64)> = self
            .by_id
            .values()
            .map(|one| (one.end.is_none(), one.total_segs(), one.id))
            .collect();
        all.sort_unstable();
        for (_, _, id) in all.into_iter().take(KEPT / 8) {
            self.by_id.remove(&id);
            self.dropped += 1;
        }
    }
}

impl Connection {
    fn add(&mut self, event: &Event) {
        self.last = self.last.max(event.ts);
        if event.owner.is_some() {
            self.owner.clone_from(&event.owner);
        }
        self.ends = event.ends.or(self.ends);
        match event.detail {
            Detail::Retransmit {
                cause,
                segs,
                seq,
                backoff,
                rto_us,
                srtt_us,
                unacked_bytes,
                err,
                ..
            } => {
                *self.segs.entry(cause).or_default() += u64::from(segs);
                self.srtt_us = srtt_us.or(self.srtt_us);
                self.unacked_bytes = unacked_bytes;
                self.err = err;
                self.stall(event.ts, cause, seq, backoff, rto_us);
            }
            Detail::Reset { direction, .. } => match direction {
                Direction::Sent => self.resets_sent += 1,
                Direction::Received => self.resets_received += 1,
            },
            Detail::Connection {
                end,
                errno,
                srtt_us,
                ..
            } => {
                self.srtt_us = srtt_us.or(self.srtt_us);
                self.end = Some((end, errno));
            }
            _ => {}
        }
    }

    fn stall(&mut self, ts: Time, cause: Cause, seq: u32, backoff: u8, rto_us: Option<u64>) {
        match cause {
            Cause::Rto | Cause::Tlp | Cause::Syn => {}
            // Says nothing about this direction, or nothing at all.
            Cause::Synack | Cause::Unknown => return,
            // Acknowledgements come in.
            Cause::Fast | Cause::LossRecovery | Cause::Pmtu => {
                self.stall = None;
                return;
            }
        }
        let is_timeout = cause != Cause::Tlp;
        match &mut self.stall {
            // A tail-loss probe may send the last segment, the timer the first: the same stretch as long
            // as the back-off does not start anew.
            Some(stall) if stall.seq == seq || (stall.repeats > 0 && backoff > stall.backoff) => {
                stall.seq = seq;
                stall.last = ts;
                stall.repeats += 1;
                stall.backoff = backoff;
                stall.rto_us = rto_us;
                stall.timeouts += u32::from(is_timeout);
                stall.first_timeout = stall.first_timeout.or(is_timeout.then_some(ts));
            }
            stall => {
                *stall = Some(Stall {
                    seq,
                    first: ts,
                    first_timeout: is_timeout.then_some(ts),
                    last: ts,
                    repeats: 1,
                    timeouts: u32::from(is_timeout),
                    backoff,
                    rto_us,
                });
            }
        }
    }
}

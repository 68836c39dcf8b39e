//! Reads the two ring buffers, in the order of time.

use aya::maps::{MapData, RingBuf};
use tracer_common::record::Kind;

use crate::decode::{self, DecodeError, Record};

/// A record younger than this may be overtaken by one that another CPU is still writing, ns.
const HOLD_BACK: u64 = 1_000_000;
/// Records taken from a ring in one go, so that a flood cannot keep the reader from its other work.
const AT_ONCE: usize = 65_536;

/// Both rings.
pub(super) struct Rings {
    pub(super) events: RingBuf<MapData>,
    pub(super) rare: RingBuf<MapData>,
    /// Records not handed on yet.
    waiting: Vec<Record>,
    /// The order they go in: when, rank, place in `waiting`. Sorted instead of the records, which are large.
    order: Vec<(u64, u8, usize)>,
}

impl Rings {
    pub(super) const fn new(events: RingBuf<MapData>, rare: RingBuf<MapData>) -> Self {
        Self {
            events,
            rare,
            waiting: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Takes what both rings hold and hands on what is older than the hold-back before `now`, in the
    /// order of time, a state before what follows from it. `now` must have been read before the call;
    /// with `u64::MAX` all is handed on. Returns whether a ring may hold more.
    pub(super) fn drain(
        &mut self,
        now: u64,
        mut on: impl FnMut(&Record),
    ) -> Result<bool, DecodeError> {
        let mut is_full = false;
        for ring in [&mut self.rare, &mut self.events] {
            let mut taken = 0;
            while taken < AT_ONCE
                && let Some(bytes) = ring.next()
            {
                self.waiting.push(decode::record(&bytes)?);
                taken += 1;
            }
            is_full |= taken == AT_ONCE;
        }
        let limit = if now == u64::MAX {
            now
        } else {
            now.saturating_sub(HOLD_BACK)
        };
        self.order.clear();
        let ready = self
            .waiting
            .iter()
            .enumerate()
            .filter_map(|(place, record)| {
                let head = record.head();
                (head.ts <= limit).then(|| (head.ts, rank(head.kind), place))
            });
        self.order.extend(ready);
        self.order.sort_unstable();
        for (_, _, place) in &self.order {
            on(&self.waiting[*place]);
        }
        self.waiting.retain(|record| record.head().ts > limit);
        Ok(is_full)
    }
}

/// The order of records of one instant: who it is, the change, what it means, the connection's end.
const fn rank(kind: u8) -> u8 {
    const SEEN: u8 = Kind::ProcessSeen as u8;
    const STATE: u8 = Kind::State as u8;
    const CONNECTION: u8 = Kind::Connection as u8;
    match kind {
        SEEN => 0,
        STATE => 1,
        CONNECTION => 3,
        _ => 2,
    }
}

//! A record of the kernel programs becomes an event.

use std::{collections::BTreeMap, rc::Rc};

use tracer_common::{
    conn::{OwnerSource, flag},
    record::{Cause, Connection, End, NO_TIME},
    tcp::state,
};

use super::{Detail, Direction, Ends, Errno, Event, Role, State, Syscall, UsInState};
use crate::{decode::Record, identity::Identity, kernel::clock::Epoch};

/// What turns the kernel's numbers into names and times.
#[derive(Clone, Debug)]
pub struct Names {
    /// What instants are counted from.
    pub epoch: Epoch,
    /// Reasons of resets, `enum sk_rst_reason`, as they are shown.
    reset_reasons: BTreeMap<u32, Rc<str>>,
    /// Microseconds of a jiffy.
    us_per_jiffy: Option<f64>,
}

impl Names {
    /// From the names that the kernel's types give its reasons for resets, and the length of a jiffy.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        reset_reasons: &BTreeMap<u32, String>,
        us_per_jiffy: Option<f64>,
    ) -> Self {
        let shown = |name: &String| {
            name.trim_start_matches("SK_RST_REASON_")
                .to_ascii_lowercase()
                .into()
        };
        Self {
            epoch,
            reset_reasons: reset_reasons
                .iter()
                .map(|(number, name)| (*number, shown(name)))
                .collect(),
            us_per_jiffy,
        }
    }

    /// Makes an event of a record; `count` is what a storm's record stands for. `None` for records
    /// that are not shown.
    #[must_use]
    pub fn event(&self, record: &Record, owner: Option<Rc<Identity>>, count: u64) -> Option<Event> {
        let detail = self.detail(record, count)?;
        let head = record.head();
        let mut ends = Ends::of(&head.tuple);
        if let Record::State(record) = record
            && record.new == state::SYN_RECV
            && record.head.tuple.rport == 0
            && let Some(ends) = &mut ends
        {
            // Up to 6.12 a child gets its addresses after it has changed state:
            // `net/ipv4/inet_connection_sock.c: inet_csk_clone_lock`.
            ends.remote = None;
        }
        Some(Event {
            ts: self.epoch.time(head.ts),
            conn_id: (head.conn_id != 0).then_some(head.conn_id),
            owner,
            owner_source: OwnerSource::from_byte(head.owner_source).unwrap_or(OwnerSource::Unknown),
            netns: (head.tuple.netns != 0).then_some(head.tuple.netns),
            ends,
            detail,
        })
    }

    fn detail(&self, record: &Record, count: u64) -> Option<Detail> {
        Some(match record {
            Record::State(record) => Detail::State {
                old: State(record.old),
                new: State(record.new),
                in_old_us: us(record.in_old),
            },
            Record::Connection(record) => connection(record),
            Record::Retransmit(record) => Detail::Retransmit {
                cause: Cause::from_byte(record.cause).unwrap_or(Cause::Unknown),
                segs: record.segs,
                seq: record.seq,
                backoff: record.backoff,
                rto_us: self
                    .us_per_jiffy
                    .filter(|_| record.rto_jiffies != 0)
                    .map(|us| (us * f64::from(record.rto_jiffies)) as u64),
                srtt_us: (record.srtt_us != 0).then_some(record.srtt_us),
                unacked_bytes: record.unacked,
                notsent_bytes: record.notsent,
                err: record.err,
            },
            Record::Reset(record) => Detail::Reset {
                direction: if record.sent == 1 {
                    Direction::Sent
                } else {
                    Direction::Received
                },
                reason: self.reset_reasons.get(&record.reason).cloned(),
            },
            Record::ConnectFailed(record) => Detail::ConnectFailed {
                errno: Errno(record.errno),
                syn_sent: record.syn_sent == 1,
                connect_us: us(record.connect),
            },
            Record::TimeWaitOverflow(record) => Detail::TimeWaitOverflow {
                tw_count: (record.tw_max != 0).then_some(record.tw_count),
                tw_max: (record.tw_max != 0).then_some(record.tw_max),
                inferred: record.inferred == 1,
                count,
            },
            Record::FdExhausted(record) => Detail::FdExhausted {
                errno: Errno(record.errno),
                syscall: u32::try_from(record.syscall).ok().map(Syscall),
                count,
                open_fds: (record.open_fds != u32::MAX).then_some(record.open_fds),
                limit_soft: (record.limit_soft != u64::MAX).then_some(record.limit_soft),
                limit_hard: (record.limit_hard != u64::MAX).then_some(record.limit_hard),
            },
            Record::ProcessSeen(_) => return None,
        })
    }
}

fn connection(record: &Connection) -> Detail {
    let is_found = record.flags & flag::FOUND != 0;
    Detail::Connection {
        duration_us: (!is_found).then_some(record.duration / 1_000),
        connect_us: us(record.connect),
        bytes_sent: record.bytes_sent,
        bytes_received: record.bytes_received,
        segs_out: Some(record.segs_out),
        segs_retrans: record.segs_retrans,
        srtt_us: (record.srtt_us != 0).then_some(record.srtt_us),
        end: End::from_byte(record.end).unwrap_or(End::Failed),
        errno: (record.errno != 0).then_some(Errno(record.errno)),
        role: if record.flags & flag::ACTIVE != 0 {
            Some(Role::Active)
        } else if record.flags & flag::PASSIVE != 0 {
            Some(Role::Passive)
        } else {
            None
        },
        us_in_state: UsInState(
            record
                .in_state
                .map(|ns| if ns == 0 { NO_TIME } else { ns / 1_000 }),
        ),
    }
}

/// Microseconds of a measured time.
fn us(ns: u64) -> Option<u64> {
    (ns != NO_TIME).then_some(ns / 1_000)
}

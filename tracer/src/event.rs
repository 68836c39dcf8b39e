//! An event as users see it: a record, the process it belongs to, and names for the kernel's numbers.
//!
//! `docs/schema.md` documents every field; names there and here are stable.

use std::{collections::BTreeMap, net::Ipv6Addr, rc::Rc};

use nix::errno::Errno;
use serde::Serialize;
use tracer_common::{
    conn::{Address, OwnerSource, Tuple, flag},
    record::{Cause, End, Head, NO_TIME},
    tcp::state,
};

use crate::{
    decode::Record,
    identity::{Identity, cgroup::Container},
    kernel::clock::Epoch,
};

/// What turns the kernel's numbers into names and times.
#[derive(Clone, Debug)]
pub struct Names {
    /// What instants are counted from.
    pub epoch: Epoch,
    /// Reasons of resets, `enum sk_rst_reason`.
    pub reset_reasons: BTreeMap<u32, String>,
    /// Microseconds of a jiffy.
    pub us_per_jiffy: Option<f64>,
}

/// An event: one JSON object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When, RFC 3339 with nanoseconds.
    pub ts: String,
    /// Kind of event.
    pub event: &'static str,
    /// Which connection.
    pub conn_id: Option<u64>,
    /// Owner's thread group id.
    pub pid: Option<u32>,
    /// When the owner started, RFC 3339.
    pub pid_start: Option<String>,
    /// Owner's user id.
    pub uid: Option<u32>,
    /// Owner's name.
    pub comm: Option<String>,
    /// How the owner is known.
    pub owner_source: &'static str,
    /// Owner's cgroup.
    pub cgroup: Option<String>,
    /// Owner's container.
    pub container: Option<Container>,
    /// Owner's unit.
    pub unit: Option<String>,
    /// Network namespace, inode number.
    pub netns: Option<u32>,
    /// `ipv4` or `ipv6`.
    pub family: Option<&'static str>,
    /// Local address.
    pub laddr: Option<String>,
    /// Local port.
    pub lport: Option<u16>,
    /// Remote address.
    pub raddr: Option<String>,
    /// Remote port.
    pub rport: Option<u16>,
    /// What is particular to the kind.
    #[serde(flatten)]
    pub detail: Detail,
}

/// What is particular to a kind of event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(
    missing_docs,
    reason = "docs/schema.md documents the fields, and a test compares the two"
)]
pub enum Detail {
    State {
        old: &'static str,
        new: &'static str,
        in_old_us: Option<u64>,
    },
    Connection {
        duration_us: Option<u64>,
        connect_us: Option<u64>,
        bytes_sent: u64,
        bytes_received: u64,
        segs_retrans: u32,
        srtt_us: Option<u32>,
        end: &'static str,
        errno: Option<String>,
        role: Option<&'static str>,
        us_in_state: BTreeMap<&'static str, u64>,
    },
    Retransmit {
        cause: &'static str,
        segs: u32,
        seq: u32,
        backoff: u8,
        rto_us: Option<u64>,
        srtt_us: Option<u32>,
        unacked_bytes: u32,
        notsent_bytes: u32,
        err: i32,
    },
    Reset {
        direction: &'static str,
        reason: Option<String>,
    },
    ConnectFailed {
        errno: String,
        syn_sent: bool,
        connect_us: Option<u64>,
    },
    TimeWaitOverflow {
        tw_count: Option<u32>,
        tw_max: Option<u32>,
        inferred: bool,
        count: u64,
    },
    FdExhausted {
        errno: String,
        syscall: Option<String>,
        count: u64,
        open_fds: Option<u32>,
        limit_soft: Option<u64>,
        limit_hard: Option<u64>,
    },
    Lost {
        hook: &'static str,
        reason: &'static str,
        count: u64,
    },
}

impl Names {
    /// Makes an event of a record; `count` is what a storm's record stands for. `None` for records
    /// that are not shown.
    #[must_use]
    pub fn event(
        &self,
        record: &Record,
        owner: Option<&Rc<Identity>>,
        count: u64,
    ) -> Option<Event> {
        let (event, detail) = self.detail(record, count)?;
        let mut event = self.common(record.head(), owner, event, detail);
        if let Record::State(record) = record
            && record.new == state::SYN_RECV
            && record.head.tuple.rport == 0
        {
            // Up to 6.12 a child gets its addresses after it has changed state:
            // `net/ipv4/inet_connection_sock.c: inet_csk_clone_lock`.
            event.raddr = None;
            event.rport = None;
        }
        Some(event)
    }

    /// An event that belongs to nobody and no connection.
    #[must_use]
    pub fn nobody(
        &self,
        ts: u64,
        event: &'static str,
        netns: Option<u32>,
        detail: Detail,
    ) -> Event {
        Event {
            ts: self.epoch.format(ts),
            event,
            conn_id: None,
            pid: None,
            pid_start: None,
            uid: None,
            comm: None,
            owner_source: OwnerSource::Unknown.name(),
            cgroup: None,
            container: None,
            unit: None,
            netns,
            family: None,
            laddr: None,
            lport: None,
            raddr: None,
            rport: None,
            detail,
        }
    }

    fn common(
        &self,
        head: &Head,
        owner: Option<&Rc<Identity>>,
        event: &'static str,
        detail: Detail,
    ) -> Event {
        let is_known = head.owner.is_known();
        let source = OwnerSource::from_byte(head.owner_source).unwrap_or(OwnerSource::Unknown);
        let ends = Ends::of(&head.tuple);
        Event {
            conn_id: (head.conn_id != 0).then_some(head.conn_id),
            pid: is_known.then_some(head.owner.tgid),
            pid_start: is_known.then(|| self.epoch.format(head.owner.start)),
            uid: owner.and_then(|owner| owner.uid),
            comm: owner.map(|owner| owner.comm.clone()),
            owner_source: source.name(),
            cgroup: owner.and_then(|owner| owner.place.path.clone()),
            container: owner.and_then(|owner| owner.place.container.clone()),
            unit: owner.and_then(|owner| owner.place.unit.clone()),
            family: ends.as_ref().map(|ends| ends.family),
            laddr: ends.as_ref().map(|ends| ends.laddr.clone()),
            lport: ends.as_ref().map(|_| head.tuple.lport),
            raddr: ends.as_ref().map(|ends| ends.raddr.clone()),
            rport: ends.as_ref().map(|_| head.tuple.rport),
            ..self.nobody(
                head.ts,
                event,
                (head.tuple.netns != 0).then_some(head.tuple.netns),
                detail,
            )
        }
    }

    fn detail(&self, record: &Record, count: u64) -> Option<(&'static str, Detail)> {
        Some(match record {
            Record::State(record) => (
                "state",
                Detail::State {
                    old: state_name(record.old),
                    new: state_name(record.new),
                    in_old_us: us(record.in_old),
                },
            ),
            Record::Connection(record) => {
                let is_found = record.flags & flag::FOUND != 0;
                (
                    "connection",
                    Detail::Connection {
                        duration_us: (!is_found).then_some(record.duration / 1_000),
                        connect_us: us(record.connect),
                        bytes_sent: record.bytes_sent,
                        bytes_received: record.bytes_received,
                        segs_retrans: record.segs_retrans,
                        srtt_us: (record.srtt_us != 0).then_some(record.srtt_us),
                        end: End::from_byte(record.end).map_or("failed", End::name),
                        errno: (record.errno != 0).then(|| errno_name(record.errno)),
                        role: if record.flags & flag::ACTIVE != 0 {
                            Some("active")
                        } else if record.flags & flag::PASSIVE != 0 {
                            Some("passive")
                        } else {
                            None
                        },
                        us_in_state: (0u8..)
                            .zip(record.in_state)
                            .filter(|(_, ns)| *ns != 0)
                            .filter_map(|(state, ns)| Some((state::name(state)?, ns / 1_000)))
                            .collect(),
                    },
                )
            }
            Record::Retransmit(record) => (
                "retransmit",
                Detail::Retransmit {
                    cause: Cause::from_byte(record.cause)
                        .unwrap_or(Cause::Unknown)
                        .name(),
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
            ),
            Record::Reset(record) => (
                "reset",
                Detail::Reset {
                    direction: if record.sent == 1 { "sent" } else { "received" },
                    reason: self.reset_reasons.get(&record.reason).map(|name| {
                        name.trim_start_matches("SK_RST_REASON_")
                            .to_ascii_lowercase()
                    }),
                },
            ),
            Record::ConnectFailed(record) => (
                "connect_failed",
                Detail::ConnectFailed {
                    errno: errno_name(record.errno),
                    syn_sent: record.syn_sent == 1,
                    connect_us: us(record.connect),
                },
            ),
            Record::TimeWaitOverflow(record) => (
                "time_wait_overflow",
                Detail::TimeWaitOverflow {
                    tw_count: (record.tw_max != 0).then_some(record.tw_count),
                    tw_max: (record.tw_max != 0).then_some(record.tw_max),
                    inferred: record.inferred == 1,
                    count,
                },
            ),
            Record::FdExhausted(record) => (
                "fd_exhausted",
                Detail::FdExhausted {
                    errno: errno_name(record.errno),
                    syscall: syscall_name(record.syscall),
                    count,
                    open_fds: (record.open_fds != u32::MAX).then_some(record.open_fds),
                    limit_soft: (record.limit_soft != u64::MAX).then_some(record.limit_soft),
                    limit_hard: (record.limit_hard != u64::MAX).then_some(record.limit_hard),
                },
            ),
            Record::ProcessSeen(_) | Record::ProcessGone(_) => return None,
        })
    }
}

/// Addresses as text.
struct Ends {
    family: &'static str,
    laddr: String,
    raddr: String,
}

impl Ends {
    /// `None` where a record has no connection. A socket speaks IPv4 when one of its addresses is
    /// mapped; the unspecified address is then that of IPv4 too.
    fn of(tuple: &Tuple) -> Option<Self> {
        let address = |words: Address| Ipv6Addr::from(bytemuck::cast::<_, [u8; 16]>(words));
        let (local, remote) = (address(tuple.laddr), address(tuple.raddr));
        if local.is_unspecified() && remote.is_unspecified() && tuple.lport == 0 && tuple.rport == 0
        {
            return None;
        }
        let is_v4 = local.to_ipv4_mapped().is_some() || remote.to_ipv4_mapped().is_some();
        let text = |address: Ipv6Addr| match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None if is_v4 => String::from("0.0.0.0"),
            None => address.to_string(),
        };
        Some(Self {
            family: if is_v4 { "ipv4" } else { "ipv6" },
            laddr: text(local),
            raddr: text(remote),
        })
    }
}

fn state_name(number: u8) -> &'static str {
    state::name(number).unwrap_or("UNKNOWN")
}

/// Microseconds of a measured time.
fn us(ns: u64) -> Option<u64> {
    (ns != NO_TIME).then_some(ns / 1_000)
}

/// `ECONNREFUSED` for 111.
#[must_use]
pub fn errno_name(number: i32) -> String {
    match Errno::from_raw(number) {
        Errno::UnknownErrno => format!("errno {number}"),
        errno => format!("{errno:?}"),
    }
}

/// `accept4` for 288; `None` for none.
#[must_use]
pub fn syscall_name(number: i32) -> Option<String> {
    let number = usize::try_from(number).ok()?;
    Some(syscalls::Sysno::new(number).map_or_else(
        || format!("syscall {number}"),
        |call| call.name().to_owned(),
    ))
}

//! A batch's rows become events, facts and sums again.

mod meaning;
mod owner;

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use tracer_common::{
    conn::OwnerSource,
    hook::Hook,
    process::Totals,
    record::{Cause, End},
    tcp::state,
};

pub(super) use self::meaning::Kind;
use self::{
    meaning::{Meanings, named},
    owner::Owners,
};
use super::{
    decode::{Numbers, Result, Table},
    table::us_in_state,
};
use crate::{
    event::{Detail, Direction, Ends, Errno, Event, LostReason, Role, State, Syscall, UsInState},
    fact::{Fact, Subject, Value},
    identity::Pid,
    kernel::counters::{HookRow, Lost},
    time::Time,
    trace::frame::ProcessRow,
};

/// Turns rows into what was recorded.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) table: Table,
    kinds: Meanings<Kind>,
    sources: Meanings<OwnerSource>,
    local: Meanings<IpAddr>,
    remote: Meanings<IpAddr>,
    old: Meanings<State>,
    new: Meanings<State>,
    roles: Meanings<Role>,
    ends: Meanings<End>,
    errnos: Meanings<Errno>,
    causes: Meanings<Cause>,
    directions: Meanings<Direction>,
    reasons: Meanings<Rc<str>>,
    syscalls: Meanings<Syscall>,
    hooks: Meanings<Hook>,
    owners: Owners,
}

impl Rows {
    /// A new batch is in the table.
    pub(super) fn begin(&mut self) {
        let table = &self.table;
        self.kinds.learn(&table.event, |text| Some(Kind::of(text)));
        self.sources.learn(&table.owner_source, |text| {
            named(OwnerSource::from_byte, OwnerSource::name, text)
        });
        self.local.learn(&table.laddr, |text| text.parse().ok());
        self.remote.learn(&table.raddr, |text| text.parse().ok());
        let state = |text: &str| State::from_name(text).or((text == "UNKNOWN").then_some(State(0)));
        self.old.learn(&table.old, state);
        self.new.learn(&table.new, state);
        self.roles.learn(&table.role, |text| {
            [Role::Active, Role::Passive]
                .into_iter()
                .find(|role| role.name() == text)
        });
        self.ends
            .learn(&table.end, |text| named(End::from_byte, End::name, text));
        self.errnos.learn(&table.errno, Errno::from_name);
        self.causes.learn(&table.cause, |text| {
            named(Cause::from_byte, Cause::name, text)
        });
        self.directions.learn(&table.direction, |text| {
            [Direction::Sent, Direction::Received]
                .into_iter()
                .find(|direction| direction.name() == text)
        });
        self.reasons.learn(&table.reason, |text| Some(text.into()));
        self.syscalls.learn(&table.syscall, Syscall::from_name);
        self.hooks.learn(&table.hook, |text| {
            Hook::ALL.into_iter().find(|hook| hook.name() == text)
        });
        self.owners.begin();
    }

    pub(super) fn kind(&self, row: usize) -> Result<Kind> {
        self.kinds
            .get(&self.table.event, row)
            .ok_or_else(|| lacks("event"))
    }

    pub(super) fn ts(&self, row: usize) -> Result<Time> {
        self.table.ts.get(row).map(Time).ok_or_else(|| lacks("ts"))
    }

    pub(super) fn event(&mut self, row: usize, kind: Kind) -> Result<Event> {
        Ok(Event {
            ts: self.ts(row)?,
            conn_id: self.table.conn_id.get(row).map(i64::cast_unsigned),
            owner: self.owners.of(&self.table, row),
            owner_source: self
                .sources
                .get(&self.table.owner_source, row)
                .unwrap_or(OwnerSource::Unknown),
            netns: self.table.netns.get(row),
            ends: self.both_ends(row),
            detail: self.detail(row, kind)?,
        })
    }

    fn local_end(&self, row: usize) -> Option<SocketAddr> {
        let address = self.local.get(&self.table.laddr, row)?;
        Some(SocketAddr::new(address, self.table.lport.get(row)?))
    }

    fn both_ends(&self, row: usize) -> Option<Ends> {
        let remote = self.remote.get(&self.table.raddr, row);
        Some(Ends {
            local: self.local_end(row)?,
            remote: remote
                .zip(self.table.rport.get(row))
                .map(|(address, port)| SocketAddr::new(address, port)),
        })
    }

    fn detail(&self, row: usize, kind: Kind) -> Result<Detail> {
        let table = &self.table;
        let count = |column: &Numbers<i64>| count(column, row);
        // Of these any is possible.
        let limit = |column: &Numbers<i64>| column.get(row).map(i64::cast_unsigned);
        Ok(match kind {
            Kind::State => Detail::State {
                old: self.old.get(&table.old, row).ok_or_else(|| lacks("old"))?,
                new: self.new.get(&table.new, row).ok_or_else(|| lacks("new"))?,
                in_old_us: count(&table.in_old_us)?,
            },
            Kind::Connection => Detail::Connection {
                duration_us: count(&table.duration_us)?,
                connect_us: count(&table.connect_us)?,
                bytes_sent: count(&table.bytes_sent)?.unwrap_or_default(),
                bytes_received: count(&table.bytes_received)?.unwrap_or_default(),
                segs_out: table.segs_out.get(row),
                segs_retrans: table.segs_retrans.get(row).unwrap_or_default(),
                srtt_us: table.srtt_us.get(row),
                end: self.ends.get(&table.end, row).ok_or_else(|| lacks("end"))?,
                errno: self.errnos.get(&table.errno, row),
                role: self.roles.get(&table.role, row),
                us_in_state: table.us_in_state(row)?,
            },
            Kind::Retransmit => Detail::Retransmit {
                cause: self.causes.get(&table.cause, row).unwrap_or(Cause::Unknown),
                segs: table.segs.get(row).ok_or_else(|| lacks("segs"))?,
                seq: table.seq.get(row).unwrap_or_default(),
                backoff: table.backoff.get(row).unwrap_or_default(),
                rto_us: count(&table.rto_us)?,
                srtt_us: table.srtt_us.get(row),
                unacked_bytes: table.unacked_bytes.get(row).unwrap_or_default(),
                notsent_bytes: table.notsent_bytes.get(row).unwrap_or_default(),
                err: table.err.get(row).unwrap_or_default(),
            },
            Kind::Reset => Detail::Reset {
                direction: self
                    .directions
                    .get(&table.direction, row)
                    .ok_or_else(|| lacks("direction"))?,
                reason: self.reasons.get(&table.reason, row),
            },
            Kind::ConnectFailed => Detail::ConnectFailed {
                errno: self
                    .errnos
                    .get(&table.errno, row)
                    .ok_or_else(|| lacks("errno"))?,
                syn_sent: table.syn_sent.get(row).ok_or_else(|| lacks("syn_sent"))?,
                connect_us: count(&table.connect_us)?,
            },
            Kind::TimeWaitOverflow => Detail::TimeWaitOverflow {
                tw_count: table.tw_count.get(row),
                tw_max: table.tw_max.get(row),
                inferred: table.inferred.get(row).unwrap_or_default(),
                count: count(&table.count)?.ok_or_else(|| lacks("count"))?,
            },
            Kind::FdExhausted => Detail::FdExhausted {
                errno: self
                    .errnos
                    .get(&table.errno, row)
                    .ok_or_else(|| lacks("errno"))?,
                syscall: self.syscalls.get(&table.syscall, row),
                count: count(&table.count)?.ok_or_else(|| lacks("count"))?,
                open_fds: table.open_fds.get(row),
                limit_soft: limit(&table.limit_soft),
                limit_hard: limit(&table.limit_hard),
            },
            Kind::Lost => Detail::Lost {
                hook: self
                    .hooks
                    .get(&table.hook, row)
                    .ok_or_else(|| lacks("hook"))?,
                reason: table
                    .reason
                    .get(row)
                    .and_then(LostReason::from_name)
                    .ok_or_else(|| lacks("reason"))?,
                count: count(&table.count)?.ok_or_else(|| lacks("count"))?,
            },
            _ => return Err(String::from("a row that is no event")),
        })
    }

    pub(super) fn fact(&self, row: usize) -> Result<Fact> {
        let table = &self.table;
        let netns = table.netns.get(row).ok_or_else(|| lacks("netns"));
        let subject = match table.fact.get(row) {
            Some("machine") => Subject::Machine,
            Some("namespace") => Subject::Namespace(netns?),
            Some("process") => Subject::Process(Pid {
                pid: table.pid.get(row).ok_or_else(|| lacks("pid"))?,
                start: Time(table.pid_start.get(row).unwrap_or_default()),
            }),
            Some("listener") => Subject::Listener {
                netns: netns?,
                local: self.local_end(row).ok_or_else(|| lacks("laddr"))?,
            },
            Some("connection") => Subject::Connection {
                netns: netns?,
                ends: self.both_ends(row).ok_or_else(|| lacks("laddr"))?,
            },
            _ => return Err(lacks("fact")),
        };
        let value = match (table.value.get(row), table.text.get(row)) {
            (Some(value), _) => Value::Number(value),
            (None, Some(text)) => Value::Text(text.to_owned()),
            (None, None) => return Err(lacks("value")),
        };
        let name = table.name.get(row).ok_or_else(|| lacks("name"))?;
        Ok(Fact {
            ts: self.ts(row)?,
            subject,
            name: Cow::Owned(name.to_owned()),
            value,
        })
    }

    pub(super) fn process(&mut self, row: usize) -> Result<ProcessRow> {
        let who = self.owners.of(&self.table, row);
        let table = &self.table;
        let count =
            |column: &Numbers<i64>| Ok::<_, String>(count(column, row)?.unwrap_or_default());
        Ok(ProcessRow {
            who,
            sockets: count(&table.sockets)?,
            totals: Totals {
                connections: count(&table.connections)?,
                connect_failed: count(&table.connect_failed)?,
                retransmit_segs: count(&table.retransmit_segs)?,
                resets_sent: count(&table.resets_sent)?,
                resets_received: count(&table.resets_received)?,
                time_wait_overflow: count(&table.time_wait_overflow)?,
                fd_exhausted: count(&table.fd_exhausted)?,
                lost: count(&table.lost)?,
            },
        })
    }

    /// A hook's books; `None` for a hook of a later version.
    pub(super) fn hook(&self, row: usize) -> Result<Option<HookRow>> {
        let table = &self.table;
        let count =
            |column: &Numbers<i64>| Ok::<_, String>(count(column, row)?.unwrap_or_default());
        let Some(hook) = self.hooks.get(&table.hook, row) else {
            return Ok(None);
        };
        Ok(Some(HookRow {
            hook,
            rung: table.rung.get(row).map(|rung| Cow::Owned(rung.to_owned())),
            entered: count(&table.entered)?,
            skipped: count(&table.skipped)?,
            missed: count(&table.missed)?,
            emitted: count(&table.emitted)?,
            filtered: count(&table.filtered)?,
            aggregated: count(&table.aggregated)?,
            lost: Lost {
                ring_full: count(&table.lost_ring_full)?,
                map_full: count(&table.lost_map_full)?,
            },
        }))
    }
}

/// More than any counter of a connection or process gets to in a year: a file that has it is damaged.
const TOO_MANY: i64 = 1 << 60;

/// A number of a row, which is never negative.
pub(super) fn count(column: &Numbers<i64>, row: usize) -> Result<Option<u64>> {
    match column.get(row) {
        Some(number @ 0..TOO_MANY) => Ok(Some(number.cast_unsigned())),
        Some(number) => Err(format!("a row counts to {number}")),
        None => Ok(None),
    }
}

/// What a row of a known kind must have.
fn lacks(column: &str) -> String {
    format!("a row has nothing to be understood in `{column}`")
}

macro_rules! get_us_in_state {
    ($($column:ident: $state:ident,)*) => {
        impl Table {
            fn us_in_state(&self, row: usize) -> Result<UsInState> {
                let mut us = UsInState::default();
                $(
                    if let Some(us_in) = count(&self.$column, row)? {
                        us.0[state::$state as usize] = us_in;
                    }
                )*
                Ok(us)
            }
        }
    };
}
us_in_state!(get_us_in_state);

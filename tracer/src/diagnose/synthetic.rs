//! Traces made up for the rules' tests.

use std::rc::Rc;

use tracer_common::{
    conn::OwnerSource,
    record::{Cause, End},
    tcp::errno,
};

use super::{Finding, findings};
use crate::{
    aggregate::Aggregate,
    event::{Detail, Direction, Ends, Errno, Event, Role, Syscall, UsInState},
    fact::{Fact, Subject, Value, name},
    identity::{Identity, Pid},
    sink::Sink as _,
    time::Time,
};

/// The network namespace of all of it.
pub(super) const NETNS: u32 = 4_026_531_840;
const START: u64 = 1_700_000_000_000;

/// A process that has no facts and no events yet.
pub(super) fn process(comm: &str, pid: u32) -> Rc<Identity> {
    Rc::new(Identity {
        pid,
        start: Time(START * 1_000_000 - 5_000_000_000),
        uid: Some(1000),
        comm: comm.to_owned(),
        ..Identity::default()
    })
}

/// `10.0.0.1:40000 -> 10.0.0.2:6379`
pub(super) fn ends(local: &str, remote: &str) -> Ends {
    Ends {
        local: local.parse().unwrap(),
        remote: Some(remote.parse().unwrap()),
    }
}

/// A trace that is made up event by event; time is in milliseconds from its beginning.
#[derive(Default)]
pub(super) struct Synthetic {
    aggregate: Aggregate,
    conn_id: u64,
}

impl Synthetic {
    pub(super) fn time(ms: u64) -> Time {
        Time((START + ms) * 1_000_000)
    }

    pub(super) fn event(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        conn: Option<(u64, Ends)>,
        source: OwnerSource,
        detail: Detail,
    ) -> &mut Self {
        self.aggregate
            .event(&Event {
                ts: Self::time(ms),
                conn_id: conn.map(|(id, _)| id),
                owner: Some(Rc::clone(who)),
                owner_source: source,
                netns: Some(NETNS),
                ends: conn.map(|(_, ends)| ends),
                detail,
            })
            .unwrap();
        self
    }

    pub(super) fn fact(
        &mut self,
        ms: u64,
        subject: Subject,
        name: &'static str,
        value: impl Into<i64>,
    ) -> &mut Self {
        self.tell(ms, subject, name, Value::Number(value.into()))
    }

    pub(super) fn text(
        &mut self,
        ms: u64,
        subject: Subject,
        name: &'static str,
        text: &str,
    ) -> &mut Self {
        self.tell(ms, subject, name, Value::Text(text.to_owned()))
    }

    fn tell(&mut self, ms: u64, subject: Subject, name: &'static str, value: Value) -> &mut Self {
        assert!(name::is_known(subject.of(), name), "{name}");
        self.aggregate
            .fact(&Fact {
                ts: Self::time(ms),
                subject,
                name: name.into(),
                value,
            })
            .unwrap();
        self
    }

    /// What a sysctl or a counter of the namespace is.
    pub(super) fn namespace(&mut self, ms: u64, name: &'static str, value: i64) -> &mut Self {
        self.fact(ms, Subject::Namespace(NETNS), name, value)
    }

    /// A process's name, limits and parent.
    pub(super) fn limits(
        &mut self,
        who: &Identity,
        soft: i64,
        hard: i64,
        parent: Option<&Identity>,
    ) -> &mut Self {
        let subject = Subject::Process(who.id());
        self.text(0, subject, name::COMM, &who.comm);
        self.fact(0, subject, name::LIMIT_SOFT, soft);
        self.fact(0, subject, name::LIMIT_HARD, hard);
        if let Some(Pid { pid, start }) = parent.map(Identity::id) {
            self.fact(0, subject, name::PARENT, i64::from(pid));
            self.fact(0, subject, name::PARENT_START, start.0 as i64);
        }
        self
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "an event's fields, in their order"
    )]
    pub(super) fn descriptors(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        call: &str,
        number: i32,
        count: u64,
        open: u32,
        soft: u64,
    ) -> &mut Self {
        let detail = Detail::FdExhausted {
            errno: Errno(number),
            syscall: Syscall::from_name(call),
            count,
            open_fds: Some(open),
            limit_soft: Some(soft),
            limit_hard: None,
        };
        self.event(ms, who, None, OwnerSource::Current, detail)
    }

    /// A connect that is answered with a reset.
    pub(super) fn refused(&mut self, ms: u64, who: &Rc<Identity>, to: &str) -> &mut Self {
        self.conn_id += 1;
        let conn = (self.conn_id, ends("10.0.0.1:40000", to));
        self.reset(ms, who, conn, Direction::Received);
        self.failed_on(ms, who, conn, errno::ECONNREFUSED, true)
    }

    pub(super) fn failed(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        to: &str,
        number: i32,
        syn_sent: bool,
    ) -> &mut Self {
        self.conn_id += 1;
        let conn = (self.conn_id, ends("10.0.0.1:40000", to));
        self.failed_on(ms, who, conn, number, syn_sent)
    }

    fn failed_on(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        conn: (u64, Ends),
        number: i32,
        syn_sent: bool,
    ) -> &mut Self {
        let detail = Detail::ConnectFailed {
            errno: Errno(number),
            syn_sent,
            connect_us: Some(30),
        };
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail);
        if syn_sent {
            self.ended(ms, who, conn, End::Refused, Some(number), None);
        }
        self
    }

    /// A connection that was established and closed in order.
    pub(super) fn served(&mut self, ms: u64, who: &Rc<Identity>, to: &str) -> &mut Self {
        self.conn_id += 1;
        let conn = (self.conn_id, ends("10.0.0.1:40000", to));
        self.ended(ms, who, conn, End::ClosedLocal, None, Some(50))
    }

    /// As above, of one that was open for so long.
    pub(super) fn pooled(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        to: &str,
        open_ms: u64,
    ) -> &mut Self {
        self.conn_id += 1;
        let conn = (self.conn_id, ends("10.0.0.1:40000", to));
        let end = (End::ClosedLocal, None, Some(50));
        let detail = ended(open_ms * 1_000, end);
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail)
    }

    /// A connection that ends when it has sent so many segments, some of them again.
    pub(super) fn sent(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        conn: (u64, Ends),
        segs: u32,
        again: u32,
    ) -> &mut Self {
        let mut detail = ended(1_000, (End::ClosedLocal, None, Some(50)));
        if let Detail::Connection {
            segs_out,
            segs_retrans,
            ..
        } = &mut detail
        {
            (*segs_out, *segs_retrans) = (Some(segs), again);
        }
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail)
    }

    pub(super) fn ended(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        conn: (u64, Ends),
        end: End,
        number: Option<i32>,
        connect_us: Option<u64>,
    ) -> &mut Self {
        let detail = ended(1_000, (end, number, connect_us));
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "an event's fields, in their order"
    )]
    pub(super) fn retransmit(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        conn: (u64, Ends),
        cause: Cause,
        seq: u32,
        backoff: u8,
        rto_ms: u64,
    ) -> &mut Self {
        let detail = Detail::Retransmit {
            cause,
            segs: 1,
            seq,
            backoff,
            rto_us: Some(rto_ms * 1_000),
            srtt_us: Some(100),
            unacked_bytes: 34,
            notsent_bytes: 0,
            err: 0,
        };
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail)
    }

    pub(super) fn reset(
        &mut self,
        ms: u64,
        who: &Rc<Identity>,
        conn: (u64, Ends),
        direction: Direction,
    ) -> &mut Self {
        let detail = Detail::Reset {
            direction,
            reason: None,
        };
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail)
    }

    pub(super) fn overflow(&mut self, ms: u64, who: &Rc<Identity>, count: u64) -> &mut Self {
        let detail = Detail::TimeWaitOverflow {
            tw_count: Some(100),
            tw_max: Some(100),
            inferred: true,
            count,
        };
        let conn = (1_000_000, ends("10.0.0.1:40000", "10.0.0.2:6379"));
        self.event(ms, who, Some(conn), OwnerSource::Connect, detail)
    }

    /// Time goes on until then.
    pub(super) fn until(&mut self, ms: u64) -> &mut Self {
        self.aggregate.now = self.aggregate.now.max(Self::time(ms));
        self
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        findings(&self.aggregate)
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.findings().iter().map(|finding| finding.name).collect()
    }

    /// The one finding.
    pub(super) fn only(&self) -> Finding {
        let mut findings = self.findings();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.remove(0)
    }
}

fn ended(duration_us: u64, end: (End, Option<i32>, Option<u64>)) -> Detail {
    let (end, number, connect_us) = end;
    Detail::Connection {
        duration_us: Some(duration_us),
        connect_us,
        bytes_sent: 0,
        bytes_received: 0,
        segs_out: Some(6),
        segs_retrans: 0,
        srtt_us: None,
        end,
        errno: number.map(Errno),
        role: Some(Role::Active),
        us_in_state: UsInState::default(),
    }
}

impl Finding {
    /// The value of a piece of evidence.
    pub(super) fn value(&self, name: &str) -> &str {
        let found = self.evidence.iter().find(|it| it.name == name);
        &found
            .unwrap_or_else(|| panic!("no {name} in {:#?}", self.evidence))
            .value
    }

    /// Whether a step of the remedy says all of these.
    pub(super) fn advises(&self, words: &[&str]) -> bool {
        self.remedy
            .iter()
            .any(|step| words.iter().all(|word| step.contains(word)))
    }
}

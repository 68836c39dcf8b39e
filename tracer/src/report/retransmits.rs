//! Segments sent again.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Serialize;
use tracer_common::record::{Cause, End};

use super::{
    chart, parts,
    peer::{self, Apart, Traffic, add_all},
    shortfall,
    who::{Who, most},
};
use crate::{
    aggregate::{self, Aggregate, Process},
    document::{Document, Table, chart::Chart, number, numbers, words},
    event::Errno,
    fact::Subject,
    time::Time,
};

/// Connections that are listed.
const WORST: usize = 100;

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Retransmits {
    pub segs: u64,
    pub in_events: u64,
    pub unattributed: u64,
    pub namespaces: Vec<Sent>,
    pub causes: BTreeMap<Cause, u64>,
    pub processes: Vec<OfProcess>,
    pub worst: Vec<Worst>,
    #[serde(skip)]
    charts: Vec<Chart>,
}

/// What a network namespace sent, by its own counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    pub netns: u32,
    pub retrans_segs: u64,
    pub out_segs: u64,
}

/// A process's.
#[derive(Clone, Debug, Serialize)]
pub struct OfProcess {
    #[serde(flatten)]
    pub who: Who,
    pub segs: u64,
    pub in_events: u64,
    pub causes: BTreeMap<Cause, u64>,
    pub connections: u64,
    pub lossy_connections: u64,
    pub lossy_segs: u64,
    pub bytes_sent: u64,
    pub segs_out: u64,
    #[serde(flatten)]
    pub apart: Apart,
}

/// A connection.
#[derive(Clone, Debug, Serialize)]
pub struct Worst {
    pub conn_id: u64,
    pub pid: Option<u32>,
    pub comm: Option<String>,
    pub netns: Option<u32>,
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub first: Time,
    pub last: Time,
    pub segs: u64,
    pub causes: BTreeMap<Cause, u64>,
    pub srtt_us: Option<u32>,
    pub unacked_bytes: u32,
    pub stalled_timeouts: Option<u32>,
    pub stalled_us: Option<u64>,
    pub end: Option<End>,
    pub errno: Option<Errno>,
}

impl Retransmits {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let mut causes = BTreeMap::new();
        let processes: Vec<OfProcess> = most(aggregate, Process::sent_again)
            .into_iter()
            .map(|(process, segs)| {
                let sum = Traffic::of(process);
                let apart = peer::told_apart(process, |traffic| traffic.retransmit_segs);
                add_all(&mut causes, &sum.causes);
                OfProcess {
                    who: Who::of(process.who.as_ref()),
                    segs,
                    in_events: sum.retransmit_segs,
                    causes: sum.causes,
                    connections: sum.connections,
                    lossy_connections: sum.lossy_connections,
                    lossy_segs: sum.lossy_segs,
                    bytes_sent: sum.bytes_sent,
                    segs_out: sum.segs_out,
                    apart,
                }
            })
            .collect();
        let unattributed = processes.iter().filter(|process| process.who.pid.is_none());
        Self {
            unattributed: unattributed.map(|process| process.segs).sum(),
            segs: processes.iter().map(|process| process.segs).sum(),
            in_events: processes.iter().map(|process| process.in_events).sum(),
            namespaces: sent(aggregate),
            causes,
            processes,
            worst: worst(aggregate),
            charts: vec![chart::rates(
                aggregate,
                "Segments retransmitted per second",
                |counts| u64::from(counts.retransmit_segs),
            )],
        }
    }

    pub(super) fn write(&self, to: &mut Document, top: usize) {
        to.section("Retransmits");
        if self.segs == 0 {
            return to.text("No segment was sent again.");
        }
        let causes = parts(&self.causes, |cause| cause.name().to_owned());
        to.text(format!(
            "{} sent again ({causes}); of these {} without a known owner.",
            number::count(self.segs, "segment"),
            self.unattributed
        ));
        match self.namespaces.as_slice() {
            [] => to.text("Their share is not known: the trace has no namespace's count of segments sent (Tcp OutSegs)."),
            namespaces => {
                for sent in namespaces {
                    to.text(format!(
                        "Network namespace {}: {} of the segments sent were retransmits, {} of {} (Tcp RetransSegs of \
                         RetransSegs + OutSegs, all its processes).",
                        sent.netns,
                        number::share(sent.retrans_segs, sent.retrans_segs + sent.out_segs),
                        sent.retrans_segs,
                        sent.retrans_segs + sent.out_segs
                    ));
                }
            }
        }
        to.text(
            "LOSSY are connections that ended and had retransmitted, of all that ended; SHARE is the part of the segments that \
             those that ended sent which were retransmits.",
        );
        shortfall(to, self.segs, self.in_events, "retransmitted segments");
        for shown in &self.charts {
            to.chart(shown.clone());
        }
        let columns = vec![
            words("PROCESS"),
            numbers("SEGS"),
            words("CAUSES"),
            numbers("LOSSY"),
            numbers("SHARE"),
        ];
        to.table(
            Table::of("By process", columns, &self.processes, top, |process| {
                vec![
                    process.who.name(),
                    process.segs.to_string(),
                    parts(&process.causes, |cause| cause.name().to_owned()),
                    lossy(process.lossy_connections, process.connections),
                    number::share(process.lossy_segs, process.segs_out),
                ]
            })
            .without_empty_columns(),
        );
        let columns = [
            numbers("SEGS"),
            words("CAUSES"),
            numbers("LOSSY"),
            numbers("SHARE"),
            numbers("SRTT"),
        ];
        let apart: Vec<_> = self
            .processes
            .iter()
            .map(|one| (&one.who, &one.apart))
            .collect();
        let tables = peer::tables(
            &apart,
            top,
            |traffic| traffic.retransmit_segs,
            &columns,
            |traffic| {
                vec![
                    traffic.retransmit_segs.to_string(),
                    parts(&traffic.causes, |cause| cause.name().to_owned()),
                    lossy(traffic.lossy_connections, traffic.connections),
                    number::share(traffic.lossy_segs, traffic.segs_out),
                    number::known(traffic.srtt_us.map(|us| number::time(us.into()))),
                ]
            },
        );
        for table in tables {
            to.table(table);
        }
        let columns = vec![
            words("PROCESS"),
            words("CONNECTION"),
            numbers("SEGS"),
            words("CAUSES"),
            numbers("SRTT"),
            words("HOW IT STANDS"),
        ];
        to.table(Table::of(
            "The worst connections",
            columns,
            &self.worst,
            top,
            |worst| {
                vec![
                    worst.name(),
                    worst.ends(),
                    worst.segs.to_string(),
                    parts(&worst.causes, |cause| cause.name().to_owned()),
                    number::known(worst.srtt_us.map(|us| number::time(us.into()))),
                    worst.stands(),
                ]
            },
        ));
    }
}

/// The namespaces' counters; those in which nothing was sent are left out.
fn sent(aggregate: &Aggregate) -> Vec<Sent> {
    let mut sent: Vec<Sent> = aggregate
        .facts
        .subjects()
        .filter_map(|subject| {
            let Subject::Namespace(netns) = subject else {
                return None;
            };
            Some(Sent {
                netns: *netns,
                retrans_segs: aggregate.facts.growth(subject, "Tcp.RetransSegs")?,
                out_segs: aggregate.facts.growth(subject, "Tcp.OutSegs")?,
            })
        })
        .filter(|sent| sent.retrans_segs > 0)
        .collect();
    sent.sort_by_key(|sent| (u64::MAX - sent.retrans_segs, sent.netns));
    sent
}

fn worst(aggregate: &Aggregate) -> Vec<Worst> {
    let mut worst: Vec<&aggregate::Connection> = aggregate
        .connections
        .iter()
        .filter(|one| one.total_segs() > 0)
        .collect();
    worst.sort_by_key(|one| (u64::MAX - one.total_segs(), one.id));
    worst
        .into_iter()
        .take(WORST)
        .map(|one| Worst {
            conn_id: one.id,
            pid: one.owner.as_ref().map(|owner| owner.pid),
            comm: one.owner.as_ref().map(|owner| owner.comm.clone()),
            netns: one.netns,
            local: one.ends.map(|ends| ends.local),
            remote: one.ends.and_then(|ends| ends.remote),
            first: one.first,
            last: one.last,
            segs: one.total_segs(),
            causes: one.segs.clone(),
            srtt_us: one.srtt_us,
            unacked_bytes: one.unacked_bytes,
            stalled_timeouts: one.stall.map(|stall| stall.repeats),
            stalled_us: one.stall.map(|stall| stall.last.since(stall.first) / 1_000),
            end: one.end.map(|(end, _)| end),
            errno: one.end.and_then(|(_, errno)| errno),
        })
        .collect()
}

impl Worst {
    fn name(&self) -> String {
        match (&self.comm, self.pid) {
            (Some(comm), Some(pid)) => format!("{comm}[{pid}]"),
            _ => String::from("(owner unknown)"),
        }
    }

    fn ends(&self) -> String {
        let end = |end: Option<SocketAddr>| number::known(end);
        format!("{} -> {}", end(self.local), end(self.remote))
    }

    fn stands(&self) -> String {
        match (self.end, self.errno, self.stalled_timeouts) {
            (Some(end), Some(errno), _) => format!("{} {errno}", end.name()),
            (Some(end), None, _) => end.name().to_owned(),
            (None, _, Some(timeouts)) if timeouts > 1 => {
                format!("open, {timeouts} timeouts without an acknowledgement")
            }
            _ => String::from("open"),
        }
    }
}

fn lossy(lossy: u64, all: u64) -> String {
    if all == 0 {
        return String::from("-");
    }
    format!("{lossy} of {all}")
}

//! Sockets that found the time-wait table full.

use serde::Serialize;

use super::{
    chart,
    peer::{self, Apart},
    shortfall,
    who::{Who, most},
};
use crate::{
    aggregate::{Aggregate, Process},
    document::{Document, Table, chart::Chart, number, numbers, words},
    time::Time,
};

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Overflows {
    pub count: u64,
    pub in_events: u64,
    pub unattributed: u64,
    pub processes: Vec<OfProcess>,
    #[serde(skip)]
    charts: Vec<Chart>,
}

/// A process's.
#[derive(Clone, Debug, Serialize)]
pub struct OfProcess {
    #[serde(flatten)]
    pub who: Who,
    pub count: u64,
    pub in_events: u64,
    pub namespaces: Vec<OfNamespace>,
    #[serde(flatten)]
    pub apart: Apart,
}

/// A process's in a network namespace, which has a table of its own.
#[derive(Clone, Debug, Serialize)]
pub struct OfNamespace {
    pub netns: Option<u32>,
    pub count: u64,
    pub first: Time,
    pub last: Time,
    pub tw_count: Option<u32>,
    pub tw_max: Option<u32>,
}

impl Overflows {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let processes: Vec<OfProcess> = most(aggregate, Process::overflowed)
            .into_iter()
            .map(|(process, count)| {
                let namespaces: Vec<OfNamespace> = process
                    .overflows
                    .iter()
                    .map(|(netns, sum)| OfNamespace {
                        netns: (*netns != 0).then_some(*netns),
                        count: sum.count,
                        first: sum.first,
                        last: sum.last,
                        tw_count: sum.tw_count,
                        tw_max: sum.tw_max,
                    })
                    .collect();
                let apart = peer::told_apart(process, |traffic| traffic.time_wait_overflow);
                OfProcess {
                    who: Who::of(process.who.as_ref()),
                    count,
                    in_events: namespaces.iter().map(|sum| sum.count).sum(),
                    namespaces,
                    apart,
                }
            })
            .collect();
        let unattributed = processes.iter().filter(|process| process.who.pid.is_none());
        Self {
            count: processes.iter().map(|process| process.count).sum(),
            in_events: processes.iter().map(|process| process.in_events).sum(),
            unattributed: unattributed.map(|process| process.count).sum(),
            processes,
            charts: vec![chart::rates(
                aggregate,
                "Time-wait overflows per second",
                |counts| u64::from(counts.time_wait_overflow),
            )],
        }
    }

    pub(super) fn write(&self, to: &mut Document, top: usize) {
        to.section("Time-wait overflow");
        if self.count == 0 {
            return to.text("No socket found the time-wait table full.");
        }
        to.text(format!(
            "{} found the time-wait table full (TcpExt TCPTimeWaitOverflow); of these {} without a known owner. \
             Such a connection is closed at once: its client does not notice.",
            number::count(self.count, "socket"), self.unattributed
        ));
        shortfall(to, self.count, self.in_events, "overflows");
        for shown in &self.charts {
            to.chart(shown.clone());
        }
        let rows: Vec<(&OfProcess, Option<&OfNamespace>)> = self
            .processes
            .iter()
            .flat_map(|process| {
                let none = process.namespaces.is_empty().then_some((process, None));
                process
                    .namespaces
                    .iter()
                    .map(move |sum| (process, Some(sum)))
                    .chain(none)
            })
            .collect();
        let columns = vec![
            words("PROCESS"),
            numbers("NAMESPACE"),
            numbers("OVERFLOWS"),
            numbers("IN TABLE"),
            numbers("TABLE SIZE"),
        ];
        to.table(Table::of(
            "By process",
            columns,
            &rows,
            top,
            |(process, sum)| {
                vec![
                    process.who.name(),
                    number::known(sum.and_then(|sum| sum.netns)),
                    sum.map_or(process.count, |sum| sum.count).to_string(),
                    number::known(sum.and_then(|sum| sum.tw_count)),
                    number::known(sum.and_then(|sum| sum.tw_max)),
                ]
            },
        ));
        let columns = [numbers("OVERFLOWS"), numbers("CONNECTIONS")];
        let apart: Vec<_> = self
            .processes
            .iter()
            .map(|one| (&one.who, &one.apart))
            .collect();
        let tables = peer::tables(
            &apart,
            top,
            |traffic| traffic.time_wait_overflow,
            &columns,
            |traffic| {
                vec![
                    traffic.time_wait_overflow.to_string(),
                    traffic.connections.to_string(),
                ]
            },
        );
        for table in tables {
            to.table(table);
        }
    }
}

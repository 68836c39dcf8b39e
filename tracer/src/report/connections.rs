//! Connections: how they ended, what failed, resets, latencies.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;
use tracer_common::record::End;

use super::{
    chart, parts,
    peer::{self, Apart, Traffic, add_all},
    shortfall,
    who::{Who, most},
};
use crate::{
    aggregate::{Aggregate, Latency, Process},
    document::{Document, Table, chart::Chart, number, numbers, words},
    event::{Errno, State},
};

/// Programs whose distributions are drawn.
const DRAWN: usize = 4;

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Connections {
    pub connections: u64,
    pub in_events: u64,
    pub connect_failed: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    pub ends: BTreeMap<End, u64>,
    pub errnos: BTreeMap<Errno, u64>,
    pub processes: Vec<OfProcess>,
    pub programs: Vec<OfProgram>,
    #[serde(skip)]
    charts: Vec<Chart>,
    #[serde(skip)]
    has_states: bool,
}

/// A process's.
#[derive(Clone, Debug, Serialize)]
pub struct OfProcess {
    #[serde(flatten)]
    pub who: Who,
    pub sockets: u64,
    pub connections: u64,
    pub connect_failed: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    pub in_events: u64,
    pub ends: BTreeMap<End, u64>,
    pub errnos: BTreeMap<Errno, u64>,
    pub failed_unsent: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    #[serde(flatten)]
    pub apart: Apart,
}

/// A program's: all processes of a name.
#[derive(Clone, Debug, Serialize)]
pub struct OfProgram {
    pub comm: String,
    pub connect_us: Quantiles,
    pub duration_us: Quantiles,
    pub us_in_state: BTreeMap<State, u64>,
}

/// A distribution, us; null where nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50: Option<u64>,
    pub p90: Option<u64>,
    pub p99: Option<u64>,
    pub max: Option<u64>,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

/// Whatever this section counts.
const fn any(traffic: &Traffic) -> u64 {
    traffic.connections + traffic.connect_failed + traffic.resets_sent + traffic.resets_received
}

impl Connections {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let (mut ends, mut errnos) = (BTreeMap::new(), BTreeMap::new());
        let number = |process: &Process| {
            let totals = &process.totals;
            totals.connections + totals.connect_failed + totals.resets_sent + totals.resets_received
        };
        let processes: Vec<OfProcess> = most(aggregate, number)
            .into_iter()
            .map(|(process, _)| OfProcess::of(process))
            .collect();
        for process in &processes {
            add_all(&mut ends, &process.ends);
            add_all(&mut errnos, &process.errnos);
        }
        let sum = |of: fn(&OfProcess) -> u64| processes.iter().map(of).sum();
        Self {
            connections: sum(|process| process.connections),
            in_events: sum(|process| process.in_events),
            connect_failed: sum(|process| process.connect_failed),
            resets_sent: sum(|process| process.resets_sent),
            resets_received: sum(|process| process.resets_received),
            ends,
            errnos,
            programs: programs(aggregate),
            charts: charts(aggregate),
            has_states: !aggregate.states.is_empty(),
            processes,
        }
    }

    pub(super) fn write(&self, to: &mut Document, top: usize) {
        to.section("Connections");
        if self.processes.is_empty() {
            return to.text("No connection ended, and none failed.");
        }
        let ends = parts(&self.ends, |end| end.name().to_owned());
        to.text(format!(
            "{} ended ({ends}), {} failed ({}), {} sent and {} received.",
            number::count(self.connections, "connection"),
            number::count(self.connect_failed, "connect"),
            match parts(&self.errnos, |errno| errno.to_string()) {
                errnos if errnos.is_empty() => String::from("none"),
                errnos => errnos,
            },
            number::count(self.resets_sent, "reset"),
            self.resets_received
        ));
        shortfall(to, self.connections, self.in_events, "connections");
        for shown in &self.charts {
            to.chart(shown.clone());
        }
        if !self.has_states {
            to.text("Sockets in each state over time are known of a trace with --events all.");
        }
        let columns = vec![
            words("PROCESS"),
            numbers("ENDED"),
            numbers("FAILED"),
            numbers("RST SENT"),
            numbers("RST RECV"),
            numbers("SOCKETS"),
            numbers("SENT"),
            numbers("RECEIVED"),
        ];
        to.table(
            Table::of("By process", columns, &self.processes, top, |process| {
                vec![
                    process.who.name(),
                    process.connections.to_string(),
                    process.connect_failed.to_string(),
                    process.resets_sent.to_string(),
                    process.resets_received.to_string(),
                    process.sockets.to_string(),
                    number::bytes(process.bytes_sent),
                    number::bytes(process.bytes_received),
                ]
            })
            .without_empty_columns(),
        );
        let columns = [
            numbers("ENDED"),
            words("HOW"),
            numbers("FAILED"),
            words("WHY"),
        ];
        let apart: Vec<_> = self
            .processes
            .iter()
            .map(|one| (&one.who, &one.apart))
            .collect();
        for table in peer::tables(&apart, top, any, &columns, |traffic| {
            vec![
                traffic.connections.to_string(),
                parts(&traffic.ends, |end| end.name().to_owned()),
                traffic.connect_failed.to_string(),
                parts(&traffic.errnos, |errno| errno.to_string()),
            ]
        }) {
            to.table(table);
        }
        let columns = vec![
            words("PROGRAM"),
            numbers("HANDSHAKES"),
            numbers("HALF"),
            numbers("99 %"),
            numbers("LONGEST"),
            numbers("LIFETIMES"),
            numbers("HALF"),
            numbers("99 %"),
            numbers("LONGEST"),
        ];
        to.table(
            Table::of(
                "How long handshakes and connections took",
                columns,
                &self.programs,
                top,
                |program| {
                    let times = |quantiles: &Quantiles| {
                        let at = |us: Option<u64>| number::known(us.map(number::time));
                        [
                            quantiles.count.to_string(),
                            at(quantiles.p50),
                            at(quantiles.p99),
                            at(quantiles.max),
                        ]
                    };
                    [
                        vec![program.comm.clone()],
                        times(&program.connect_us).to_vec(),
                        times(&program.duration_us).to_vec(),
                    ]
                    .concat()
                },
            )
            .without_empty_columns(),
        );
    }
}

impl OfProcess {
    fn of(process: &Process) -> Self {
        let sum = Traffic::of(process);
        let apart = peer::told_apart(process, any);
        Self {
            who: Who::of(process.who.as_ref()),
            sockets: process.sockets,
            connections: process.totals.connections,
            connect_failed: process.totals.connect_failed,
            resets_sent: process.totals.resets_sent,
            resets_received: process.totals.resets_received,
            in_events: sum.connections,
            ends: sum.ends,
            errnos: sum.errnos,
            failed_unsent: sum.failed_unsent,
            bytes_sent: sum.bytes_sent,
            bytes_received: sum.bytes_received,
            apart,
        }
    }
}

/// Programs whose connections ended, those with most of them first.
fn by_connections(aggregate: &Aggregate) -> Vec<(&String, &Latency)> {
    let mut programs: Vec<(&String, &Latency)> = aggregate.programs.iter().collect();
    programs.sort_by_key(|(_, program)| {
        u64::MAX - program.duration_us.len() - program.connect_us.len()
    });
    programs
}

fn programs(aggregate: &Aggregate) -> Vec<OfProgram> {
    by_connections(aggregate)
        .into_iter()
        .map(|(comm, program)| OfProgram {
            comm: comm.clone(),
            connect_us: Quantiles::of(&program.connect_us),
            duration_us: Quantiles::of(&program.duration_us),
            us_in_state: program.us_in_state().collect(),
        })
        .collect()
}

fn charts(aggregate: &Aggregate) -> Vec<Chart> {
    let mut charts = vec![
        chart::rates(aggregate, "Connections ended per second", |counts| {
            u64::from(counts.connections)
        }),
        chart::rates(aggregate, "Failed connects per second", |counts| {
            u64::from(counts.connect_failed)
        }),
        chart::rates(aggregate, "Resets per second", |counts| {
            u64::from(counts.resets_sent) + u64::from(counts.resets_received)
        }),
        chart::states(aggregate),
    ];
    for (comm, program) in by_connections(aggregate).into_iter().take(DRAWN) {
        charts.push(chart::times(
            format!("Handshakes of {comm}"),
            &program.connect_us,
        ));
        charts.push(chart::times(
            format!("Lifetimes of connections of {comm}"),
            &program.duration_us,
        ));
    }
    charts
}

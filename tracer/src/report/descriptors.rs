//! Calls that found no descriptor.

use serde::Serialize;

use super::{
    chart, limit, shortfall,
    who::{Who, most},
};
use crate::{
    aggregate::{self, Aggregate},
    document::{Document, Table, chart::Chart, number, numbers, words},
    event::{Errno, Syscall},
    fact::{Subject, name},
    time::Time,
};

/// The section.
#[derive(Clone, Debug, Serialize)]
pub struct Descriptors {
    pub count: u64,
    pub in_events: u64,
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
    pub open_fds: Option<u64>,
    pub limit_soft: Option<u64>,
    pub limit_hard: Option<u64>,
    pub limit_set_by: Option<String>,
    pub calls: Vec<Call>,
}

/// A system call's.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    pub syscall: Option<Syscall>,
    pub errno: Errno,
    pub count: u64,
    pub first: Time,
    pub last: Time,
    pub open_fds: Option<u32>,
    pub limit_soft: Option<u64>,
    pub limit_hard: Option<u64>,
}

impl Descriptors {
    pub(super) fn of(aggregate: &Aggregate) -> Self {
        let processes: Vec<OfProcess> = most(aggregate, |process| process.totals.fd_exhausted)
            .into_iter()
            .map(|(process, count)| OfProcess::of(aggregate, process, count))
            .collect();
        Self {
            count: processes.iter().map(|process| process.count).sum(),
            in_events: processes.iter().map(|process| process.in_events).sum(),
            processes,
            charts: vec![chart::rates(
                aggregate,
                "Calls without a descriptor per second",
                |counts| u64::from(counts.fd_exhausted),
            )],
        }
    }

    pub(super) fn write(&self, to: &mut Document, top: usize) {
        to.section("Out of descriptors");
        if self.count == 0 {
            return to.text("No call failed for want of a descriptor.");
        }
        to.text(format!(
            "{} failed for want of a descriptor, in {}.",
            number::count(self.count, "call"),
            match self.processes.len() {
                1 => String::from("1 process"),
                number => format!("{number} processes"),
            }
        ));
        shortfall(to, self.count, self.in_events, "failed calls");
        for shown in &self.charts {
            to.chart(shown.clone());
        }
        let columns = vec![
            words("PROCESS"),
            numbers("FAILED"),
            numbers("OPEN"),
            numbers("LIMIT"),
            numbers("HARD"),
            words("THE LIMIT IS"),
        ];
        to.table(
            Table::of("By process", columns, &self.processes, top, |process| {
                vec![
                    process.who.name(),
                    process.count.to_string(),
                    number::known(process.open_fds),
                    number::known(process.limit_soft.map(limit::shown)),
                    number::known(process.limit_hard.map(limit::shown)),
                    number::known(process.limit_set_by.clone()),
                ]
            })
            .without_empty_columns(),
        );
        let mut calls: Vec<(&Who, &Call)> = self
            .processes
            .iter()
            .flat_map(|process| process.calls.iter().map(|call| (&process.who, call)))
            .collect();
        calls.sort_by_key(|(_, call)| u64::MAX - call.count);
        let columns = vec![
            words("PROCESS"),
            words("SYSTEM CALL"),
            words("ERRNO"),
            numbers("FAILED"),
            numbers("OPEN"),
            numbers("LIMIT"),
        ];
        to.table(Table::of(
            "By system call",
            columns,
            &calls,
            top,
            |(who, call)| {
                vec![
                    who.name(),
                    // io_uring, and passed descriptors.
                    call.syscall
                        .map_or_else(|| String::from("(none)"), |syscall| syscall.to_string()),
                    call.errno.to_string(),
                    call.count.to_string(),
                    number::known(call.open_fds),
                    number::known(call.limit_soft.map(limit::shown)),
                ]
            },
        ));
    }
}

impl OfProcess {
    fn of(aggregate: &Aggregate, process: &aggregate::Process, count: u64) -> Self {
        let mut calls: Vec<Call> = process
            .descriptors
            .iter()
            .map(|((syscall, errno), sum)| Call {
                syscall: *syscall,
                errno: *errno,
                count: sum.count,
                first: sum.first,
                last: sum.last,
                open_fds: sum.open_fds,
                limit_soft: sum.limit_soft,
                limit_hard: sum.limit_hard,
            })
            .collect();
        calls.sort_by_key(|call| u64::MAX - call.count);
        let pid = process.who.as_ref().map(|who| who.id());
        // What was read as a call failed is nearer to the failure than what was read at another time.
        let fact = |name| {
            let number = aggregate.facts.number(&Subject::Process(pid?), name)?;
            // RLIM_INFINITY is -1 as a signed number.
            Some(number.cast_unsigned())
        };
        let open_fds = calls.iter().find_map(|call| call.open_fds.map(u64::from));
        let soft = calls.iter().find_map(|call| call.limit_soft);
        let hard = calls.iter().find_map(|call| call.limit_hard);
        let limit_soft = soft.or_else(|| fact(name::LIMIT_SOFT));
        let limit_hard = hard.or_else(|| fact(name::LIMIT_HARD));
        Self {
            who: Who::of(process.who.as_ref()),
            count,
            in_events: calls.iter().map(|call| call.count).sum(),
            open_fds: open_fds.or_else(|| fact(name::OPEN_FDS)),
            limit_soft,
            limit_hard,
            limit_set_by: pid
                .zip(limit_soft.zip(limit_hard))
                .and_then(|(pid, own)| limit::set_by(aggregate, pid, own)),
            calls,
        }
    }
}

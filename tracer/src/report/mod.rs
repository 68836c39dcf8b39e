//! `tcptrace report`: the numbers of a trace by process, peer and listener.
//!
//! A report is data first ([`Report`], which is its JSON) and a [`Document`] second. Sums of a process are
//! the kernel's own; what is finer is added up from events, and `in_events` says how much of the sum that
//! accounts for.

mod chart;
mod connections;
mod descriptors;
mod findings;
mod head;
mod limit;
mod overflows;
mod peer;
mod retransmits;
mod who;

use clap::ValueEnum;
use serde::Serialize;

use self::{
    connections::Connections, descriptors::Descriptors, head::Head, overflows::Overflows,
    retransmits::Retransmits,
};
use crate::{
    aggregate::Aggregate,
    diagnose::{self, Finding},
    document::{
        Document,
        chart::{Chart, Figure},
    },
};

/// What is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Segments sent again: by process, peer and listener, causes, the worst connections
    Retransmits,
    /// Calls that found no descriptor: by process and system call, limits, and where they came from
    #[value(alias = "emfile")]
    FdExhausted,
    /// Sockets that found the time-wait table full
    TimeWaitOverflow,
    /// Connections: how they ended, what failed, resets, latencies
    Connections,
    /// All of these
    #[default]
    All,
}

impl Part {
    /// Its name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retransmits => "retransmits",
            Self::FdExhausted => "fd_exhausted",
            Self::TimeWaitOverflow => "time_wait_overflow",
            Self::Connections => "connections",
            Self::All => "all",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Retransmits => "Retransmits",
            Self::FdExhausted => "Out of descriptors",
            Self::TimeWaitOverflow => "Time-wait overflow",
            Self::Connections => "Connections",
            Self::All => "TCP report",
        }
    }
}

/// A report. Sections that were not asked for are null.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "docs/schema.md documents the fields")]
pub struct Report {
    pub report: &'static str,
    #[serde(flatten)]
    pub head: Head,
    pub findings: Vec<Finding>,
    pub retransmits: Option<Retransmits>,
    pub fd_exhausted: Option<Descriptors>,
    pub time_wait_overflow: Option<Overflows>,
    pub connections: Option<Connections>,
    #[serde(skip)]
    part: Part,
}

impl Report {
    /// Reports `part` of a trace; `truncated` says why a recorded one has no end.
    #[must_use]
    pub fn of(aggregate: &Aggregate, part: Part, truncated: Option<&str>) -> Self {
        let is_wanted = |one| part == one || part == Part::All;
        Self {
            report: part.name(),
            head: Head::of(aggregate, truncated),
            findings: diagnose::findings(aggregate),
            connections: is_wanted(Part::Connections).then(|| Connections::of(aggregate)),
            retransmits: is_wanted(Part::Retransmits).then(|| Retransmits::of(aggregate)),
            fd_exhausted: is_wanted(Part::FdExhausted).then(|| Descriptors::of(aggregate)),
            time_wait_overflow: is_wanted(Part::TimeWaitOverflow).then(|| Overflows::of(aggregate)),
            part,
        }
    }

    /// The sums, for the top of a page.
    fn figures(&self) -> Chart {
        let connections = self.connections.as_ref();
        let trouble = [
            (
                "segments sent again",
                self.retransmits.as_ref().map(|section| section.segs),
            ),
            (
                "calls without a descriptor",
                self.fd_exhausted.as_ref().map(|section| section.count),
            ),
            (
                "time-wait overflows",
                self.time_wait_overflow
                    .as_ref()
                    .map(|section| section.count),
            ),
            (
                "connects failed",
                connections.map(|section| section.connect_failed),
            ),
            (
                "resets sent",
                connections.map(|section| section.resets_sent),
            ),
            (
                "resets received",
                connections.map(|section| section.resets_received),
            ),
        ];
        let all = trouble
            .map(|(name, number)| (name, number, true))
            .into_iter()
            .chain([(
                "connections ended",
                connections.map(|section| section.connections),
                false,
            )]);
        let figures = all.filter_map(|(name, number, is_trouble)| {
            Some(Figure {
                name,
                number: number?,
                is_trouble,
            })
        });
        Chart::Figures(figures.collect())
    }

    /// The report for people, with at most `top` rows in a table.
    #[must_use]
    pub fn document(&self, top: usize) -> Document {
        let host = self.head.host.as_deref().unwrap_or("an unknown host");
        let mut to = Document::new(format!("{} of {host}", self.part.title()));
        self.head.write(&mut to);
        to.chart(self.figures());
        findings::write(&self.findings, &mut to);
        if let Some(section) = &self.retransmits {
            section.write(&mut to, top);
        }
        if let Some(section) = &self.fd_exhausted {
            section.write(&mut to, top);
        }
        if let Some(section) = &self.time_wait_overflow {
            section.write(&mut to, top);
        }
        if let Some(section) = &self.connections {
            section.write(&mut to, top);
        }
        to
    }
}

/// `rto 4, fast 10`: what a number is made of, the largest part first.
fn parts<K: Copy + Ord>(
    counts: &std::collections::BTreeMap<K, u64>,
    name: impl Fn(K) -> String,
) -> String {
    let mut parts: Vec<(u64, K)> = counts
        .iter()
        .map(|(key, count)| (*count, *key))
        .filter(|(count, _)| *count > 0)
        .collect();
    parts.sort_by_key(|(count, key)| (u64::MAX - count, *key));
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(count, key)| format!("{} {count}", name(key)))
        .collect();
    parts.join(", ")
}

/// What is said where the events do not account for a sum.
fn shortfall(to: &mut Document, sum: u64, in_events: u64, what: &str) {
    if in_events < sum {
        to.warning(format!(
            "{} of the {sum} {what} were counted, but are in no event of the trace (lost, or kept out by a filter): \
             they are in the processes' numbers, and not in what is finer.",
            sum - in_events
        ));
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use tracer_common::record::Cause;

    use super::*;
    use crate::{
        aggregate::sample::{at, connection, retransmit, sample},
        document::{html, markdown, text},
        event::Event,
        sink::Sink as _,
    };

    const PARTS: [Part; 4] = [
        Part::Connections,
        Part::Retransmits,
        Part::FdExhausted,
        Part::TimeWaitOverflow,
    ];

    #[test]
    fn what_a_namespace_counted_and_no_record_told_of_is_nobodys() {
        let mut aggregate = sample().end(10);
        let of = |aggregate: &Aggregate| {
            let report = Report::of(aggregate, Part::Retransmits, None);
            let retransmits = report.retransmits.unwrap();
            (retransmits.segs, retransmits.unattributed)
        };
        let (segs, unattributed) = of(&aggregate);
        let remainder = retransmit(Cause::Unknown, 5, 0);
        let event = Event::nobody(at(9), Some(7), remainder);
        aggregate.event(&event).unwrap();
        assert_eq!(of(&aggregate), (segs + 5, unattributed + 5));
    }

    /// Without findings: those have tests of their own.
    fn report() -> Report {
        let mut report = Report::of(&sample().end(10), Part::All, None);
        report.findings.clear();
        report
    }

    #[test]
    fn what_is_wrong_stands_above_the_numbers() {
        let report = Report::of(&sample().end(10), Part::Retransmits, None);
        assert!(
            report
                .findings
                .iter()
                .any(|finding| finding.name.starts_with("fd-limit"))
        );
        let document = report.document(10);
        for text in [
            text::render(&document, None),
            markdown::render(&document),
            html::render(&document),
        ] {
            let place = |what: &str| {
                text.find(what)
                    .unwrap_or_else(|| panic!("{what} in {text}"))
            };
            assert!(place("What is wrong") < place("fd-limit"), "{text}");
            assert!(
                place("First seen") < place("docs/findings/fd-limit"),
                "{text}"
            );
            assert!(
                place("fd-limit") < text.rfind("Retransmits").unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn tables() {
        let report = report();
        assert_snapshot!(text::render(&report.document(10), Some(80)));
    }

    #[test]
    fn markdown() {
        let report = report();
        assert_snapshot!(markdown::render(&report.document(10)));
    }

    #[test]
    fn json() {
        let report = report();
        assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
    }

    #[test]
    fn a_part_is_what_all_says_of_it() {
        let aggregate = sample().end(10);
        let all = serde_json::to_value(Report::of(&aggregate, Part::All, None)).unwrap();
        for part in PARTS {
            let one = serde_json::to_value(Report::of(&aggregate, part, None)).unwrap();
            for section in PARTS.map(Part::name) {
                if section == part.name() {
                    assert_eq!(one[section], all[section]);
                } else {
                    assert!(one[section].is_null(), "{section} in {}", part.name());
                }
            }
        }
    }

    #[test]
    fn an_empty_trace_has_a_report() {
        let report = Report::of(&Aggregate::default(), Part::All, None);
        let text = text::render(&report.document(10), Some(80));
        assert!(text.contains("No segment was sent again."), "{text}");
        assert!(!text.contains("WARNING"), "{text}");
    }

    #[test]
    fn what_is_missing_stands_at_the_top() {
        let mut sample = sample();
        sample.skip(7);
        let who = sample.process(1, "counted");
        // Counted in the kernel, lost on the way.
        sample.count(
            Some(&who),
            &connection(tracer_common::record::End::ClosedLocal, None, 0, 5),
        );
        let report = Report::of(&sample.end(10), Part::All, Some("no end row"));
        let text = text::render(&report.document(10), None);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("WARNING"))
            .collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("truncated (no end row)"), "{text}");
        assert!(
            lines[1]
                .contains("7 runs of a program were skipped by the kernel (tcp_retransmit_skb 7)"),
            "{text}"
        );
        assert!(
            lines[2].contains("1 of the 22 connections were counted, but are in no event"),
            "{text}"
        );
        assert!(text.find("WARNING") < text.find("Connections\n"), "{text}");
    }

    #[test]
    fn a_cut_off_trace_is_as_long_as_it_got() {
        let report = Report::of(&sample().cut(), Part::All, Some("no end row"));
        assert_eq!(report.head.duration_us, 10_000_000);
    }
}

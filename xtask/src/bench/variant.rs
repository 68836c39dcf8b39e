//! What is compared: no tracer, tcptrace in its ways, and what people use instead. A line each.

use std::ffi::OsString;

use anyhow::Result;

use super::{load::Load, measure::Bench, summary::Summary};

/// A way to trace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    tool: Tool,
}

#[derive(Debug, PartialEq, Eq)]
enum Tool {
    /// The baseline.
    None,
    /// A command that writes as it traces, and ends with a summary on stderr.
    Tcptrace(&'static [&'static str]),
    /// A command that adds up, and writes one JSON object at its end.
    Report(&'static [&'static str]),
    /// `record`, into a file.
    Record,
    /// `watch` on a terminal, with every transition.
    Screen,
    /// The same, and somebody presses keys.
    Keys,
    Tcpstates,
    Bpftrace,
}

pub(crate) const UNTRACED: &str = "untraced";
pub(crate) const REPORT: &str = "report";
pub(crate) const REPORT_ALL: &str = "report, all events";
pub(crate) const LINES: &str = "watch";
pub(crate) const JSON: &str = "watch json";
pub(crate) const ALL: &str = "watch json, all events";
pub(crate) const RECORD: &str = "record";
pub(crate) const SCREEN: &str = "screen, all events";
pub(crate) const KEYS: &str = "screen, keys pressed";

/// The first is what the others are compared with.
pub(crate) const VARIANTS: &[Variant] = &[
    variant(UNTRACED, Tool::None),
    variant(
        REPORT,
        Tool::Report(&["report", "--format", "json", "--duration", "24h"]),
    ),
    variant(
        REPORT_ALL,
        Tool::Report(&[
            "report",
            "--format",
            "json",
            "--duration",
            "24h",
            "--events",
            "all",
        ]),
    ),
    variant(LINES, Tool::Tcptrace(&["watch", "--format", "lines"])),
    variant(JSON, Tool::Tcptrace(&["watch", "--format", "json"])),
    variant(
        ALL,
        Tool::Tcptrace(&["watch", "--format", "json", "--events", "all"]),
    ),
    variant(RECORD, Tool::Record),
    variant(SCREEN, Tool::Screen),
    variant(KEYS, Tool::Keys),
    variant("tcpstates", Tool::Tcpstates),
    variant("bpftrace", Tool::Bpftrace),
];

const fn variant(name: &'static str, tool: Tool) -> Variant {
    Variant { name, tool }
}

/// The same events as tcptrace prints.
const SCRIPT: &str = include_str!("events.bt");

impl Variant {
    /// Whether it writes nothing before its end.
    pub(crate) const fn is_silent(&self) -> bool {
        matches!(self.tool, Tool::Report(_))
    }

    /// Whether it draws on a terminal.
    pub(crate) const fn is_on_a_terminal(&self) -> bool {
        matches!(self.tool, Tool::Screen | Tool::Keys)
    }

    /// Whether keys are pressed on that.
    pub(crate) const fn is_typed_to(&self) -> bool {
        matches!(self.tool, Tool::Keys)
    }

    /// Whether it leaves a trace file.
    pub(crate) const fn is_recording(&self) -> bool {
        matches!(self.tool, Tool::Record)
    }

    /// Whether its kernel programs do what no other variant's do.
    pub(crate) fn has_its_own_programs(&self) -> bool {
        match self.tool {
            Tool::Tcpstates | Tool::Bpftrace => true,
            // Those that stream what `report` adds up have the same.
            Tool::Report(_) => self.name == REPORT,
            Tool::Tcptrace(_) => self.name == ALL,
            Tool::None | Tool::Record | Tool::Screen | Tool::Keys => false,
        }
    }

    /// Its own count, if it has one, from what it wrote: its output where it [`Self::is_silent`], and what it said on stderr.
    ///
    /// # Errors
    ///
    /// When it did not end as it should.
    pub(crate) fn summary(&self, output: &str, said: &str) -> Result<Option<Summary>> {
        match self.tool {
            Tool::None | Tool::Tcpstates | Tool::Bpftrace => Ok(None),
            // A report does not count transitions.
            Tool::Report(_) if self.name == REPORT_ALL => Ok(None),
            Tool::Tcptrace(_) | Tool::Record | Tool::Screen | Tool::Keys => {
                Summary::read(said).map(Some)
            }
            Tool::Report(_) => Summary::of_report(output).map(Some),
        }
    }

    /// The command, as a program and its arguments; none for the baseline.
    pub(crate) fn command(&self, bench: &Bench, load: &Load) -> Option<(OsString, Vec<OsString>)> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let tcptrace = |arguments: &[&str]| {
            let arguments = [arguments, load.options].concat();
            ((&bench.tcptrace).into(), words(&arguments))
        };
        Some(match self.tool {
            Tool::None => return None,
            Tool::Tcptrace(arguments) | Tool::Report(arguments) => tcptrace(arguments),
            Tool::Screen | Tool::Keys => tcptrace(&["watch", "--events", "all"]),
            Tool::Record => {
                let (program, mut arguments) = tcptrace(&["record", "--system", "--force"]);
                arguments.extend(["--output".into(), (&bench.trace_file).into()]);
                (program, arguments)
            }
            Tool::Tcpstates => ("tcpstates".into(), vec![]),
            Tool::Bpftrace => ("bpftrace".into(), words(&["-e", SCRIPT])),
        })
    }
}

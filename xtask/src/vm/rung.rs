//! The rungs of the attach ladder that a run can force.

use std::fmt;

use super::series::Series;

/// What `tcptrace watch --attach` is given; `auto` is the ladder itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Rung {
    /// The best rung of each hook, as the tracer chooses it.
    Auto,
    /// Entry and exit of functions through BPF trampolines.
    Fexit,
    /// Breakpoints at entry and return of functions.
    Kprobe,
    /// Tracepoints only.
    Tracepoint,
}

impl Rung {
    /// All of them.
    pub(super) const ALL: &[Self] = &[Self::Auto, Self::Fexit, Self::Kprobe, Self::Tracepoint];

    /// The oldest release of the matrix that has it. A rung that is refused from there on is an error, not a gap.
    ///
    /// Trampolines came with 5.5, the other two are older: the whole matrix has all of them.
    pub(super) fn minimum(self) -> Series {
        Series {
            major: 5,
            minor: 10,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        })
    }
}

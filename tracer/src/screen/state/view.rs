//! What the user looks at: page, grouping, order, filter, selection. Nothing here depends on how it is drawn.

use super::{
    filter::Filter,
    key::{Grouping, Key},
};
use crate::{
    event::{Detail, Event},
    identity::Pid,
};

/// What the user looks at.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Which page.
    pub page: Page,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// What the arrows move.
    pub focus: Focus,
    /// What a row of the table stands for.
    pub grouping: Grouping,
    /// The group whose processes the table is narrowed to.
    pub scope: Option<Key>,
    /// The table's order.
    pub sort: Sort,
    /// The selected row; `None` for whichever is first.
    pub selected: Option<Key>,
    /// Events that the stream is scrolled back by.
    pub scrolled: usize,
    /// Lines that the page is scrolled down by.
    pub scrolled_page: usize,
    /// What passes.
    pub filter: Filter,
    /// Kinds of events that pass.
    pub kinds: Kinds,
}

impl View {
    /// Whether an event is shown in the stream.
    #[must_use]
    pub fn shows(&self, event: &Event) -> bool {
        self.kinds.is_shown(Kinds::place(&event.detail))
            && (self.filter.is_empty() || self.filter.event(event))
    }
}

/// A page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// How things stand, the table, the stream.
    #[default]
    Table,
    /// One process.
    Process(Pid),
    /// Findings with evidence and remedy.
    Findings,
}

/// What lies over the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// The filter is typed.
    Filter,
    /// Kinds of events are picked; the one at this place of [`Kinds::NAMES`] is selected.
    Kinds(usize),
    /// The keys.
    Help,
}

/// What the arrows move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    /// The selection in the table.
    #[default]
    Table,
    /// The stream.
    Stream,
}

/// The table's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub column: Column,
    /// The least first.
    pub is_reversed: bool,
}

/// A column that the table can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// All that goes wrong, weighed.
    #[default]
    Trouble,
    /// Open sockets.
    Open,
    /// Connections opened.
    Opened,
    /// Connects that failed.
    Failed,
    /// Segments sent again.
    Retransmits,
    /// Resets.
    Resets,
    /// Time-wait overflows.
    Overflows,
    /// Calls that found no descriptor.
    Descriptors,
    /// Descriptors used of the limit, or the queue of the backlog.
    Gauge,
}

impl Column {
    /// All, in the order in which a key goes through them.
    pub const ALL: [Self; 9] = [
        Self::Trouble,
        Self::Open,
        Self::Opened,
        Self::Failed,
        Self::Retransmits,
        Self::Resets,
        Self::Overflows,
        Self::Descriptors,
        Self::Gauge,
    ];

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        let place = Self::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }
}

/// Kinds of events that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Default for Kinds {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

impl Kinds {
    /// All kinds, in the order in which they are listed.
    pub const NAMES: [&str; 8] = [
        "fd_exhausted",
        "connect_failed",
        "retransmit",
        "reset",
        "time_wait_overflow",
        "connection",
        "state",
        "lost",
    ];

    /// A kind's place in [`Self::NAMES`].
    #[must_use]
    pub const fn place(detail: &Detail) -> usize {
        match detail {
            Detail::FdExhausted { .. } => 0,
            Detail::ConnectFailed { .. } => 1,
            Detail::Retransmit { .. } => 2,
            Detail::Reset { .. } => 3,
            Detail::TimeWaitOverflow { .. } => 4,
            Detail::Connection { .. } => 5,
            Detail::State { .. } => 6,
            Detail::Lost { .. } => 7,
        }
    }

    /// Whether the kind at this place of [`Self::NAMES`] is shown.
    #[must_use]
    pub const fn is_shown(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }

    /// Shows or hides a kind.
    pub const fn toggle(&mut self, place: usize) {
        self.0 ^= 1 << place;
    }

    /// Shows all, or only this one if all are shown.
    pub fn toggle_all(&mut self, place: usize) {
        *self = if *self == Self::default() {
            Self(1 << place)
        } else {
            Self::default()
        };
    }

    /// Kinds that are hidden.
    pub fn hidden(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .enumerate()
            .filter(move |(place, _)| !self.is_shown(*place))
            .map(|(_, name)| name)
    }
}

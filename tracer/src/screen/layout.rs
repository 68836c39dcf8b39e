//! Where everything goes, for drawing and for the mouse.

use ratatui::layout::{Constraint, Layout, Rect};

use super::{
    draw::{Signs, Theme, findings, process},
    state::{Page, State},
};

/// Findings that are named on the page of the table; the rest are counted.
pub const FINDINGS: u16 = 4;

/// The areas of the page of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// Host, time, rate, losses.
    pub header: Rect,
    /// What is wrong.
    pub findings: Rect,
    /// How things stand.
    pub conditions: Rect,
    /// The table: its title and column heads are the first two lines.
    pub table: Rect,
    /// The stream: its title is the first line.
    pub stream: Rect,
    /// Keys, or what was said last.
    pub footer: Rect,
}

/// Lines of the table above its first row.
pub const TABLE_HEAD: u16 = 2;
/// Lines of the stream above its first event.
pub const STREAM_HEAD: u16 = 1;

/// Divides the screen.
#[must_use]
pub fn areas(screen: Rect, state: &State) -> Areas {
    let findings = match u16::try_from(state.findings.len()).unwrap_or(u16::MAX) {
        0 => 0,
        count => count.min(FINDINGS) + u16::from(count > FINDINGS),
    };
    // A small screen keeps the table and the stream.
    let findings = findings.min(screen.height / 6);
    let conditions = if screen.height < 16 { 0 } else { 4 };
    let [header, findings, conditions, rest, footer] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(findings),
        Constraint::Length(conditions),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(screen);
    // The table takes what it needs, up to half and a bit.
    let rows = u16::try_from(state.rows.len()).unwrap_or(u16::MAX);
    let most = (rest.height * 11 / 20).max(TABLE_HEAD + 1);
    let wanted = rows.max(1).saturating_add(TABLE_HEAD).min(most);
    let [table, stream] =
        Layout::vertical([Constraint::Length(wanted), Constraint::Fill(1)]).areas(rest);
    Areas {
        header,
        findings,
        conditions,
        table,
        stream,
        footer,
    }
}

/// The first row of the table that is seen: the selected one must be.
#[must_use]
pub fn first_row(state: &State, table: Rect) -> usize {
    let seen = usize::from(table.height.saturating_sub(TABLE_HEAD));
    (state.selected() + 1).saturating_sub(seen)
}

/// Lines that the open page can be scrolled over.
#[must_use]
pub fn page_length(state: &State, screen: Rect) -> usize {
    // Colours have no width.
    let (width, theme) = (screen.width.into(), Theme::new(false, Signs::UNICODE));
    match state.view.page {
        Page::Table => 0,
        Page::Process(pid) => process::length(state, pid, width, &theme),
        Page::Findings => findings::lines(state, width, &theme).len(),
    }
}

//! How the state looks. Nothing is decided here: no key, no number is made.

mod conditions;
pub(super) mod findings;
mod footer;
pub(super) mod header;
mod help;
mod kinds;
mod line;
pub(super) mod number;
pub(super) mod process;
mod stream;
mod table;
mod theme;

use ratatui::{
    Frame,
    layout::Rect,
    text::Line,
    widgets::{Block, Clear, Paragraph, Widget as _},
};

pub use self::theme::{Signs, Theme};
use super::{
    layout,
    state::{Overlay, Page, State},
};

/// Draws the state.
pub fn draw(frame: &mut Frame<'_>, state: &State, theme: &Theme) {
    let screen = frame.area();
    let areas = layout::areas(screen, state);
    let buffer = frame.buffer_mut();
    header::draw(buffer, areas.header, state, theme);
    let page = Rect {
        y: areas.header.bottom(),
        height: areas.footer.y.saturating_sub(areas.header.bottom()),
        ..screen
    };
    match state.view.page {
        Page::Table => {
            findings::panel(buffer, areas.findings, state, theme);
            conditions::draw(buffer, areas.conditions, state, theme);
            table::draw(buffer, areas.table, state, theme);
            stream::draw(buffer, areas.stream, state, theme);
        }
        Page::Process(pid) => process::draw(buffer, page, state, pid, theme),
        Page::Findings => findings::page(buffer, page, state, theme),
    }
    footer::draw(buffer, areas.footer, state, theme);
    match state.view.overlay {
        Some(Overlay::Help) => over(buffer, screen, "keys", help::lines(state, theme), theme),
        Some(Overlay::Kinds(at)) => {
            over(
                buffer,
                screen,
                "events in the stream",
                kinds::lines(state, at, theme),
                theme,
            );
        }
        Some(Overlay::Filter) | None => {}
    }
}

/// Lines in a box in the middle.
fn over(
    buffer: &mut ratatui::buffer::Buffer,
    screen: Rect,
    title: &str,
    lines: Vec<Line<'_>>,
    theme: &Theme,
) {
    let width = lines.iter().map(Line::width).max().unwrap_or(0) + 4;
    let size = |length: usize, most: u16| u16::try_from(length).unwrap_or(u16::MAX).min(most);
    let (width, height) = (
        size(width, screen.width),
        size(lines.len() + 2, screen.height),
    );
    let area = Rect {
        x: screen.x + (screen.width - width) / 2,
        y: screen.y + (screen.height - height) / 2,
        width,
        height,
    };
    Clear.render(area, buffer);
    let title = Line::styled(format!(" {title} "), theme.strong());
    Paragraph::new(lines)
        .block(
            Block::bordered()
                .title(title)
                .padding(ratatui::widgets::Padding::horizontal(1)),
        )
        .render(area, buffer);
}

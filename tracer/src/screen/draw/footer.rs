//! The last line: what is typed, what was said last, or the keys.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    line::{part, put},
    theme::Theme,
};
use crate::screen::state::{Overlay, Page, State};

// The first are always seen; what a small screen cuts is in the help.
const TABLE: &[(&str, &str)] = &[
    ("?", "help"),
    ("q", "quit"),
    ("Enter", "open"),
    ("g", "group"),
    ("s", "sort"),
    ("/", "filter"),
    ("p", "pause"),
    ("f", "findings"),
    ("r", "record"),
    ("y", "ticket"),
    ("e", "kinds"),
];
const PAGE: &[(&str, &str)] = &[
    ("?", "help"),
    ("q", "quit"),
    ("Esc", "back"),
    ("j k", "scroll"),
    ("/", "filter"),
    ("p", "pause"),
    ("r", "record"),
    ("y", "ticket"),
];
const PLAYING: &[(&str, &str)] = &[
    ("?", "help"),
    ("q", "quit"),
    ("space", "play"),
    ("x", "speed"),
    (".", "step"),
    ("[ ]", "10 s"),
    ("0 $", "ends"),
    ("Enter", "open"),
    ("g", "group"),
    ("/", "filter"),
];

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let line = if state.view.overlay == Some(Overlay::Filter) {
        Line::from(vec![
            part("/", theme.strong()),
            Span::raw(state.view.filter.text()),
            part(" ", theme.selected()),
            part("  Enter keeps it, Esc shows all", theme.faint()),
        ])
    } else if let Some(message) = &state.message {
        Line::styled(message.as_str(), theme.notice())
    } else {
        let keys = match (state.view.page, &state.player) {
            (Page::Table, None) => TABLE,
            (Page::Table, Some(_)) => PLAYING,
            _ => PAGE,
        };
        let mut line = Line::default();
        for (key, what) in keys {
            line.push_span(part(*key, theme.strong()));
            line.push_span(part(format!(" {what} "), theme.faint()));
        }
        line
    };
    put(buffer, area.x, area.y, &line, area.width);
}

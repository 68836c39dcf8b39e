//! The list in which kinds of events are picked.

use ratatui::text::Line;

use super::{line::part, number::count, theme::Theme};
use crate::screen::state::{Kinds, State};

pub(super) fn lines(state: &State, at: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<_> = Kinds::NAMES
        .iter()
        .enumerate()
        .map(|(place, name)| {
            let mark = if state.view.kinds.is_shown(place) {
                "[x]"
            } else {
                "[ ]"
            };
            let seen = state.aggregate.events.get(*name).copied().unwrap_or(0);
            let line = Line::from(vec![
                part(format!("{mark} {name:<20}"), theme.kind(name)),
                part(format!("{:>6}", count(seen)), theme.faint()),
            ]);
            if place == at {
                line.style(theme.selected())
            } else {
                line
            }
        })
        .collect();
    lines.push(Line::default());
    lines.push(Line::styled(
        "space picks, a all or only this, Esc closes",
        theme.faint(),
    ));
    lines
}

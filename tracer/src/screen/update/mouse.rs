//! What the mouse does: the wheel scrolls what is under it, a click selects.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{Focus, Page, State, layout, scroll};
use crate::screen::layout::TABLE_HEAD;

/// Lines that a notch of the wheel scrolls by.
const NOTCH: isize = 3;

pub(super) fn update(state: &mut State, event: MouseEvent, screen: Rect) {
    let is_over = state.view.overlay.is_some() || state.view.page != Page::Table;
    let areas = layout::areas(screen, state);
    let at = Position::new(event.column, event.row);
    let focus = if areas.stream.contains(at) {
        Focus::Stream
    } else {
        Focus::Table
    };
    match event.kind {
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            let steps = if event.kind == MouseEventKind::ScrollUp {
                -NOTCH
            } else {
                NOTCH
            };
            if !is_over {
                state.view.focus = focus;
            }
            if state.view.overlay.is_none() {
                scroll(state, steps, screen);
            }
        }
        MouseEventKind::Down(MouseButton::Left) if !is_over => {
            state.view.focus = focus;
            let row = event.row.checked_sub(areas.table.y + TABLE_HEAD);
            if focus == Focus::Table
                && areas.table.contains(at)
                && let Some(row) = row
            {
                let place = layout::first_row(state, areas.table) + usize::from(row);
                if let Some(row) = state.rows.get(place) {
                    state.view.selected = Some(row.key.clone());
                }
            }
        }
        _ => return,
    }
    state.touch();
}

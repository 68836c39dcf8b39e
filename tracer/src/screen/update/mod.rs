//! What keys and the mouse do to the state.

mod mouse;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;

use super::{
    layout::{self, STREAM_HEAD, TABLE_HEAD},
    state::{Column, Filter, Focus, Grouping, Key, Kinds, Overlay, Page, State},
};

/// What the state cannot do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End.
    Quit,
    /// Record from here on, or end the recording.
    Record,
    /// Write what is on screen for the ticket.
    Ticket,
    /// Move a recorded trace's time.
    Seek(Seek),
}

/// Where a recorded trace's time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// To its beginning.
    Start,
    /// To its end.
    End,
    /// By one event.
    Step,
    /// By ten seconds, back if negative.
    Seconds(i64),
}

/// Takes a key, a turn of the wheel, or a new size.
pub fn update(state: &mut State, event: &Event, screen: Rect) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => {
            state.touch();
            state.message = None;
            let action = press(state, *key, screen);
            state.judge();
            action
        }
        Event::Mouse(event) => {
            mouse::update(state, *event, screen);
            None
        }
        Event::Resize(..) => {
            state.touch();
            None
        }
        _ => None,
    }
}

fn press(state: &mut State, key: KeyEvent, screen: Rect) -> Option<Action> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && matches!(key.code, KeyCode::Char('c' | 'q')) {
        return Some(Action::Quit);
    }
    match state.view.overlay {
        Some(Overlay::Filter) => {
            type_filter(state, key, is_control);
            return None;
        }
        Some(Overlay::Kinds(at)) => {
            pick_kinds(state, key, at);
            return None;
        }
        Some(Overlay::Help) => {
            state.view.overlay = None;
            return None;
        }
        None => {}
    }
    if let Some(steps) = steps(key, is_control, page_of(state, screen)) {
        scroll(state, steps, screen);
        return None;
    }
    if state.player.is_some()
        && let Some(action) = play(state, key.code)
    {
        return action;
    }
    match key.code {
        KeyCode::Char('q') => return Some(Action::Quit),
        KeyCode::Char('r') => return Some(Action::Record),
        KeyCode::Char('y') => return Some(Action::Ticket),
        KeyCode::Char('?') => state.view.overlay = Some(Overlay::Help),
        KeyCode::Char('/') => state.view.overlay = Some(Overlay::Filter),
        KeyCode::Char('e') => state.view.overlay = Some(Overlay::Kinds(0)),
        KeyCode::Char('p') => pause(state),
        KeyCode::Char('f') => open(state, Page::Findings),
        KeyCode::Char('g') => {
            state.view.grouping = state.view.grouping.next();
            state.view.scope = None;
            state.view.selected = None;
            state.view.page = Page::Table;
        }
        KeyCode::Char('s') => state.view.sort.column = next_column(state),
        KeyCode::Char('S') => state.view.sort.is_reversed ^= true,
        KeyCode::Tab => {
            state.view.focus = match state.view.focus {
                Focus::Table => Focus::Stream,
                Focus::Stream => Focus::Table,
            };
        }
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => enter(state),
        KeyCode::Esc | KeyCode::Left | KeyCode::Backspace | KeyCode::Char('h') => back(state),
        _ => {}
    }
    None
}

/// Keys of a recorded trace; `None` for those that it leaves to the screen.
fn play(state: &mut State, code: KeyCode) -> Option<Option<Action>> {
    let player = state.player.as_mut()?;
    let seek = |seek| Some(Some(Action::Seek(seek)));
    match code {
        KeyCode::Char(' ') => player.is_paused ^= true,
        KeyCode::Char('x') => player.speed = player.speed.next(),
        KeyCode::Char('.') => return seek(Seek::Step),
        KeyCode::Char('[') => return seek(Seek::Seconds(-10)),
        KeyCode::Char(']') => return seek(Seek::Seconds(10)),
        KeyCode::Char('0' | '^') => return seek(Seek::Start),
        KeyCode::Char('$') => return seek(Seek::End),
        _ => return None,
    }
    Some(None)
}

/// Lines that a moving key goes down, or up if negative.
fn steps(key: KeyEvent, is_control: bool, page: usize) -> Option<isize> {
    let page = isize::try_from(page.max(2)).unwrap_or(isize::MAX);
    Some(match (key.code, is_control) {
        (KeyCode::Up | KeyCode::Char('k'), false) => -1,
        (KeyCode::Down | KeyCode::Char('j'), false) => 1,
        (KeyCode::PageUp, _) | (KeyCode::Char('b'), true) => 1 - page,
        (KeyCode::PageDown, _) | (KeyCode::Char('f'), true) => page - 1,
        (KeyCode::Char('u'), true) => -page / 2,
        (KeyCode::Char('d'), true) => page / 2,
        (KeyCode::Home, _) => isize::MIN,
        (KeyCode::End, _) | (KeyCode::Char('G'), false) => isize::MAX,
        _ => return None,
    })
}

/// Lines that are seen of what the moving keys move.
fn page_of(state: &State, screen: Rect) -> usize {
    let areas = layout::areas(screen, state);
    let lines = match (state.view.page, state.view.focus) {
        (Page::Table, Focus::Table) => areas.table.height.saturating_sub(TABLE_HEAD),
        (Page::Table, Focus::Stream) => areas.stream.height.saturating_sub(STREAM_HEAD),
        _ => screen.height.saturating_sub(4),
    };
    lines.into()
}

/// Moves the selection, the stream or the page.
fn scroll(state: &mut State, steps: isize, screen: Rect) {
    match (state.view.page, state.view.focus) {
        (Page::Table, Focus::Table) => select(state, steps),
        (Page::Table, Focus::Stream) => scroll_stream(state, steps),
        (Page::Process(_) | Page::Findings, _) => {
            scroll_page(state, steps, layout::page_length(state, screen));
        }
    }
}

fn scroll_page(state: &mut State, steps: isize, length: usize) {
    let to = state.view.scrolled_page.saturating_add_signed(steps);
    state.view.scrolled_page = to.min(length.saturating_sub(1));
}

fn select(state: &mut State, steps: isize) {
    let last = state.rows.len().saturating_sub(1);
    let to = state.selected().saturating_add_signed(steps).min(last);
    state.view.selected = state.rows.get(to).map(|row| row.key.clone());
}

fn scroll_stream(state: &mut State, steps: isize) {
    let to = state.view.scrolled.saturating_add_signed(steps);
    // One can only stay at an event while no others come in above it.
    if to > 0 && state.stream.paused().is_none() {
        state.stream.toggle_pause();
    }
    state.view.scrolled = to.min(state.events().count().saturating_sub(1));
}

fn pause(state: &mut State) {
    state.stream.toggle_pause();
    state.view.scrolled = 0;
    state.view.focus = match state.stream.paused() {
        Some(_) => Focus::Stream,
        None => Focus::Table,
    };
}

fn next_column(state: &State) -> Column {
    let column = state.view.sort.column.next();
    let is_by_flow = matches!(state.view.grouping, Grouping::Peer | Grouping::Listener);
    // Open sockets and descriptors are not told apart by peer.
    match column {
        Column::Open if is_by_flow => column.next(),
        Column::Descriptors if is_by_flow => column.next(),
        column => column,
    }
}

fn open(state: &mut State, page: Page) {
    state.view.page = page;
    state.view.scrolled_page = 0;
}

/// Opens the selected process, or narrows the table to the selected group.
fn enter(state: &mut State) {
    if state.view.page != Page::Table {
        return;
    }
    let Some(row) = state.rows.get(state.selected()) else {
        return;
    };
    match row.key.clone() {
        Key::Process(pid) => {
            state.view.selected = Some(row.key.clone());
            open(state, Page::Process(pid));
        }
        group => {
            state.view.scope = Some(group);
            state.view.grouping = Grouping::Process;
            state.view.selected = None;
        }
    }
}

/// One step back: from a page to the table, from a narrowed table to the groups, from a filter to all.
fn back(state: &mut State) {
    let view = &mut state.view;
    if view.page != Page::Table {
        open(state, Page::Table);
    } else if let Some(group) = view.scope.take() {
        view.grouping = match group {
            Key::Process(_) => Grouping::Process,
            Key::Program(_) => Grouping::Program,
            Key::Container(_) => Grouping::Container,
            Key::Peer(_) => Grouping::Peer,
            Key::Listener(_) => Grouping::Listener,
        };
        view.selected = Some(group);
    } else if state.stream.paused().is_some() {
        pause(state);
    } else if !view.filter.is_empty() {
        view.filter = Filter::default();
    }
}

fn type_filter(state: &mut State, key: KeyEvent, is_control: bool) {
    let mut text = state.view.filter.text().to_owned();
    match key.code {
        KeyCode::Enter => {
            state.view.overlay = None;
            return;
        }
        KeyCode::Esc => {
            state.view.overlay = None;
            text.clear();
        }
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Char('u') if is_control => text.clear(),
        KeyCode::Char('w') if is_control => {
            let kept = text.trim_end().rfind(' ').map_or(0, |at| at + 1);
            text.truncate(kept);
        }
        KeyCode::Char(char) if !is_control => text.push(char),
        _ => return,
    }
    state.view.filter = Filter::new(&text);
    state.view.scrolled = 0;
    state.view.selected = None;
}

fn pick_kinds(state: &mut State, key: KeyEvent, at: usize) {
    let last = Kinds::NAMES.len() - 1;
    let view = &mut state.view;
    match key.code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('e' | 'q') => view.overlay = None,
        KeyCode::Up | KeyCode::Char('k') => {
            view.overlay = Some(Overlay::Kinds(at.saturating_sub(1)))
        }
        KeyCode::Down | KeyCode::Char('j') => {
            view.overlay = Some(Overlay::Kinds((at + 1).min(last)))
        }
        KeyCode::Char(' ' | 'x') => view.kinds.toggle(at),
        KeyCode::Char('a') => view.kinds.toggle_all(at),
        _ => {}
    }
    view.scrolled = 0;
}

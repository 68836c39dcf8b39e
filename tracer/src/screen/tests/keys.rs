//! What keys and the mouse do.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Rect;

use super::scene::incident;
use crate::{
    screen::{
        layout::{self, TABLE_HEAD},
        state::{Column, Focus, Grouping, Key, Kinds, Overlay, Page, Player, Speed, State},
        update::{Action, Seek, update},
    },
    sink::Sink as _,
    time::Time,
};

const SCREEN: Rect = Rect::new(0, 0, 80, 24);

fn press_with(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
    let action = update(state, &Event::Key(KeyEvent::new(code, modifiers)), SCREEN);
    state.refresh();
    action
}

fn press(state: &mut State, code: KeyCode) -> Option<Action> {
    press_with(state, code, KeyModifiers::NONE)
}

fn type_text(state: &mut State, text: &str) {
    for char in text.chars() {
        assert_eq!(press(state, KeyCode::Char(char)), None, "{char}");
    }
}

fn mouse(state: &mut State, kind: MouseEventKind, row: u16) {
    let event = MouseEvent {
        kind,
        column: 5,
        row,
        modifiers: KeyModifiers::NONE,
    };
    update(state, &Event::Mouse(event), SCREEN);
    state.refresh();
}

#[test]
fn arrows_and_vi_keys_select() {
    let mut state = incident();
    type_text(&mut state, "jjk");
    assert_eq!(state.selected(), 1);
    press(&mut state, KeyCode::Down);
    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Up);
    press(&mut state, KeyCode::Up);
    assert_eq!(state.selected(), 0);
    press(&mut state, KeyCode::End);
    assert_eq!(state.selected(), state.rows.len() - 1);
    press(&mut state, KeyCode::Home);
    assert_eq!(state.selected(), 0);
    press(&mut state, KeyCode::PageDown);
    let seen = layout::areas(SCREEN, &state).table.height - TABLE_HEAD;
    assert_eq!(state.selected(), usize::from(seen) - 1);
    press_with(&mut state, KeyCode::Char('b'), KeyModifiers::CONTROL);
    assert_eq!(state.selected(), 0);
}

#[test]
fn the_selection_stays_with_its_process_when_the_order_changes() {
    let mut state = incident();
    type_text(&mut state, "jjj");
    let key = state.rows[state.selected()].key.clone();
    type_text(&mut state, "sssS");
    assert_eq!(state.rows[state.selected()].key, key);
}

#[test]
fn enter_opens_and_escape_goes_back() {
    let mut state = incident();
    press(&mut state, KeyCode::Enter);
    assert!(
        matches!(state.view.page, Page::Process(pid) if pid.pid == 1_234),
        "{:?}",
        state.view.page
    );
    press(&mut state, KeyCode::Esc);
    assert_eq!(state.view.page, Page::Table);
    // A group opens into its processes, and one of those into its page.
    type_text(&mut state, "ggg");
    assert_eq!(state.view.grouping, Grouping::Peer);
    let backend = state.rows.iter().find(|row| row.name() == "10.0.0.9:8080");
    state.view.selected = backend.map(|row| row.key.clone());
    type_text(&mut state, "l");
    assert_eq!(state.view.grouping, Grouping::Process);
    assert_eq!(state.rows.len(), 40);
    assert!(
        state
            .rows
            .iter()
            .all(|row| row.name().starts_with("gunicorn["))
    );
    type_text(&mut state, "l");
    assert!(matches!(state.view.page, Page::Process(_)));
    type_text(&mut state, "hh");
    assert_eq!(state.view.grouping, Grouping::Peer);
    assert_eq!(state.rows[state.selected()].name(), "10.0.0.9:8080");
}

#[test]
fn rows_are_sorted_by_what_is_asked_for() {
    let mut state = incident();
    assert_eq!(
        state.rows[0].name(),
        "python3[1234]",
        "out of descriptors is the worst"
    );
    let first_by = |state: &mut State, column| {
        while state.view.sort.column != column {
            type_text(state, "s");
        }
        state.rows[0].name()
    };
    assert_eq!(first_by(&mut state, Column::Open), "redis-server[812]");
    assert!(first_by(&mut state, Column::Failed).starts_with("gunicorn"));
    assert_eq!(
        first_by(&mut state, Column::Retransmits),
        "redis-server[812]"
    );
    assert_eq!(first_by(&mut state, Column::Overflows), "haproxy[900]");
    assert_eq!(first_by(&mut state, Column::Resets), "(owner unknown)");
    assert_eq!(first_by(&mut state, Column::Gauge), "python3[1234]");
    type_text(&mut state, "S");
    assert_ne!(state.rows[0].name(), "python3[1234]");
}

#[test]
fn a_filter_narrows_table_and_stream_as_it_is_typed() {
    let mut state = incident();
    press(&mut state, KeyCode::Char('/'));
    type_text(&mut state, "re");
    assert!(state.rows.len() < 43);
    type_text(&mut state, "dis");
    let names: Vec<_> = state.rows.iter().map(|row| row.name()).collect();
    assert_eq!(names, ["redis-server[812]"]);
    let is_redis =
        |event: &crate::event::Event| event.owner.as_ref().is_some_and(|who| who.pid == 812);
    assert!(state.events().count() > 0 && state.events().all(is_redis));
    // Letters are the filter's while it is typed.
    type_text(&mut state, "q");
    assert_eq!(state.view.filter.text(), "redisq");
    press(&mut state, KeyCode::Backspace);
    press(&mut state, KeyCode::Enter);
    assert_eq!(
        (state.view.overlay, state.view.filter.text()),
        (None, "redis")
    );
    press(&mut state, KeyCode::Esc);
    assert!(state.view.filter.is_empty());
    // By the port and by the address of a peer.
    for text in ["/:8080", "/10.0.0.9"] {
        type_text(&mut state, text);
        assert_eq!(state.rows.len(), 40, "{text}");
        press(&mut state, KeyCode::Esc);
    }
    // And by what was read and no event told: a listener's port, the peer of a stuck connection.
    for text in ["/:22", "/10.0.0.3"] {
        type_text(&mut state, text);
        let names: Vec<_> = state.rows.iter().map(|row| row.name()).collect();
        assert_eq!(names, ["redis-server[812]"], "{text}");
        press(&mut state, KeyCode::Esc);
    }
}

#[test]
fn a_paused_stream_is_scrolled_back() {
    let mut state = incident();
    type_text(&mut state, "p");
    assert_eq!(state.view.focus, Focus::Stream);
    let third = state.events().nth(2).unwrap().ts;
    type_text(&mut state, "jj");
    let newest = state.events().next().unwrap().clone();
    state.event(&newest).unwrap();
    assert_eq!(state.stream.paused(), Some(1));
    assert_eq!(state.events().nth(state.view.scrolled).unwrap().ts, third);
    press(&mut state, KeyCode::End);
    assert_eq!(state.view.scrolled, state.events().count() - 1);
    type_text(&mut state, "p");
    assert_eq!((state.stream.paused(), state.view.scrolled), (None, 0));
    assert_eq!(state.view.focus, Focus::Table);
}

#[test]
fn kinds_of_events_are_picked() {
    let mut state = incident();
    press(&mut state, KeyCode::Char('e'));
    assert_eq!(state.view.overlay, Some(Overlay::Kinds(0)));
    press(&mut state, KeyCode::Char(' '));
    type_text(&mut state, "j");
    press(&mut state, KeyCode::Char(' '));
    press(&mut state, KeyCode::Esc);
    let hidden: Vec<_> = state.view.kinds.hidden().collect();
    assert_eq!(hidden, Kinds::NAMES[..2]);
    assert!(
        state
            .events()
            .all(|event| !hidden.contains(&event.detail.kind()))
    );
    assert!(state.events().count() > 0);
    // Only this one, then all again.
    type_text(&mut state, "eaae");
    assert_eq!(state.view.kinds.hidden().count(), 7);
    type_text(&mut state, "eae");
    assert_eq!(state.view.kinds.hidden().count(), 0);
}

#[test]
fn the_wheel_scrolls_what_is_under_it_and_a_click_selects() {
    let mut state = incident();
    let areas = layout::areas(SCREEN, &state);
    mouse(&mut state, MouseEventKind::ScrollDown, areas.table.y + 3);
    assert_eq!((state.selected(), state.view.focus), (3, Focus::Table));
    mouse(&mut state, MouseEventKind::ScrollDown, areas.stream.y + 2);
    assert_eq!((state.view.scrolled, state.view.focus), (3, Focus::Stream));
    assert!(state.stream.paused().is_some());
    mouse(&mut state, MouseEventKind::ScrollUp, areas.stream.y + 2);
    assert_eq!(state.view.scrolled, 0);
    let first = layout::first_row(&state, areas.table);
    mouse(
        &mut state,
        MouseEventKind::Down(MouseButton::Left),
        areas.table.y + TABLE_HEAD + 1,
    );
    assert_eq!(state.selected(), first + 1);
    // A click on the heads selects nothing.
    mouse(
        &mut state,
        MouseEventKind::Down(MouseButton::Left),
        areas.table.y,
    );
    assert_eq!(state.selected(), first + 1);
}

#[test]
fn actions_are_asked_for() {
    let mut state = incident();
    for (key, action) in [
        ('q', Action::Quit),
        ('r', Action::Record),
        ('y', Action::Ticket),
    ] {
        assert_eq!(press(&mut state, KeyCode::Char(key)), Some(action));
    }
    let quit = press_with(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(quit, Some(Action::Quit));
    // Also while something is typed.
    press(&mut state, KeyCode::Char('/'));
    let quit = press_with(&mut state, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(quit, Some(Action::Quit));
    // Help swallows one key.
    press(&mut state, KeyCode::Esc);
    press(&mut state, KeyCode::Char('?'));
    assert_eq!(state.view.overlay, Some(Overlay::Help));
    assert_eq!(press(&mut state, KeyCode::Char('q')), None);
    assert_eq!(state.view.overlay, None);
}

#[test]
fn a_recorded_trace_has_time_controls() {
    let mut state = incident();
    assert_eq!(
        press(&mut state, KeyCode::Char('.')),
        None,
        "a live trace has none"
    );
    state.player = Some(Player {
        first: Time(0),
        last: Time(1),
        speed: Speed::Real,
        is_paused: false,
    });
    press(&mut state, KeyCode::Char(' '));
    press(&mut state, KeyCode::Char('x'));
    let player = state.player.unwrap();
    assert!(player.is_paused && player.speed == Speed::Ten);
    for (key, seek) in [
        ('.', Seek::Step),
        ('[', Seek::Seconds(-10)),
        (']', Seek::Seconds(10)),
        ('0', Seek::Start),
        ('$', Seek::End),
    ] {
        assert_eq!(
            press(&mut state, KeyCode::Char(key)),
            Some(Action::Seek(seek))
        );
    }
}

#[test]
fn groupings_that_lack_a_column_are_not_sorted_by_it() {
    let mut state = incident();
    state.view.grouping = Grouping::Peer;
    for _ in Column::ALL {
        type_text(&mut state, "s");
        assert!(!matches!(
            state.view.sort.column,
            Column::Open | Column::Descriptors
        ));
    }
    assert!(matches!(state.rows[0].key, Key::Peer(_)));
}

/// What was read of a process and what happens to it stand in one row.
#[test]
fn a_process_has_one_row() {
    use super::scene::{process, refused, snapshot};

    let mut state = snapshot();
    press(&mut state, KeyCode::Enter);
    let python = process(1_234, "python3", None);
    state.event(&refused(10, &python)).unwrap();
    state.touch();
    state.refresh();
    assert_eq!(state.view.page, Page::Process(python.id()));
    press(&mut state, KeyCode::Esc);
    let rows: Vec<_> = state
        .rows
        .iter()
        .map(|row| (row.name(), row.gauge.is_some()))
        .collect();
    assert_eq!(rows, [("python3[1234]".to_owned(), true)]);
}

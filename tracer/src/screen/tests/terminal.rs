//! What a terminal gets: colours, letters, sizes.

use ratatui::style::Color;

use super::{
    scene::{incident, process, refused, snapshot},
    views::{colourful, drawn, text},
};
use crate::{
    identity::Pid,
    screen::{
        draw::{Signs, Theme},
        state::{Overlay, Page, State},
        ticket::ticket,
    },
    sink::Sink as _,
};

#[test]
fn what_is_lost_is_red() {
    let buffer = drawn(&incident(), 80, 24, &colourful());
    let first: Vec<_> = buffer.content[..80].iter().collect();
    let line: String = first.iter().map(|cell| cell.symbol()).collect();
    let place = line.find("LOST").expect("lost events are named");
    assert!(
        first[place..place + 4]
            .iter()
            .all(|cell| cell.fg == Color::Red)
    );
    // And in a quiet trace nothing is red.
    let quiet = drawn(&State::default(), 80, 24, &colourful());
    assert!(quiet.content.iter().all(|cell| cell.fg != Color::Red));
}

#[test]
fn plain_letters_where_the_locale_wants_them() {
    let buffer = drawn(&incident(), 80, 24, &Theme::new(true, Signs::ASCII));
    assert!(text(&buffer).is_ascii());
}

/// No size is too small, whatever is shown.
#[test]
fn any_size_can_be_drawn() {
    let mut state = incident();
    for page in [Page::Table, Page::Findings, Page::Process(Pid::default())] {
        state.view.page = page;
        for overlay in [
            None,
            Some(Overlay::Help),
            Some(Overlay::Kinds(7)),
            Some(Overlay::Filter),
        ] {
            state.view.overlay = overlay;
            for width in [1, 2, 3, 12, 13, 27, 80, 131, 250] {
                for height in [1, 2, 3, 4, 5, 9, 15, 16, 24, 60] {
                    drawn(&state, width, height, &colourful());
                }
            }
        }
    }
}

#[test]
fn a_process_cannot_write_to_the_terminal() {
    let mut state = snapshot();
    let evil = process(666, "\u{1b}[2Jx", None);
    state.event(&refused(10, &evil)).unwrap();
    state.touch();
    state.refresh();
    let text = text(&drawn(&state, 80, 24, &colourful()));
    assert!(text.contains("?[2Jx[666]"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(!ticket(&state).contains('\u{1b}'));
}

//! The keys.

use ratatui::text::{Line, Span};

use super::{line::part, theme::Theme};
use crate::screen::state::State;

const KEYS: &[(&str, &str)] = &[
    (
        "up down j k",
        "select, or scroll; PgUp PgDn Home End, ^u ^d",
    ),
    ("Enter l", "open a process, or the processes of a group"),
    ("Esc h", "back; shows all again"),
    ("Tab", "arrows move the table or the stream"),
    ("f", "findings, with evidence and remedy"),
    ("g", "group by process, program, container, peer, listener"),
    ("s S", "sort by the next column, the other way round"),
    (
        "/",
        "filter: name, pid, port or :port, address; all words must match",
    ),
    ("e", "kinds of events in the stream"),
    ("p", "pause the stream and scroll back in it"),
    ("r", "record from here on, and end that"),
    ("y", "write this screen as Markdown, and copy it"),
    ("q ^C", "quit"),
];

const PLAYING: &[(&str, &str)] = &[
    ("space", "play, pause"),
    ("x", "speed: as it was, ten times, as fast as possible"),
    (". [ ]", "next event, ten seconds back, on"),
    ("0 $", "beginning, end"),
];

const WORDS: &[(&str, &str)] = &[
    ("NEW", "connections opened, a second"),
    ("FAIL", "connects that failed, a second"),
    (
        "RTX ALL%",
        "segments sent again, a second; part of all sent again so far",
    ),
    (
        "RST TWO",
        "resets, sockets that found the time-wait table full",
    ),
    (
        "FDS FOR",
        "descriptors used of the limit; since when, > is since before the trace",
    ),
    (
        "since boot",
        "RetransSegs also in % of all segments that were sent",
    ),
];

pub(super) fn lines(state: &State, theme: &Theme) -> Vec<Line<'static>> {
    let playing = state.player.as_ref().map_or(&[][..], |_| PLAYING);
    let line = |(keys, what): &(&'static str, &'static str)| {
        Line::from(vec![
            part(format!("{keys:<13}"), theme.strong()),
            Span::raw(*what),
        ])
    };
    let mut lines: Vec<_> = KEYS.iter().chain(playing).map(line).collect();
    lines.push(Line::default());
    lines.extend(WORDS.iter().map(line));
    lines
}

//! The table: a row a process, or a group of them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    conditions::fullness,
    line::{cut, cut_name, pad, part, put, rule},
    number::{age, bars, count, gauge, percent, rate},
    theme::Theme,
};
use crate::screen::{
    layout,
    state::{Column as By, Focus, Grouping, Key, MINUTE, Row, State},
};

/// A row's text in a column, and how it looks.
type Cell = (String, Style);

/// A column: its head, its letters, what the table is sorted by for it, and a row's text.
struct Column {
    head: &'static str,
    width: usize,
    by: Option<By>,
    is_left: bool,
    cell: fn(&Row, &State, usize, &Theme) -> Cell,
}

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// 80 columns.
    Little,
    /// For the unit or container, and since when.
    Some,
    /// For whole words.
    Much,
}

impl Room {
    const fn of(width: usize) -> Self {
        match width {
            0..112 => Self::Little,
            112..160 => Self::Some,
            _ => Self::Much,
        }
    }
}

/// The columns that fit into a width; the last takes what is left.
fn columns(width: usize, state: &State) -> Vec<Column> {
    let grouping = state.view.grouping;
    let room = Room::of(width);
    let is_by_flow = matches!(grouping, Grouping::Peer | Grouping::Listener);
    let mut columns = vec![name(grouping, room)];
    columns.extend(note(state, room));
    let number = |heads: (&'static str, &'static str), width: usize, by, cell| {
        let head = if room == Room::Much { heads.0 } else { heads.1 };
        Column {
            head,
            width: width.max(head.len()),
            by: Some(by),
            is_left: false,
            cell,
        }
    };
    if !is_by_flow {
        columns.push(number(("OPEN", "OPEN"), 4, By::Open, |row, _, _, _| {
            (row.open.map_or_else(String::new, count), Style::new())
        }));
        // A small screen has no room for it beside the number of processes.
        if room > Room::Little || grouping == Grouping::Process {
            columns.push(number(("OPENS/S", "NEW"), 4, By::Opened, |row, _, _, _| {
                (rate(row.rates.opened), Style::new())
            }));
        }
    }
    columns.push(number(
        ("FAILS/S", "FAIL"),
        4,
        By::Failed,
        |row, _, _, theme| (rate(row.rates.failed), theme.kind("connect_failed")),
    ));
    columns.push(number(
        ("RETRANS/S", "RTX"),
        4,
        By::Retransmits,
        |row, _, _, theme| (rate(row.rates.segs), theme.kind("retransmit")),
    ));
    columns.push(Column {
        by: None,
        ..number(
            ("OF ALL", "ALL%"),
            4,
            By::Retransmits,
            |row, _, _, theme| {
                let share = row.share.map_or_else(String::new, percent);
                (share, theme.kind("retransmit"))
            },
        )
    });
    columns.push(number(
        ("RESETS/S", "RST"),
        4,
        By::Resets,
        |row, _, _, theme| (rate(row.rates.resets), theme.kind("reset")),
    ));
    columns.push(number(
        ("TW-FULL/S", "TWO"),
        4,
        By::Overflows,
        |row, _, _, theme| (rate(row.rates.overflows), theme.kind("time_wait_overflow")),
    ));
    if !is_by_flow {
        columns.push(number(
            ("EMFILE/S", "EMFILE"),
            4,
            By::Descriptors,
            |row, _, _, theme| (rate(row.rates.descriptors), theme.kind("fd_exhausted")),
        ));
    }
    if grouping != Grouping::Peer {
        let heads = match grouping {
            Grouping::Listener => ("QUEUE", "QUEUE"),
            _ => ("DESCRIPTORS", "FDS"),
        };
        let width = if room == Room::Little { 7 } else { 9 };
        columns.push(number(heads, width, By::Gauge, |row, _, _, theme| {
            let cell = |of| (gauge(of), fullness(of, theme));
            row.gauge.map_or_else(Default::default, cell)
        }));
    }
    if room > Room::Little {
        columns.push(Column {
            by: None,
            ..number(("FOR", "FOR"), 7, By::Trouble, |row, state, _, theme| {
                let since = row.since.map(|since| age(state.age(since)));
                (since.unwrap_or_default(), theme.faint())
            })
        });
    }
    let used: usize = columns.iter().map(|column| column.width + 1).sum();
    columns.extend(last_minute(width.saturating_sub(used)));
    columns
}

const fn name(grouping: Grouping, room: Room) -> Column {
    // A peer's address is longer than a name, but has fewer columns beside it.
    let is_address = matches!(grouping, Grouping::Peer);
    Column {
        head: match grouping {
            Grouping::Process => "PROCESS",
            Grouping::Program => "PROGRAM",
            Grouping::Container => "CONTAINER, UNIT",
            Grouping::Peer => "PEER",
            Grouping::Listener => "LISTENER",
        },
        width: match (room, is_address) {
            (Room::Little, false) => 17,
            (Room::Little, true) => 22,
            (_, false) => 24,
            (_, true) => 44,
        },
        by: None,
        is_left: true,
        cell: |row, _, width, theme| (cut_name(&row.name(), width, theme), Style::new()),
    }
}

/// Whose it is: of a process the unit or container where any is known and there is room, of a group its
/// processes.
fn note(state: &State, room: Room) -> Option<Column> {
    let (head, width) = match (state.view.grouping, room) {
        (Grouping::Process, Room::Little) => return None,
        (Grouping::Process, _) => {
            let seen = state.rows.iter().take(64);
            if seen.into_iter().all(|row| row.note().is_empty()) {
                return None;
            }
            ("UNIT, CONTAINER", 20)
        }
        (Grouping::Program, _) => ("PROCESSES", 9),
        (_, Room::Little) => ("PROCESSES", 14),
        _ => ("PROCESSES", 20),
    };
    Some(Column {
        head,
        width,
        by: None,
        is_left: true,
        cell: |row, _, width, theme| (cut_name(&row.note(), width, theme), theme.faint()),
    })
}

/// Trouble over the last minute, where there is room.
fn last_minute(room: usize) -> Option<Column> {
    let head = match room {
        0..3 => return None,
        3..6 => "",
        6..11 => "MINUTE",
        _ => "LAST MINUTE",
    };
    Some(Column {
        head,
        width: room.min(MINUTE as usize),
        by: None,
        is_left: true,
        cell: |row, _, width, theme| {
            let trouble = row
                .trouble
                .as_deref()
                .map_or(&[][..], |trouble| &trouble[..]);
            (bars(trouble, width, theme.signs.bars), theme.doubtful())
        },
    })
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    title(buffer, area, state, theme);
    if area.height < layout::TABLE_HEAD {
        return;
    }
    let columns = columns(area.width.into(), state);
    heads(buffer, area, &columns, state, theme);
    let first = layout::first_row(state, area);
    let lines = area.y + layout::TABLE_HEAD..area.bottom();
    for ((place, row), y) in state.rows.iter().enumerate().skip(first).zip(lines) {
        let is_selected = place == state.selected() && state.view.focus == Focus::Table;
        let mut line = Line::default();
        for column in &columns {
            let (text, style) = (column.cell)(row, state, column.width, theme);
            let text = aligned(column, &text, theme);
            line.push_span(if is_selected {
                Span::raw(text)
            } else {
                part(text, style)
            });
            line.push_span(" ");
        }
        put(buffer, area.x, y, &line, area.width);
        if is_selected {
            let area = Rect {
                y,
                height: 1,
                ..area
            };
            buffer.set_style(area, theme.selected());
        }
    }
    if state.rows.is_empty() && area.height > layout::TABLE_HEAD {
        let text = if state.view.filter.is_empty() {
            "nothing yet"
        } else {
            "nothing matches the filter; Esc shows all"
        };
        let y = area.y + layout::TABLE_HEAD;
        put(
            buffer,
            area.x,
            y,
            &Line::styled(text, theme.faint()),
            area.width,
        );
    }
}

fn heads(buffer: &mut Buffer, area: Rect, columns: &[Column], state: &State, theme: &Theme) {
    let by = state.view.sort.column;
    let mut heads = Line::default();
    for column in columns {
        let is_sorted = column.by == Some(by) && by != By::Trouble;
        let style = if is_sorted {
            theme.strong()
        } else {
            theme.faint()
        };
        heads.push_span(part(aligned(column, column.head, theme), style));
        heads.push_span(" ");
    }
    put(buffer, area.x, area.y + 1, &heads, area.width);
}

fn aligned(column: &Column, text: &str, theme: &Theme) -> String {
    if column.is_left {
        return pad(text, column.width, theme);
    }
    let text = cut(text, column.width, theme);
    format!("{text:>width$}", width = column.width)
}

/// What a column that the table is sorted by is called in its title.
const fn order(by: By, grouping: Grouping) -> &'static str {
    match by {
        By::Trouble => "trouble",
        By::Open => "open sockets",
        By::Opened => "connections opened",
        By::Failed => "failed connects",
        By::Retransmits => "retransmits",
        By::Resets => "resets",
        By::Overflows => "time-wait overflows",
        By::Descriptors => "EMFILE",
        By::Gauge => match grouping {
            Grouping::Listener => "queue",
            _ => "descriptors",
        },
    }
}

fn title(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let view = &state.view;
    let sign = if view.sort.is_reversed {
        theme.signs.up
    } else {
        theme.signs.down
    };
    let what = match view.grouping {
        Grouping::Process => "processes",
        Grouping::Program => "programs",
        Grouping::Container => "containers and units",
        Grouping::Peer => "peers",
        Grouping::Listener => "listeners",
    };
    let mut title = vec![part(what, theme.strong())];
    let scope = match &view.scope {
        Some(Key::Program(group) | Key::Container(group)) => Some(format!(" of {group}")),
        Some(Key::Peer(peer)) => Some(format!(" with {peer}")),
        Some(Key::Listener(port)) => Some(format!(" at :{}", port.port)),
        Some(Key::Process(_)) | None => None,
    };
    title.extend(scope.map(|scope| part(scope, theme.notice())));
    let order = order(view.sort.column, view.grouping);
    title.push(part(
        format!(" by {order} {sign}, per second"),
        theme.faint(),
    ));
    if !view.filter.is_empty() {
        let text = format!("  filter: {}", view.filter.text());
        title.push(part(text, theme.notice()));
    }
    rule(buffer, area, title, theme);
}

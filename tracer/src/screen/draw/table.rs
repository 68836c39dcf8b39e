//! The table: a row a process, or a group of them.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Line};

use super::{
    conditions::fullness,
    line::{cut, cut_name, pad, part, rule},
    number::{bars, gauge, percent, rate, span},
    theme::Theme,
};
use crate::screen::{
    layout,
    state::{Column as By, Focus, Grouping, Key, MINUTE, Row, State},
};

/// A column: its head, its letters, what the table is sorted by for it, and a row's text.
struct Column {
    head: &'static str,
    width: usize,
    by: Option<By>,
    is_left: bool,
    cell: fn(&Row, &State, usize, &Theme) -> (String, Style),
}

const fn number(
    head: &'static str,
    width: usize,
    by: By,
    cell: fn(&Row, &State, usize, &Theme) -> (String, Style),
) -> Column {
    Column {
        head,
        width,
        by: Some(by),
        is_left: false,
        cell,
    }
}

/// The columns that fit into a width; the last takes what is left.
fn columns(width: usize, grouping: Grouping) -> Vec<Column> {
    let is_wide = width >= 120;
    let is_by_flow = matches!(grouping, Grouping::Peer | Grouping::Listener);
    let head = |wide, narrow| if is_wide { wide } else { narrow };
    let text = |head, width, cell| Column {
        head,
        width,
        by: None,
        is_left: true,
        cell,
    };
    // A peer's address is longer than a name, but has fewer columns beside it.
    let name = match (is_wide, is_by_flow) {
        (false, false) => 17,
        (false, true) => 24,
        (true, false) => 24,
        (true, true) => 44,
    };
    let mut columns = vec![text(
        grouping_head(grouping),
        name,
        |row, _, width, theme| (cut_name(&row.name(), width, theme), Style::new()),
    )];
    if is_wide || grouping != Grouping::Process {
        let head = match grouping {
            Grouping::Process => "UNIT, CONTAINER",
            _ => "PROCESSES",
        };
        let width = if is_wide { 20 } else { 14 };
        columns.push(text(head, width, |row, _, width, theme| {
            (cut_name(&row.note(), width, theme), theme.faint())
        }));
    }
    let is_tight = width < 100 && grouping != Grouping::Process;
    if !is_by_flow {
        columns.push(number("OPEN", 4, By::Open, |row, _, _, _| {
            let open = row.open.map_or_else(String::new, super::number::count);
            (open, Style::new())
        }));
        if !is_tight {
            columns.push(number(
                head("OPENS/S", "NEW"),
                if is_wide { 7 } else { 4 },
                By::Opened,
                |row, _, _, _| (rate(row.rates.opened), Style::new()),
            ));
        }
    }
    columns.push(number(
        head("FAILS/S", "FAIL"),
        if is_wide { 7 } else { 4 },
        By::Failed,
        |row, _, _, theme| (rate(row.rates.failed), theme.kind("connect_failed")),
    ));
    columns.push(number(
        head("RETRANS/S", "RTX"),
        if is_wide { 9 } else { 4 },
        By::Retransmits,
        |row, _, _, theme| (rate(row.rates.segs), theme.kind("retransmit")),
    ));
    if !is_tight || is_by_flow {
        columns.push(Column {
            by: None,
            ..number(
                head("SHARE", "RTX%"),
                if is_wide { 5 } else { 4 },
                By::Retransmits,
                |row, _, _, theme| {
                    (
                        row.share.map_or_else(String::new, percent),
                        theme.kind("retransmit"),
                    )
                },
            )
        });
    }
    columns.push(number(
        head("RESETS/S", "RST"),
        if is_wide { 8 } else { 4 },
        By::Resets,
        |row, _, _, theme| (rate(row.rates.resets), theme.kind("reset")),
    ));
    columns.push(number(
        head("TW-FULL/S", "TWO"),
        if is_wide { 9 } else { 4 },
        By::Overflows,
        |row, _, _, theme| (rate(row.rates.overflows), theme.kind("time_wait_overflow")),
    ));
    if !is_by_flow {
        columns.push(number(
            head("EMFILE/S", "EMFILE"),
            if is_wide { 8 } else { 6 },
            By::Descriptors,
            |row, _, _, theme| (rate(row.rates.descriptors), theme.kind("fd_exhausted")),
        ));
    }
    if grouping != Grouping::Peer {
        let head = match grouping {
            Grouping::Listener => "QUEUE",
            _ => head("DESCRIPTORS", "FDS"),
        };
        columns.push(number(
            head,
            if is_wide { 11 } else { 7 },
            By::Gauge,
            |row, _, _, theme| {
                row.gauge
                    .map_or_else(Default::default, |of| (gauge(of), fullness(of, theme)))
            },
        ));
    }
    if is_wide {
        columns.push(Column {
            by: None,
            ..number("FOR", 6, By::Trouble, |row, state, _, theme| {
                let since = row
                    .since
                    .map(|since| span(state.aggregate.now.since(since)));
                (since.unwrap_or_default(), theme.faint())
            })
        });
    }
    let used: usize = columns.iter().map(|column| column.width + 1).sum();
    let rest = width.saturating_sub(used).min(MINUTE as usize);
    let head = if rest < "LAST MINUTE".len() {
        "MINUTE"
    } else {
        "LAST MINUTE"
    };
    columns.push(text(head, rest, |row, _, width, theme| {
        let trouble = row
            .trouble
            .as_deref()
            .map_or(&[][..], |trouble| &trouble[..]);
        (bars(trouble, width, theme.signs.bars), theme.doubtful())
    }));
    columns
}

const fn grouping_head(grouping: Grouping) -> &'static str {
    match grouping {
        Grouping::Process => "PROCESS",
        Grouping::Program => "PROGRAM",
        Grouping::Container => "CONTAINER, UNIT",
        Grouping::Peer => "PEER",
        Grouping::Listener => "LISTENER",
    }
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

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    title(buffer, area, state, theme);
    if area.height < 2 {
        return;
    }
    let columns = columns(area.width.into(), state.view.grouping);
    let sort = state.view.sort;
    let mut heads = Line::default();
    for column in &columns {
        let is_sorted = column.by == Some(sort.column) && sort.column != By::Trouble;
        let style = if is_sorted {
            theme.strong()
        } else {
            theme.faint()
        };
        heads.push_span(part(aligned(column, column.head, theme), style));
        heads.push_span(" ");
    }
    buffer.set_line(area.x, area.y + 1, &heads, area.width);
    let first = layout::first_row(state, area);
    let rows = state.rows.iter().enumerate().skip(first);
    let lines = area.y + layout::TABLE_HEAD..area.bottom();
    let mut is_empty = true;
    for ((place, row), y) in rows.zip(lines.clone()) {
        is_empty = false;
        let mut line = Line::default();
        for column in &columns {
            let (text, style) = (column.cell)(row, state, column.width, theme);
            line.push_span(part(aligned(column, &text, theme), style));
            line.push_span(" ");
        }
        buffer.set_line(area.x, y, &line, area.width);
        if place == state.selected() && state.view.focus == Focus::Table {
            let area = Rect {
                y,
                height: 1,
                ..area
            };
            buffer.set_style(area, theme.selected());
        }
    }
    if is_empty && let Some(y) = lines.into_iter().next() {
        let text = if state.view.filter.is_empty() {
            "nothing yet"
        } else {
            "nothing matches the filter; Esc shows all"
        };
        buffer.set_line(area.x, y, &Line::styled(text, theme.faint()), area.width);
    }
}

fn aligned(column: &Column, text: &str, theme: &Theme) -> String {
    if column.is_left {
        return pad(text, column.width, theme);
    }
    let text = cut(text, column.width, theme);
    format!("{text:>width$}", width = column.width)
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
    match &view.scope {
        Some(Key::Program(group) | Key::Container(group)) => {
            title.push(part(format!(" of {group}"), theme.notice()))
        }
        Some(Key::Peer(peer)) => title.push(part(format!(" with {peer}"), theme.notice())),
        Some(Key::Listener(port)) => {
            title.push(part(format!(" at :{}", port.port), theme.notice()))
        }
        Some(Key::Process(_)) | None => {}
    }
    let order = order(view.sort.column, view.grouping);
    title.push(part(
        format!(" by {order} {sign}, per second"),
        theme.faint(),
    ));
    if !view.filter.is_empty() {
        title.push(part(
            format!("  filter: {}", view.filter.text()),
            theme.notice(),
        ));
    }
    rule(buffer, area, title, theme);
}

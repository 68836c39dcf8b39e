//! The page of a process: who it is, its limits and ancestors, what happened to it, its connections.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    conditions::fullness,
    line::{cut, part, put, rule, wrap},
    number::{age, bars, count, gauge, rate, span, time_of_day},
    stream,
    theme::Theme,
};
use crate::{
    document::{number::time, text::printable},
    fact::{Subject, name},
    identity::Pid,
    screen::state::{self, Conn, State, Trouble},
};

/// The letters of a field's name.
const FIELD: usize = 12;
/// The heads of the columns of connections.
pub(in crate::screen) const HEADS: [&str; 10] = [
    "PEER", "LOCAL", "STATE", "AGE", "SRTT", "RTX", "BACKOFF", "RTO", "TIMER", "UNACKED",
];
/// Lines of the connections above the first.
const CONNECTIONS_HEAD: u16 = 2;

/// Lines for the process's own events, on a screen of this many lines.
const fn stream_height(height: u16) -> u16 {
    height / 4
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, pid: Pid, theme: &Theme) {
    let title = part(title(state, pid), theme.strong());
    rule(buffer, area, vec![title], theme);
    let bottom = area.bottom().saturating_sub(stream_height(area.height));
    // Of the connections one is seen at least.
    let most = usize::from(bottom.saturating_sub(area.y + 1 + CONNECTIONS_HEAD + 1));
    let top = top(state, pid, area.width.into(), theme);
    let mut y = area.y + 1;
    for line in top.iter().skip(state.view.scrolled_page).take(most) {
        put(buffer, area.x, y, line, area.width);
        y += 1;
    }
    let table = Rect {
        y,
        height: bottom.saturating_sub(y),
        ..area
    };
    let scrolled = state.view.scrolled_page.saturating_sub(top.len());
    connections(buffer, table, state, scrolled, theme);
    let events = Rect {
        y: bottom,
        height: area.bottom().saturating_sub(bottom),
        ..area
    };
    its_events(buffer, events, state, pid, theme);
}

/// What it is called.
pub(in crate::screen) fn title(state: &State, pid: Pid) -> String {
    match state.described(pid) {
        Some(who) => format!("{}[{pid}]", state::name(&who)),
        None if pid.pid == 0 => "(owner unknown)".to_owned(),
        None => format!("[{}]", pid.pid),
    }
}

/// Lines that the page can be scrolled over.
pub(in crate::screen) fn length(state: &State, pid: Pid, width: usize, theme: &Theme) -> usize {
    top(state, pid, width, theme).len() + state.connections.len()
}

/// What stands above the connections, wrapped to a width.
fn top(state: &State, pid: Pid, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let bars = if width >= 120 { 60 } else { 12 };
    let lines = head(state, pid, theme)
        .into_iter()
        .chain(troubles(state, bars, theme));
    lines.flat_map(|line| wrap(line, width, FIELD)).collect()
}

fn field(name: &str, value: String, theme: &Theme) -> Line<'static> {
    Line::from(vec![
        part(format!("{name:<FIELD$}"), theme.faint()),
        Span::raw(value),
    ])
}

/// Who it is, and what it has.
pub(in crate::screen) fn head(state: &State, pid: Pid, theme: &Theme) -> Vec<Line<'static>> {
    let facts = &state.aggregate.facts;
    let subject = Subject::Process(pid);
    let number = |name| facts.number(&subject, name);
    let mut lines = Vec::new();
    let who = state.described(pid);
    let command = who.as_deref().and_then(|who| who.cmdline());
    if let Some(command) =
        command.or_else(|| facts.text(&subject, name::CMDLINE).map(str::to_owned))
    {
        lines.push(field("command", printable(&command), theme));
    }
    if let Some(who) = &who {
        let mut text = format!("started {} ago", span(state.aggregate.now.since(who.start)));
        if let Some(uid) = who.uid {
            text += &format!(", user {uid}");
        }
        let place = state::place(&who.place);
        if let Some(place) = place.or_else(|| facts.text(&subject, name::UNIT).map(str::to_owned)) {
            text += &format!(", {place}");
        }
        lines.push(field("process", text, theme));
    }
    let ancestors = state.ancestors(pid);
    if !ancestors.is_empty() {
        let chain: Vec<_> = ancestors
            .iter()
            .map(|parent| {
                let comm = state
                    .described(*parent)
                    .map_or_else(String::new, |who| state::name(&who));
                let limit = facts.number(&Subject::Process(*parent), name::LIMIT_SOFT);
                let limit = limit.map_or_else(String::new, |limit| format!(" (limit {limit})"));
                format!("{comm}[{}]{limit}", parent.pid)
            })
            .collect();
        lines.push(field(
            "parents",
            chain.join(&format!(" {} ", theme.signs.from)),
            theme,
        ));
    }
    if let Some(of) = state.conditions.descriptors.get(&pid) {
        let mut line = field("descriptors", String::new(), theme);
        line.push_span(part(gauge(*of), fullness(*of, theme)));
        if let Some(hard) = number(name::LIMIT_HARD) {
            line.push_span(Span::raw(format!(", hard limit {hard}")));
        }
        if let Some(sockets) = number(name::FDS_SOCKET) {
            line.push_span(Span::raw(format!("; {sockets} are sockets")));
        }
        lines.push(line);
    }
    if let Some(since) = state.since {
        let lasted = age(state.age(since));
        let text = if state.age(since).is_longer {
            format!("for {lasted}, since before the trace began")
        } else {
            format!("for {lasted}, since {} UTC", time_of_day(since))
        };
        lines.push(field("trouble", text, theme));
    }
    lines
}

/// What happened to it: the whole, the rate, the last minute, and what it consists of.
pub(in crate::screen) fn troubles(
    state: &State,
    width: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let line = |trouble: &Trouble| {
        let parts = trouble.parts.iter();
        let parts = parts.map(|(name, number)| format!("  {name} {}", count(*number)));
        let bars = bars(&trouble.minute, width, theme.signs.bars);
        Line::from(vec![
            part(format!("{:<20}", trouble.what), theme.kind(trouble.kind)),
            part(format!("{:>6}", count(trouble.total)), theme.strong()),
            Span::raw(format!("  {:>5}/s  ", rate(trouble.per_second))),
            part(format!("{bars:<width$}"), theme.doubtful()),
            part(parts.collect::<String>(), theme.faint()),
        ])
    };
    state.troubles.iter().map(line).collect()
}

/// The connections, from the one that the page is scrolled to on.
fn connections(buffer: &mut Buffer, area: Rect, state: &State, scrolled: usize, theme: &Theme) {
    let all = &state.connections;
    let text = format!("connections ({})", all.len());
    rule(buffer, area, vec![part(text, theme.strong())], theme);
    let widths = widths(area.width);
    if area.height > 1 {
        let heads = columns(widths, HEADS.map(str::to_owned), theme);
        put(
            buffer,
            area.x,
            area.y + 1,
            &Line::styled(heads, theme.faint()),
            area.width,
        );
    }
    for (conn, y) in all
        .iter()
        .skip(scrolled)
        .zip(area.y + CONNECTIONS_HEAD..area.bottom())
    {
        let style = if conn.has_ended {
            theme.faint()
        } else if conn.backoff > 0 {
            theme.doubtful()
        } else {
            ratatui::style::Style::new()
        };
        let text = columns(widths, cells(conn, state), theme);
        put(buffer, area.x, y, &Line::styled(text, style), area.width);
    }
}

/// A connection's texts in its columns.
pub(in crate::screen) fn cells(conn: &Conn, state: &State) -> [String; 10] {
    let remote = conn.ends.and_then(|ends| ends.remote);
    let local = conn.ends.map(|ends| ends.local);
    let some = |number: u64| {
        if number == 0 {
            String::new()
        } else {
            count(number)
        }
    };
    [
        remote.map_or_else(|| "-".to_owned(), |end| end.to_string()),
        local.map_or_else(|| "-".to_owned(), |end| end.to_string()),
        conn.state.clone(),
        conn.first
            .map_or_else(String::new, |first| span(state.aggregate.now.since(first))),
        conn.srtt_us
            .filter(|us| *us > 0)
            .map_or_else(String::new, time),
        some(conn.segs),
        some(conn.backoff),
        conn.rto_us
            .filter(|us| *us > 0)
            .map_or_else(String::new, time),
        conn.timer.clone().unwrap_or_default(),
        conn.unacked.map_or_else(String::new, some),
    ]
}

/// The widths of the columns. A narrow screen has no local end, timer and unacknowledged segments.
const fn widths(screen: u16) -> [usize; 10] {
    match screen {
        0..112 => [21, 0, 19, 6, 8, 5, 7, 8, 0, 0],
        112..160 => [27, 0, 19, 7, 9, 6, 7, 9, 10, 7],
        _ => [45, 24, 22, 7, 9, 6, 7, 9, 10, 7],
    }
}

/// The first three from the left, numbers from the right.
fn columns(widths: [usize; 10], cells: [String; 10], theme: &Theme) -> String {
    let mut line = String::new();
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if width == 0 {
            continue;
        }
        let cell = cut(cell, width, theme);
        if place < 3 {
            line += &format!("{cell:<width$} ");
        } else {
            line += &format!("{cell:>width$} ");
        }
    }
    line
}

fn its_events(buffer: &mut Buffer, area: Rect, state: &State, pid: Pid, theme: &Theme) {
    rule(
        buffer,
        area,
        vec![part("its events", theme.strong())],
        theme,
    );
    for (event, y) in state.events_of(pid).zip(area.y + 1..area.bottom()) {
        put(
            buffer,
            area.x,
            y,
            &stream::line(event, area.width.into(), theme),
            area.width,
        );
    }
}

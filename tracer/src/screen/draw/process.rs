//! The page of a process: who it is, its limits and ancestors, what happened to it, its connections.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    conditions::fullness,
    line::{cut, part, rule},
    number::{bars, count, gauge, rate, span},
    stream,
    theme::Theme,
};
use crate::{
    document::{number::time, text::printable},
    fact::{Subject, name},
    identity::Pid,
    screen::state::{self, Conn, Recent, State, Tally},
};

/// Lines for the process's own events, on a screen of this many lines.
const fn stream_height(height: u16) -> u16 {
    height / 4
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, pid: Pid, theme: &Theme) {
    let who = state.described(pid);
    let title = match &who {
        Some(who) => format!("{}[{pid}]", state::name(who)),
        None if pid.pid == 0 => "(owner unknown)".to_owned(),
        None => format!("[{}]", pid.pid),
    };
    rule(buffer, area, vec![part(title, theme.strong())], theme);
    let mut lines = head(state, pid, theme);
    lines.extend(trouble(
        state,
        pid,
        if area.width >= 120 { 60 } else { 12 },
        theme,
    ));
    let bottom = area.bottom().saturating_sub(stream_height(area.height));
    let mut y = area.y + 1;
    for line in &lines {
        if y < bottom {
            buffer.set_line(area.x, y, line, area.width);
            y += 1;
        }
    }
    let table = Rect {
        y,
        height: bottom.saturating_sub(y),
        ..area
    };
    connections(buffer, table, state, theme);
    let events = Rect {
        y: bottom,
        height: area.bottom().saturating_sub(bottom),
        ..area
    };
    its_events(buffer, events, state, pid, theme);
}

fn field(name: &str, value: String, theme: &Theme) -> Line<'static> {
    Line::from(vec![
        part(format!("{name:<12}"), theme.faint()),
        Span::raw(value),
    ])
}

fn head(state: &State, pid: Pid, theme: &Theme) -> Vec<Line<'static>> {
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
    lines
}

/// What happened to it: the whole, the rate, the last minute. A line each kind that did happen.
fn trouble(state: &State, pid: Pid, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let Some(process) = state.aggregate.process(pid) else {
        return lines;
    };
    let quiet = Recent::default();
    let recent = state.recent_of(pid).unwrap_or(&quiet);
    let rates = recent.rates(state.second());
    let totals = &process.totals;
    let mut add =
        |kind, what: &str, total: u64, per_second, count_of: fn(&Tally) -> u64, note: String| {
            if total == 0 {
                return;
            }
            let minute = recent.minute(state.second(), count_of);
            lines.push(Line::from(vec![
                part(format!("{what:<20}"), theme.kind(kind)),
                part(format!("{:>6}", count(total)), theme.strong()),
                Span::raw(format!("  {:>5}/s  ", rate(per_second))),
                part(
                    format!("{:<width$}", bars(&minute, width, theme.signs.bars)),
                    theme.doubtful(),
                ),
                part(note, theme.faint()),
            ]));
        };
    let calls: Vec<_> = process
        .descriptors
        .iter()
        .map(|((call, errno), sum)| {
            let call = call.map_or_else(|| "no call".to_owned(), |call| call.to_string());
            format!("  {errno} from {call} {}", count(sum.count))
        })
        .collect();
    add(
        "fd_exhausted",
        "out of descriptors",
        totals.fd_exhausted,
        rates.descriptors,
        |tally| tally.descriptors.into(),
        calls.concat(),
    );
    let mut errors = std::collections::BTreeMap::new();
    for (errno, count) in process.flows.values().flat_map(|flow| &flow.failed) {
        *errors.entry(*errno).or_insert(0u64) += count;
    }
    let errors: Vec<_> = errors
        .iter()
        .map(|(errno, sum)| format!("  {errno} {}", count(*sum)))
        .collect();
    add(
        "connect_failed",
        "connects failed",
        totals.connect_failed,
        rates.failed,
        |tally| tally.failed.into(),
        errors.concat(),
    );
    let mut causes = std::collections::BTreeMap::new();
    for (cause, segs) in process.flows.values().flat_map(|flow| &flow.retransmits) {
        *causes.entry(cause.name()).or_insert(0u64) += segs;
    }
    let causes: Vec<_> = causes
        .iter()
        .map(|(cause, segs)| format!("  {cause} {}", count(*segs)))
        .collect();
    add(
        "retransmit",
        "segments sent again",
        totals.retransmit_segs,
        rates.segs,
        |tally| tally.segs.into(),
        causes.concat(),
    );
    let resets = format!(
        "  sent {}, received {}",
        count(totals.resets_sent),
        count(totals.resets_received)
    );
    add(
        "reset",
        "resets",
        totals.resets_sent + totals.resets_received,
        rates.resets,
        |tally| tally.resets.into(),
        resets,
    );
    add(
        "time_wait_overflow",
        "time-wait overflows",
        totals.time_wait_overflow,
        rates.overflows,
        |tally| tally.overflows.into(),
        String::new(),
    );
    add(
        "connection",
        "connections ended",
        totals.connections,
        rates.opened,
        |tally| tally.opened.into(),
        format!("  {} open, rate of opened ones", count(process.sockets)),
    );
    lines
}

/// The connections, from the one that the page is scrolled to on.
fn connections(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let all = &state.connections;
    let text = format!("connections ({})", all.len());
    rule(buffer, area, vec![part(text, theme.strong())], theme);
    let widths = widths(area.width);
    if area.height > 1 {
        let heads = columns(
            widths,
            [
                "PEER", "LOCAL", "STATE", "AGE", "SRTT", "RTX", "BACKOFF", "RTO", "TIMER",
                "UNACKED",
            ]
            .map(str::to_owned),
            theme,
        );
        buffer.set_line(
            area.x,
            area.y + 1,
            &Line::styled(heads, theme.faint()),
            area.width,
        );
    }
    for (conn, y) in all
        .iter()
        .skip(state.view.scrolled_page)
        .zip(area.y + 2..area.bottom())
    {
        let style = if conn.has_ended {
            theme.faint()
        } else if conn.backoff > 0 {
            theme.doubtful()
        } else {
            ratatui::style::Style::new()
        };
        let text = columns(widths, cells(conn, state), theme);
        buffer.set_line(area.x, y, &Line::styled(text, style), area.width);
    }
}

fn cells(conn: &Conn, state: &State) -> [String; 10] {
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
    let own = state
        .events()
        .filter(|event| event.owner.as_ref().map(|who| who.id()).unwrap_or_default() == pid);
    for (event, y) in own.zip(area.y + 1..area.bottom()) {
        buffer.set_line(
            area.x,
            y,
            &stream::line(event, area.width.into(), theme),
            area.width,
        );
    }
}

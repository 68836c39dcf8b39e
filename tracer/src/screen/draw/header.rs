//! The first two lines: host, time, rate, losses; what is recorded, filtered, played, degraded.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    line::part,
    number::{clock, count, rate, time_of_day},
    theme::Theme,
};
use crate::screen::state::{Player, State};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    if area.height == 0 {
        return;
    }
    let lost = lost(state, theme);
    let mut line = Line::from(part("tcptrace", theme.strong()));
    if let Some(start) = &state.aggregate.start {
        line.push_span(Span::raw(format!("  {}", start.host)));
        line.push_span(part(format!("  Linux {}", start.kernel), theme.faint()));
    }
    line.push_span(Span::raw(format!("  {}", clock(state.elapsed()))));
    let per_second = rate(state.rates().events);
    let per_second = if per_second.is_empty() {
        "0"
    } else {
        &per_second
    };
    line.push_span(Span::raw(format!("  {per_second} events/s")));
    // What is lost must be seen, whatever else is cut.
    let width = u16::try_from(lost.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let left = area.width.saturating_sub(width + 1);
    buffer.set_line(area.x, area.y, &line, left);
    buffer.set_line(area.x + area.width - width, area.y, &lost, width);
    if area.height > 1 {
        let line = match &state.player {
            Some(player) => play(state, player, usize::from(area.width), theme),
            None => second(state, theme),
        };
        buffer.set_line(area.x, area.y + 1, &line, area.width);
    }
}

fn lost(state: &State, theme: &Theme) -> Line<'static> {
    let lost = state.aggregate.lost();
    let events = lost.ring_full + lost.map_full;
    let mut line = Line::default();
    if events > 0 {
        line.push_span(part(format!("LOST {} events", count(events)), theme.bad()));
    }
    if lost.skipped > 0 {
        if events > 0 {
            line.push_span(Span::raw("  "));
        }
        line.push_span(part(
            format!("{} skipped", count(lost.skipped)),
            theme.doubtful(),
        ));
    }
    if !lost.is_any() {
        line.push_span(part("nothing lost", theme.faint()));
    }
    line
}

fn second(state: &State, theme: &Theme) -> Line<'static> {
    let mut line = Line::default();
    if let Some((path, since)) = &state.recording {
        let time = clock(state.aggregate.now.since(*since));
        line.push_span(part(
            format!("{} recording {time}", theme.signs.record),
            theme.bad(),
        ));
        line.push_span(Span::raw(format!(" {}  ", path.display())));
    }
    if let Some(start) = &state.aggregate.start
        && !start.filters.is_empty()
    {
        let filters = start.filters.join(" ");
        line.push_span(part(format!("only {filters}  "), theme.notice()));
    }
    let degraded = state.degraded();
    if degraded.is_empty() {
        line.push_span(part("every hook on its best rung", theme.faint()));
    } else {
        line.push_span(part("degraded: ", theme.doubtful()));
        line.push_span(part(by_rung(&degraded), theme.faint()));
    }
    line
}

/// Hooks by the way they are watched: `accept, fd_exhausted by tracepoint; ...`.
fn by_rung(degraded: &[(&str, &str)]) -> String {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (hook, rung) in degraded {
        match groups.iter_mut().find(|(known, _)| known == rung) {
            Some((_, hooks)) => hooks.push(hook),
            None => groups.push((rung, vec![hook])),
        }
    }
    let told: Vec<_> = groups
        .iter()
        .map(|(rung, hooks)| {
            let by = if *rung == "inferred" { "" } else { "by " };
            format!("{} {by}{rung}", hooks.join(", "))
        })
        .collect();
    told.join("; ")
}

fn play(state: &State, player: &Player, width: usize, theme: &Theme) -> Line<'static> {
    let sign = if player.is_paused {
        theme.signs.pause
    } else {
        theme.signs.play
    };
    let whole = player.last.since(player.first);
    let done = state.aggregate.now.since(player.first).min(whole);
    let left = format!(
        "{sign} {}  {}  ",
        player.speed.name(),
        time_of_day(state.aggregate.now)
    );
    let right = format!("  {} of {}", clock(done), clock(whole));
    let room = width
        .saturating_sub(left.chars().count() + right.chars().count())
        .min(60);
    let full = if whole == 0 {
        room
    } else {
        (u128::from(done) * room as u128 / u128::from(whole)) as usize
    };
    let bar = theme.signs.bars[7].to_string().repeat(full);
    let rest = theme.signs.rule.repeat(room - full);
    Line::from(vec![
        part(left, theme.strong()),
        part(bar, theme.notice()),
        part(rest, theme.faint()),
        Span::raw(right),
    ])
}

//! The first two lines: host, time, rate, losses; what is recorded, filtered, played, degraded.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    line::{cut, part, put},
    number::{clock, count, rate, time_of_day},
    theme::Theme,
};
use crate::screen::state::{Player, State};

/// `Linux 5.10`
const LEAST_OF_KERNEL: usize = 10;
/// The bar that shows where in a recorded trace it is.
const BAR: usize = 60;
/// Where something is to be said beside it.
const SHORT_BAR: usize = 10;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    if area.height == 0 {
        return;
    }
    let lost = lost(state, theme);
    // What is lost must be seen, whatever else is cut.
    let width = u16::try_from(lost.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let left = area.width.saturating_sub(width + 1);
    let line = first(state, left.into(), theme);
    put(buffer, area.x, area.y, &line, left);
    put(buffer, area.x + area.width - width, area.y, &lost, width);
    if area.height > 1 {
        let line = match &state.player {
            Some(player) => play(state, player, usize::from(area.width), theme),
            None => second(state, theme),
        };
        put(buffer, area.x, area.y + 1, &line, area.width);
    }
}

/// Of a small screen and long names, the names are cut.
fn first(state: &State, width: usize, theme: &Theme) -> Line<'static> {
    let per_second = rate(state.rates().events);
    let per_second = if per_second.is_empty() {
        "0"
    } else {
        &per_second
    };
    let numbers = format!("  {}  {per_second} events/s", clock(state.elapsed()));
    let mut line = Line::from(part("tcptrace", theme.strong()));
    if let Some(start) = &state.aggregate.start {
        let room = |line: &Line<'_>| width.saturating_sub(line.width() + numbers.len() + 2);
        let host = cut(&start.host, room(&line), theme);
        line.push_span(Span::raw(format!("  {host}")));
        let kernel = format!("Linux {}", start.kernel);
        // A version of which nothing is left says nothing.
        if room(&line) >= kernel.len().min(LEAST_OF_KERNEL) {
            let kernel = cut(&kernel, room(&line), theme);
            line.push_span(part(format!("  {kernel}"), theme.faint()));
        }
    }
    line.push_span(Span::raw(numbers));
    line
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
    line.extend(notes(state, theme));
    if state.degraded().is_empty() {
        line.push_span(part("every hook on its best rung", theme.faint()));
    }
    line
}

/// What a trace lacks from its beginning: what it was narrowed to, and what is not seen in the best way.
fn notes(state: &State, theme: &Theme) -> Vec<Span<'static>> {
    let mut notes = Vec::new();
    if let Some(start) = &state.aggregate.start
        && !start.filters.is_empty()
    {
        let filters = start.filters.join(" ");
        notes.push(part(format!("only {filters}  "), theme.notice()));
    }
    let degraded = state.degraded();
    if !degraded.is_empty() {
        notes.push(part("degraded: ", theme.doubtful()));
        notes.push(part(by_rung(&degraded), theme.faint()));
    }
    notes
}

/// Hooks by the way they are watched: `accept, fd_exhausted by tracepoint; ...`.
pub(in crate::screen) fn by_rung(degraded: &[(&str, &str)]) -> String {
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
    let notes = notes(state, theme);
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
        .min(if notes.is_empty() || width >= 120 {
            BAR
        } else {
            SHORT_BAR
        });
    let full = if whole == 0 {
        room
    } else {
        (u128::from(done) * room as u128 / u128::from(whole)) as usize
    };
    let bar = theme.signs.bars[7].to_string().repeat(full);
    let rest = theme.signs.rule.repeat(room - full);
    let mut line = Line::from(vec![
        part(left, theme.strong()),
        part(bar, theme.notice()),
        part(rest, theme.faint()),
        Span::raw(right),
        Span::raw("  "),
    ]);
    line.extend(notes);
    line
}

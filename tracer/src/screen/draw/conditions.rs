//! How things stand: descriptors, queues, time-wait tables, stuck connections, counters since boot.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    line::{part, put},
    number::{count, gauge, percent},
    theme::Theme,
};
use crate::screen::state::{Conditions, Gauge, Queue, State, Stuck, name};

pub(super) fn draw(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let conditions = &state.conditions;
    let lines = [
        descriptors(state, theme),
        queues(state, theme),
        waiting(state, theme),
        since_boot(conditions, theme),
    ];
    for (line, y) in lines.iter().zip(area.y..area.bottom()) {
        put(buffer, area.x, y, line, area.width);
    }
}

fn label(text: &str, theme: &Theme) -> Line<'static> {
    Line::from(part(format!("{text:<12}"), theme.strong()))
}

/// What is used of what there is, in the colour of how little is left.
fn used(of: Gauge, theme: &Theme) -> Span<'static> {
    part(gauge(of), fullness(of, theme))
}

/// The colour of how little is left.
pub(super) fn fullness(of: Gauge, theme: &Theme) -> Style {
    if of.is_nearly_full() {
        theme.bad()
    } else if of.share() >= 0.7 {
        theme.doubtful()
    } else {
        Style::new()
    }
}

fn descriptors(state: &State, theme: &Theme) -> Line<'static> {
    let mut line = label("descriptors", theme);
    if let Some(files) = state.conditions.files {
        line.push_span(part("machine ", theme.faint()));
        line.push_span(used(files, theme));
        line.push_span(Span::raw("  "));
    }
    let fullest = &state.conditions.fullest;
    if fullest.is_empty() {
        line.push_span(part("no process's limit is known", theme.faint()));
    }
    // The fullest in any case, others where it may matter.
    let worth = |place: usize, of: &Gauge| place == 0 || of.share() >= 0.25;
    let fullest = fullest.iter().copied().enumerate();
    for (pid, of) in fullest
        .filter(|(place, (_, of))| worth(*place, of))
        .map(|(_, one)| one)
        .take(8)
    {
        let who = state
            .described(pid)
            .map_or_else(String::new, |who| name(&who));
        line.push_span(Span::raw(format!("{who}[{}] ", pid.pid)));
        line.push_span(used(of, theme));
        line.push_span(Span::raw("  "));
    }
    line
}

fn queues(state: &State, theme: &Theme) -> Line<'static> {
    let mut line = label("listeners", theme);
    let Conditions {
        queues,
        unread,
        namespaces,
        ..
    } = &state.conditions;
    if *unread > 0 {
        let text = match queues.len() {
            0 => "could not be read  ".to_owned(),
            _ => format!("could not be read in {unread} of {namespaces} namespaces  "),
        };
        line.push_span(part(text, theme.doubtful()));
    }
    if queues.is_empty() {
        if *unread == 0 {
            line.push_span(part("none", theme.faint()));
        }
        return line;
    }
    let waiting: Vec<&Queue> = queues.iter().filter(|queue| queue.gauge.used > 0).collect();
    if waiting.is_empty() {
        let text = match queues.len() {
            1 => "1, nobody waits in its queue".to_owned(),
            count => format!("{count}, nobody waits in their queues"),
        };
        line.push_span(part(text, theme.faint()));
    }
    for queue in waiting.into_iter().take(8) {
        let who = queue
            .pid
            .and_then(|pid| state.by_number(pid))
            .map_or_else(String::new, |who| format!(" {}", name(&who)));
        line.push_span(Span::raw(format!(":{}{who} ", queue.local.port())));
        line.push_span(used(queue.gauge, theme));
        line.push_span(Span::raw("  "));
    }
    line
}

/// The fullest time-wait table, and connections that get nothing through.
fn waiting(state: &State, theme: &Theme) -> Line<'static> {
    let conditions = &state.conditions;
    let mut line = label("time-wait", theme);
    match conditions.time_wait.first() {
        None => line.push_span(part("not known", theme.faint())),
        Some((netns, of)) => {
            line.push_span(used(*of, theme));
            if conditions.time_wait.len() > 1 {
                line.push_span(part(format!(" netns {netns}"), theme.faint()));
            }
        }
    }
    line.push_span(part("   stuck ", theme.strong()));
    let stuck = &conditions.stuck;
    let probing = stuck.iter().filter(|one| one.is_probing).count();
    let backing_off = stuck.len() - probing;
    if stuck.is_empty() {
        line.push_span(part("no connection", theme.faint()));
    }
    if backing_off > 0 {
        let text = format!("{backing_off} in retransmit back-off  ");
        line.push_span(part(text, theme.doubtful()));
    }
    if probing > 0 {
        let text = format!("{probing} with a persist timer  ");
        line.push_span(part(text, theme.doubtful()));
    }
    for one in stuck.iter().take(3) {
        line.push_span(Span::raw(connection(state, one, theme)));
    }
    line
}

fn connection(state: &State, one: &Stuck, theme: &Theme) -> String {
    let who = one
        .pid
        .and_then(|pid| state.by_number(pid))
        .map_or_else(String::new, |who| format!("{} ", name(&who)));
    let remote = one
        .ends
        .remote
        .map_or_else(String::new, |remote| remote.to_string());
    format!("{who}{} {remote} backoff {}  ", theme.signs.to, one.backoff)
}

fn since_boot(conditions: &Conditions, theme: &Theme) -> Line<'static> {
    let mut line = label("since boot", theme);
    if let Some((sent, again)) = conditions.segments {
        let text = format!("RetransSegs {}", count(again));
        let share = again as f64 / sent as f64;
        line.push_span(Span::raw(text));
        line.push_span(part(format!(" {}  ", percent(share)), theme.faint()));
    } else if conditions.namespaces == 0 {
        line.push_span(part("no counter was read", theme.faint()));
    } else {
        line.push_span(part("no segment was sent  ", theme.faint()));
    }
    for (name, value, growth) in &conditions.counters {
        line.push_span(Span::raw(format!("{name} {}", count(*value))));
        if *growth > 0 {
            line.push_span(part(format!(" +{}", count(*growth)), theme.doubtful()));
        }
        line.push_span(Span::raw("  "));
    }
    if conditions.namespaces > 1 {
        line.push_span(part(
            format!("({} namespaces)", conditions.namespaces),
            theme.faint(),
        ));
    }
    line
}

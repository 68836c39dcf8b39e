//! Findings: the panel above the table, and the page with evidence and remedy.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    line::{cut, part, put, rule, wrap},
    number::{age, span},
    theme::Theme,
};
use crate::{
    diagnose::{Finding, Seen},
    screen::state::State,
};

/// A line each.
pub(super) fn panel(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let mut room = usize::from(area.height);
    if state.findings.len() > room {
        room = room.saturating_sub(1);
    }
    let mut y = area.y;
    for finding in state.findings.iter().take(room) {
        let head = head(finding, theme);
        let (since, style) = match finding.seen {
            Seen::LongAgo(ago) => (format!("  last {} ago", span(ago)), theme.faint()),
            Seen::Lately | Seen::Lasting => (
                format!("  for {}", age(state.age(finding.first))),
                Style::default(),
            ),
        };
        let left = usize::from(area.width).saturating_sub(head.width() + since.len());
        let mut line = head;
        line.push_span(part(cut(&finding.sentence, left, theme), style));
        line.push_span(part(since, theme.faint()));
        put(buffer, area.x, y, &line, area.width);
        y += 1;
    }
    let more = state.findings.len().saturating_sub(room);
    if more > 0 && y < area.bottom() {
        let line = Line::styled(format!("  and {more} more: f"), theme.faint());
        put(buffer, area.x, y, &line, area.width);
    }
}

fn head(finding: &Finding, theme: &Theme) -> Line<'static> {
    let style = theme.severity(finding.severity);
    let sign = theme.signs.severities[finding.severity as usize];
    Line::from(vec![
        part(format!("{sign} {}", finding.name), style),
        Span::raw("  "),
    ])
}

/// With all there is to say, from the line that it is scrolled to on.
pub(super) fn page(buffer: &mut Buffer, area: Rect, state: &State, theme: &Theme) {
    let title = vec![part(
        format!("findings ({})", state.findings.len()),
        theme.strong(),
    )];
    rule(buffer, area, title, theme);
    let lines = lines(state, area.width.into(), theme);
    let seen = lines.iter().skip(state.view.scrolled_page);
    for (line, y) in seen.zip(area.y + 1..area.bottom()) {
        put(buffer, area.x, y, line, area.width);
    }
}

/// The page's lines.
pub(in crate::screen) fn lines(state: &State, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if state.findings.is_empty() {
        lines.push(Line::raw("Nothing is found to be wrong."));
    }
    for finding in &state.findings {
        let mut line = head(finding, theme);
        line.push_span(Span::raw(finding.sentence.clone()));
        lines.extend(wrap(line, width, 4));
        for evidence in &finding.evidence {
            let line = Line::from(vec![
                part(format!("    {} ", evidence.name), theme.faint()),
                part(evidence.value.clone(), theme.strong()),
                part(format!("  {}", evidence.source), theme.faint()),
            ]);
            lines.extend(wrap(line, width, 6));
        }
        for remedy in &finding.remedy {
            let line = Line::from(vec![
                part(format!("  {} ", theme.signs.to), theme.notice()),
                Span::raw(remedy.clone()),
            ]);
            lines.extend(wrap(line, width, 4));
        }
        lines.push(Line::styled(format!("    {}", finding.page), theme.faint()));
        lines.push(Line::default());
    }
    lines
}

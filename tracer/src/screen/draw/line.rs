//! Lines that are put together from left to right.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr as _;

use super::theme::Theme;

/// A text cut to a width, with a sign where something is missing. What is not printable was taken out
/// before.
#[must_use]
pub(super) fn cut(text: &str, width: usize, theme: &Theme) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for char in text.chars() {
        let wide = unicode_width::UnicodeWidthChar::width(char).unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        cut.push(char);
    }
    if width > 0 {
        cut.push(theme.signs.more);
    }
    cut
}

/// A name that ends in a pid, such as `redis-server[812]`, cut to a width: rather the name than the pid.
#[must_use]
pub(super) fn cut_name(name: &str, width: usize, theme: &Theme) -> String {
    match name.rfind('[') {
        Some(at) if name.ends_with(']') && name.width() > width => {
            let (comm, pid) = name.split_at(at);
            cut(comm, width.saturating_sub(pid.width()).max(1), theme) + pid
        }
        _ => cut(name, width, theme),
    }
}

/// A text cut or filled up to a width.
#[must_use]
pub(super) fn pad(text: &str, width: usize, theme: &Theme) -> String {
    let mut cut = cut(text, width, theme);
    let missing = width.saturating_sub(cut.width());
    cut.extend(std::iter::repeat_n(' ', missing));
    cut
}

/// A part of a line.
#[must_use]
pub(super) fn part<'a>(text: impl Into<std::borrow::Cow<'a, str>>, style: Style) -> Span<'a> {
    Span::styled(text, style)
}

/// A title with a rule up to the end of the line.
pub(super) fn rule(buffer: &mut Buffer, area: Rect, title: Vec<Span<'_>>, theme: &Theme) {
    if area.height == 0 {
        return;
    }
    let mut line = Line::from(vec![
        part(theme.signs.rule.repeat(2), theme.faint()),
        Span::raw(" "),
    ]);
    line.extend(title);
    line.push_span(Span::raw(" "));
    let rest = usize::from(area.width).saturating_sub(line.width());
    line.push_span(part(theme.signs.rule.repeat(rest), theme.faint()));
    buffer.set_line(area.x, area.y, &line, area.width);
}

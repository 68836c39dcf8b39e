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

/// Puts a line onto the screen, as [`Buffer::set_line`] does. To tell where a letter ends is most of what
/// drawing takes, and of plain ones it is known.
pub(super) fn put(buffer: &mut Buffer, x: u16, y: u16, line: &Line<'_>, width: u16) {
    let right = buffer.area.right().min(x.saturating_add(width));
    let mut at = x;
    for span in line {
        let style = line.style.patch(span.style);
        if span.content.chars().all(is_plain) {
            for (char, x) in span.content.chars().zip(at..right) {
                buffer[(x, y)].set_char(char).set_style(style);
                at = x + 1;
            }
        } else {
            let left = right.saturating_sub(at).into();
            (at, _) = buffer.set_stringn(at, y, &span.content, left, style);
        }
    }
}

/// Whether a character is a letter by itself, of width one, where all beside it are such.
const fn is_plain(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{2026}' | '\u{2190}'..='\u{2193}' | '\u{2500}'..='\u{257f}')
}

/// A line as so many lines of a width as it takes, broken between words; all but the first are indented.
#[must_use]
pub(super) fn wrap(line: Line<'static>, width: usize, indent: usize) -> Vec<Line<'static>> {
    if line.width() <= width || width <= 2 * indent {
        return vec![line];
    }
    let mut lines = Vec::new();
    let (mut spans, mut used) = (Vec::new(), 0);
    let mut begin = 0;
    for span in line.spans {
        for mut word in span.content.split_inclusive(' ') {
            while used + word.trim_end().width() > width {
                // What is wider than a line is broken anywhere.
                if used == begin {
                    let fits = fitting(word, width - used);
                    spans.push(Span::styled(word[..fits].to_owned(), span.style));
                    word = &word[fits..];
                }
                lines.push(Line::from(std::mem::take(&mut spans)));
                spans.push(Span::raw(" ".repeat(indent)));
                (used, begin) = (indent, indent);
            }
            used += word.width();
            spans.push(Span::styled(word.to_owned(), span.style));
        }
    }
    lines.push(Line::from(spans));
    lines
}

/// Bytes of a text's beginning that fit into a width, one letter at least.
fn fitting(text: &str, width: usize) -> usize {
    let mut used = 0;
    for (place, char) in text.char_indices() {
        used += unicode_width::UnicodeWidthChar::width(char).unwrap_or(0);
        if used > width && place > 0 {
            return place;
        }
    }
    text.len()
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
    put(buffer, area.x, area.y, &line, area.width);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the letters: wide ones, those of several characters, those that are not printable.
        #[test]
        fn a_line_is_put_as_ratatui_puts_it(
            spans in proptest::collection::vec("[ -~]{0,9}|[ -~…─→]{0,9}|[a\u{301}\u{200d}\u{fe0f}世👩→\u{1}]{0,9}|\\PC{0,9}", 0..5),
            x in 0..12u16,
            width in 0..30u16,
        ) {
            let mut line = Line::default().style(Style::new().bold());
            for (place, text) in (0..).zip(spans) {
                line.push_span(part(text, Style::new().fg(ratatui::style::Color::Indexed(place))));
            }
            let area = Rect::new(0, 0, 20, 2);
            let (mut ours, mut theirs) = (Buffer::empty(area), Buffer::empty(area));
            put(&mut ours, x, 1, &line, width);
            theirs.set_line(x, 1, &line, width);
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_line_is_wrapped_between_words_and_nothing_is_lost() {
        let line = || {
            Line::from(vec![
                Span::raw("command     "),
                Span::raw("java -cp /usr/share/a-long-path-that-fits-in-no-line.jar Main x"),
            ])
        };
        let wrapped = |width| {
            let lines = wrap(line(), width, 4);
            let texts = lines.iter().map(ToString::to_string);
            texts
                .map(|text| text.trim_end().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(wrapped(80).len(), 1);
        assert_eq!(
            wrapped(24),
            [
                "command     java -cp",
                "    /usr/share/a-long-pa",
                "    th-that-fits-in-no-l",
                "    ine.jar Main x"
            ]
        );
        for width in 0..80 {
            let without_spaces = |text: String| text.replace(' ', "");
            let all = without_spaces(wrapped(width).concat());
            assert_eq!(all, without_spaces(line().to_string()), "{width}");
        }
    }
}

//! A terminal's text with its colours as SVG.

use std::fmt::Write as _;

/// Width of a letter, height of a line, room around, all in pixels.
const LETTER: f64 = 8.4;
const LINE: f64 = 18.0;
const MARGIN: f64 = 14.0;
const INK: &str = "#d8dee9";
const PAPER: &str = "#14181f";
/// The sixteen colours.
const COLOURS: [&str; 16] = [
    "#3b4252", "#ff6b6b", "#8fce7a", "#f2c55c", "#6ca8f5", "#d492e8", "#5fd0d6", "#d8dee9",
    "#6b7487", "#ff8f8f", "#a9e296", "#ffdb85", "#93c3ff", "#e6b4f5", "#8be6ea", "#ffffff",
];

/// How letters look from an escape sequence on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Style {
    colour: Option<usize>,
    is_bold: bool,
    is_faint: bool,
    is_reversed: bool,
}

impl Style {
    /// Follows the numbers of an `ESC [ ... m`.
    fn apply(&mut self, numbers: &str) {
        let mut numbers = numbers.split(';').map(str::parse::<usize>);
        while let Some(number) = numbers.next() {
            match number {
                Ok(0) | Err(_) => *self = Self::default(),
                Ok(1) => self.is_bold = true,
                Ok(2) => self.is_faint = true,
                Ok(7) => self.is_reversed = true,
                Ok(22) => (self.is_bold, self.is_faint) = (false, false),
                Ok(27) => self.is_reversed = false,
                Ok(colour @ 30..=37) => self.colour = Some(colour - 30),
                Ok(colour @ 90..=97) => self.colour = Some(colour - 90 + 8),
                // 38;5;N: one of 256, of which the first sixteen are used.
                Ok(38) => {
                    let colour = numbers.nth(1).and_then(Result::ok);
                    self.colour = colour.filter(|colour| *colour < COLOURS.len());
                }
                Ok(39) => self.colour = None,
                Ok(_) => {}
            }
        }
    }
}

/// Letters of one look.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    column: usize,
    text: String,
    style: Style,
}

/// Takes a line apart at its escape sequences; the look goes on in the next line.
fn runs(line: &str, style: &mut Style) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut column = 0;
    let mut parts = line.split('\u{1b}');
    let mut push = |text: &str, style: Style| {
        if !text.is_empty() {
            runs.push(Run {
                column,
                text: text.to_owned(),
                style,
            });
            column += text.chars().count();
        }
    };
    push(parts.next().unwrap_or(""), *style);
    for part in parts {
        let end = part.find(|char: char| char.is_ascii_alphabetic());
        let Some((sequence, text)) = end.map(|end| part.split_at(end + 1)) else {
            continue;
        };
        if let Some(numbers) = sequence
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix('m'))
        {
            style.apply(numbers);
        }
        push(text, *style);
    }
    runs
}

/// The text of a screen of so many columns as SVG.
pub(super) fn svg(screen: &str, columns: usize, title: &str) -> String {
    let lines: Vec<&str> = screen.lines().collect();
    let width = LETTER * columns as f64 + 2.0 * MARGIN;
    let height = LINE * lines.len() as f64 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n\
         <title>{}</title>\n\
         <style>text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}}.b{{font-weight:bold}}.f{{opacity:.6}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n",
        escaped(title)
    );
    let mut style = Style::default();
    for (place, line) in lines.iter().enumerate() {
        for run in runs(line, &mut style) {
            write_run(&mut svg, &run, MARGIN + LINE * place as f64);
        }
    }
    svg + "</svg>\n"
}

fn write_run(svg: &mut String, run: &Run, top: f64) {
    let length = LETTER * run.text.chars().count() as f64;
    let left = MARGIN + LETTER * run.column as f64;
    let ink = run.style.colour.map_or(INK, |colour| COLOURS[colour]);
    let mut fill = ink;
    // Writing to a string does not fail.
    if run.style.is_reversed {
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{LINE}\" fill=\"{ink}\"/>"
        );
        fill = PAPER;
    }
    if run.text.trim().is_empty() {
        return;
    }
    let class = match (run.style.is_bold, run.style.is_faint) {
        (false, false) => "",
        (true, false) => " class=\"b\"",
        (false, true) => " class=\"f\"",
        (true, true) => " class=\"b f\"",
    };
    let _ = writeln!(
        svg,
        "<text x=\"{left:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{fill}\"{class}>{}</text>",
        top + 13.5,
        escaped(&run.text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_goes_on_until_it_is_changed() {
        let mut style = Style::default();
        let first = runs("a\u{1b}[1;38;5;1mbc", &mut style);
        let bold = Style {
            colour: Some(1),
            is_bold: true,
            ..Style::default()
        };
        assert_eq!(
            first,
            [
                Run {
                    column: 0,
                    text: "a".to_owned(),
                    style: Style::default()
                },
                Run {
                    column: 1,
                    text: "bc".to_owned(),
                    style: bold
                },
            ]
        );
        let second = runs("d\u{1b}[0me", &mut style);
        assert_eq!(second[0].style, bold);
        assert_eq!((second[1].column, second[1].style), (1, Style::default()));
    }

    #[test]
    fn markup_is_text() {
        let svg = svg("<&>", 3, "a > b");
        assert!(svg.contains(">&lt;&amp;&gt;</text>"), "{svg}");
        assert!(svg.contains("<title>a &gt; b</title>"));
    }
}

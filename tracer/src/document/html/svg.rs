//! Charts as inline SVG; colours are classes of the page's style.

use maud::{Markup, html};

use crate::document::chart::{Bars, Chart, Figure, Lines};

/// The drawing's size; the page scales it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
/// Room for the axes.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

pub(super) fn chart(chart: &Chart) -> Markup {
    match chart {
        Chart::Lines(chart) => lines(chart),
        Chart::Bars(chart) => bars(chart),
        Chart::Figures(numbers) => figures(numbers),
    }
}

fn x(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn frame(title: &str, drawing: &Markup, below: &Markup) -> Markup {
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) { (drawing) }
            (below)
        }
    }
}

fn lines(chart: &Lines) -> Markup {
    let points = chart
        .lines
        .iter()
        .map(|line| line.points.len())
        .max()
        .unwrap_or(0);
    let mut base = vec![0.0; points];
    // The edges of each line's area: from what lies below it to itself.
    let areas: Vec<(Vec<f64>, Vec<f64>)> = chart
        .lines
        .iter()
        .map(|line| {
            let below = base.clone();
            let edge: Vec<f64> = below
                .iter()
                .zip(&line.points)
                .map(|(base, value)| base + value)
                .collect();
            if chart.is_stacked {
                base.clone_from(&edge);
            }
            (below, edge)
        })
        .collect();
    let top = nice(
        areas
            .iter()
            .flat_map(|(_, edge)| edge)
            .fold(0.0, |top: f64, value| top.max(*value)),
    );
    let at = |place: usize| x((place as f64 + 0.5) / points.max(1) as f64);
    let path = |values: &[f64]| -> Vec<String> {
        values
            .iter()
            .enumerate()
            .map(|(place, value)| format!("{:.1},{:.1}", at(place), y(value / top)))
            .collect()
    };
    let hover = |place: usize| -> String {
        let values = chart.lines.iter().map(|line| {
            format!(
                "{}: {}",
                line.name,
                short(line.points.get(place).copied().unwrap_or(0.0))
            )
        });
        let time = format!("{} s", short(place as f64 * chart.step));
        std::iter::once(time)
            .chain(values)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let drawing = html! {
        (scale(top))
        @for (number, (below, edge)) in areas.iter().enumerate() {
            @if chart.is_stacked {
                @let back: Vec<_> = path(below).into_iter().rev().collect();
                polygon class=(format!("area c{number}")) points=(format!("{} {}", path(edge).join(" "), back.join(" "))) {}
            }
            polyline class=(format!("line c{number}")) points=(path(edge).join(" ")) {}
            @if points <= 30 && !chart.is_stacked {
                @for (place, value) in edge.iter().enumerate() {
                    circle class=(format!("dot c{number}")) cx=(format!("{:.1}", at(place))) cy=(format!("{:.1}", y(value / top))) r="2.5" {}
                }
            }
        }
        @for (share, label) in times(points as f64 * chart.step) {
            text.axis x=(format!("{:.1}", x(share))) y=(HEIGHT - 6.0) text-anchor=(if share > 0.97 { "end" } else { "middle" }) { (label) }
        }
        @for place in 0..points {
            rect.hover x=(format!("{:.1}", x(place as f64 / points as f64))) y=(TOP)
                width=(format!("{:.2}", (WIDTH - LEFT - RIGHT) / points as f64)) height=(HEIGHT - TOP - BOTTOM) {
                title { (hover(place)) }
            }
        }
    };
    let legend = html! {
        ul.legend {
            @for (number, line) in chart.lines.iter().enumerate() {
                li { span class=(format!("key c{number}")) {} (line.name) }
            }
        }
    };
    frame(&chart.title, &drawing, &legend)
}

fn figures(numbers: &[Figure]) -> Markup {
    html! {
        dl.figures {
            @for one in numbers {
                div class=[(one.is_trouble && one.number > 0).then_some("trouble")] {
                    dt { (one.name) }
                    dd { (one.number) }
                }
            }
        }
    }
}

fn bars(chart: &Bars) -> Markup {
    let top = nice(chart.bars.iter().map(|bar| bar.count).max().unwrap_or(0) as f64);
    let number = chart.bars.len().max(1) as f64;
    let width = (WIDTH - LEFT - RIGHT) / number;
    let drawing = html! {
        (scale(top))
        @for (place, bar) in chart.bars.iter().enumerate() {
            @let height = (bar.count as f64 / top) * (HEIGHT - TOP - BOTTOM);
            // What was met once among thousands must be seen.
            @let height = if bar.count > 0 { height.max(1.5) } else { 0.0 };
            rect.bar x=(format!("{:.1}", x(place as f64 / number) + 0.5)) y=(format!("{:.1}", HEIGHT - BOTTOM - height))
                width=(format!("{:.1}", (width - 1.0).max(0.5))) height=(format!("{height:.1}")) {}
            @if !bar.mark.is_empty() {
                text.axis x=(format!("{:.1}", x(place as f64 / number))) y=(HEIGHT - 6.0) text-anchor="middle" { (bar.mark) }
            }
            rect.hover x=(format!("{:.1}", x(place as f64 / number))) y=(TOP) width=(format!("{width:.2}")) height=(HEIGHT - TOP - BOTTOM) {
                title { (bar.range) ": " (bar.count) }
            }
        }
    };
    let note = html! { @if !chart.note.is_empty() { p.note { (chart.note) } } };
    frame(&chart.title, &drawing, &note)
}

/// Lines across the drawing with their values.
fn scale(top: f64) -> Markup {
    html! {
        @for quarter in [0.0, 0.5, 1.0] {
            line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(quarter)) y2=(y(quarter)) {}
            text.axis x=(LEFT - 6.0) y=(y(quarter) + 4.0) text-anchor="end" { (short(top * quarter)) }
        }
    }
}

/// A round number not below `top`.
fn nice(top: f64) -> f64 {
    if top <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(top.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|candidate| *candidate >= top * (1.0 - 1e-9))
        .unwrap_or(top)
}

/// Marks on an axis of time, as shares of its length.
fn times(seconds: f64) -> Vec<(f64, String)> {
    let step = nice(seconds / 6.0).max(1.0);
    let (unit, name) = if seconds >= 7_200.0 {
        (3_600.0, "h")
    } else if seconds >= 300.0 {
        (60.0, "min")
    } else {
        (1.0, "s")
    };
    let step = (step / unit).ceil() * unit;
    (0..)
        .map(|number| f64::from(number) * step)
        .take_while(|at| *at <= seconds)
        .map(|at| (at / seconds, format!("{} {name}", short(at / unit))))
        .collect()
}

/// A number with the digits that matter.
fn short(value: f64) -> String {
    match value {
        1e9.. => format!("{:.1}G", value / 1e9),
        1e6.. => format!("{:.1}M", value / 1e6),
        1e4.. => format!("{:.0}k", value / 1e3),
        _ if value.fract().abs() < 1e-9 => format!("{value:.0}"),
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::chart::{Bar, Line};

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(
            [nice(0.0), nice(3.0), nice(4.0), nice(41.0), nice(980.0)],
            [1.0, 4.0, 4.0, 50.0, 1000.0]
        );
        let labels: Vec<String> = times(10.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]);
        assert_eq!(
            [short(0.25), short(12.0), short(15_000.0)],
            ["0.25", "12", "15k"]
        );
    }

    #[test]
    fn every_value_is_drawn() {
        let shown = lines(&Lines {
            title: String::from("segments per second"),
            step: 1.0,
            lines: vec![
                Line {
                    name: String::from("a[1]"),
                    points: vec![0.0, 10.0],
                },
                Line {
                    name: String::from("<b>[2]"),
                    points: vec![5.0, 0.0],
                },
            ],
            is_stacked: false,
        })
        .into_string();
        // The top of the drawing, and its half.
        assert!(
            shown.contains(&format!("{:.1}", y(1.0))) && shown.contains(&format!("{:.1}", y(0.5))),
            "{shown}"
        );
        assert!(shown.contains("0 s\na[1]: 0\n&lt;b&gt;[2]: 5"), "{shown}");
        let shown = bars(&Bars {
            title: String::from("connect time"),
            bars: vec![Bar {
                range: String::from("1 to 2 us"),
                mark: String::from("1 us"),
                count: 7,
            }],
            note: String::new(),
        })
        .into_string();
        assert!(shown.contains("1 to 2 us: 7"), "{shown}");
    }
}

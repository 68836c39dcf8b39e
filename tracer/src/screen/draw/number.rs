//! Numbers and times in a few letters.

use crate::{
    screen::state::{Age, Gauge},
    time::Time,
};

/// In four letters at most: `9999`, `12k`, `1.2M`.
#[must_use]
pub(in crate::screen) fn count(number: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (1_000_000_000_000_000, "P"),
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
        (1_000, "k"),
    ];
    if number < 10_000 {
        return number.to_string();
    }
    for (unit, letter) in UNITS {
        if number >= 10 * unit {
            return format!("{}{letter}", number / unit);
        }
        if number >= unit {
            return format!("{}.{}{letter}", number / unit, number % unit * 10 / unit);
        }
    }
    number.to_string()
}

/// A rate in four letters; nothing for none, so that what happens stands out.
#[must_use]
pub(in crate::screen) fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        String::new()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        count(per_second.round() as u64)
    }
}

/// What is used of what there is; no limit is `-`.
#[must_use]
pub(in crate::screen) fn gauge(gauge: Gauge) -> String {
    let limit = if gauge.limit >= i64::MAX as u64 {
        "-".to_owned()
    } else {
        short(gauge.limit)
    };
    format!("{}/{limit}", short(gauge.used))
}

/// In three letters where that loses nothing: `1024` stays, `65536` is `65k`.
fn short(number: u64) -> String {
    count(number)
}

/// A share of one in four letters: `4%`, `100%`.
#[must_use]
pub(in crate::screen) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 {
        "<1%".to_owned()
    } else {
        format!("{:.0}%", share * 100.0)
    }
}

/// How long: `45s`, `3m12s`, `2h05m`, `4d07h`.
#[must_use]
pub(in crate::screen) fn span(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long something has lasted, `>` where it was there before the trace: `>3m12s`.
#[must_use]
pub(in crate::screen) fn age(age: Age) -> String {
    let sign = if age.is_longer { ">" } else { "" };
    format!("{sign}{}", span(age.ns))
}

/// How long, as a clock: `0:01:23`.
#[must_use]
pub(in crate::screen) fn clock(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    format!(
        "{}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The time of day to the millisecond, UTC.
#[must_use]
pub(in crate::screen) fn time_of_day(ts: Time) -> String {
    let ms = ts.0 / 1_000_000;
    let seconds = ms / 1_000;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        ms % 1_000
    )
}

/// Bars of values over time in so many letters, the highest for the most.
#[must_use]
pub(in crate::screen) fn bars(values: &[u64], width: usize, signs: [char; 8]) -> String {
    if values.is_empty() || width == 0 {
        return String::new();
    }
    let width = width.min(values.len());
    let sums: Vec<u64> = (0..width)
        .map(|place| {
            let from = place * values.len() / width;
            let until = (place + 1) * values.len() / width;
            // The mean: letters may stand for different numbers of seconds.
            values[from..until].iter().sum::<u64>() * 1_000 / (until - from).max(1) as u64
        })
        .collect();
    let most = sums.iter().copied().max().unwrap_or(0);
    sums.iter()
        .map(|sum| match (sum * 8).div_ceil(most.max(1)) {
            0 => ' ',
            level => signs[(level as usize).min(8) - 1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::draw::theme::Signs;

    #[test]
    fn numbers_fit_into_four_letters() {
        for (number, text) in [
            (0, "0"),
            (9_999, "9999"),
            (12_345, "12k"),
            (355_000, "355k"),
            (1_250_000, "1.2M"),
            (999_999_999, "999M"),
            (u64::MAX, "18446P"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(
            [0.0, 0.2, 9.94, 9.96, 355_000.0].map(rate),
            ["", "0.2", "9.9", "10", "355k"]
        );
    }

    #[test]
    fn times_have_two_units() {
        let second = 1_000_000_000;
        assert_eq!(
            [45, 192, 7_500, 370_800].map(|seconds| span(seconds * second)),
            ["45s", "3m12s", "2h05m", "4d07h"]
        );
        assert_eq!(clock(3_683 * second), "1:01:23");
    }

    #[test]
    fn the_most_has_the_highest_bar_and_nothing_has_none() {
        assert_eq!(bars(&[0, 1, 8, 4], 4, Signs::UNICODE.bars), " ▁█▄");
        assert_eq!(bars(&[1, 1, 0, 0], 2, Signs::UNICODE.bars), "█ ");
        assert_eq!(bars(&[0; 60], 10, Signs::UNICODE.bars).trim(), "");
    }
}

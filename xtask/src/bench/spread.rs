//! Several rounds' numbers in one: the middle one, and how far they lie apart.

use std::fmt;

/// The median of some numbers, and their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (low, high) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = if numbers.len() % 2 == 1 {
            numbers[middle]
        } else {
            f64::midpoint(numbers[middle - 1], numbers[middle])
        };
        Some(Self { median, low, high })
    }

    /// Half the range, in percent of the median; `None` where there is none.
    fn percent(self) -> Option<f64> {
        let half = (self.high - self.low) / 2.0;
        (half > 0.0 && self.median != 0.0).then(|| half / self.median.abs() * 100.0)
    }
}

/// The median with the formatter's precision, and the spread in percent.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        f.write_str(&grouped(self.median, digits))?;
        match self.percent() {
            Some(percent) => write!(f, " ±{percent:.0} %"),
            None => Ok(()),
        }
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    let (sign, text) = text
        .strip_prefix('-')
        .map_or(("", &*text), |rest| ("-", rest));
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_there() {
        let median = |numbers: &[f64]| Spread::of(numbers.iter().copied()).map(|it| it.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_spread_is_half_the_range() {
        let spread = Spread::of([90_000.0, 100_000.0, 106_000.0]).unwrap();
        assert_eq!(spread.to_string(), "100,000 ±8 %");
        assert_eq!(format!("{:.2}", Spread::of([-1.5]).unwrap()), "-1.50");
    }
}

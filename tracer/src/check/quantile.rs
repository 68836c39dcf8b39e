//! Quantiles, as budgets name them.

use std::{cmp::Ordering, fmt};

use serde::Deserialize;

/// A share of the values, from the smallest on: `p99`, or `max` for all.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Quantile(pub f64);

impl TryFrom<String> for Quantile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let percent = match text.strip_prefix('p').map(str::parse::<f64>) {
            Some(Ok(percent)) => percent,
            _ if text == "max" => 100.0,
            _ => f64::NAN,
        };
        if percent > 0.0 && percent <= 100.0 {
            Ok(Self(percent / 100.0))
        } else {
            Err(format!(
                "no quantile `{text}`; write p50, p99, \"p99.9\" or max"
            ))
        }
    }
}

impl Eq for Quantile {}

impl PartialOrd for Quantile {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantile {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1.0 {
            return f.write_str("max");
        }
        write!(f, "p{}", (self.0 * 1e6).round() / 1e4)
    }
}

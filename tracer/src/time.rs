//! An instant, as everything outside `kernel/` has it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Nanoseconds since 1970, UTC. Shown as RFC 3339 with nine digits of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Nanoseconds since an earlier instant, 0 where it is a later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn second(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => write!(f, "{time:.9}"),
            Err(_) => f.write_str("invalid"),
        }
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time: Timestamp = text
            .parse()
            .map_err(|_| format!("`{text}` is not a time; write it like 2026-01-31T12:00:00Z"))?;
        u64::try_from(time.as_nanosecond())
            .map(Self)
            .map_err(|_| format!("`{text}` is before 1970"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_nine_digits_and_is_read_back() {
        let text = "2023-11-14T22:13:25.000000001Z";
        let time: Time = text.parse().unwrap();
        assert_eq!(time, Time(1_700_000_005_000_000_001));
        assert_eq!(time.to_string(), text);
        assert!("yesterday".parse::<Time>().is_err());
    }
}

//! The Linux releases of the matrix, and the Debian suites that have them.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Result, ensure};

/// A Linux release without its stable updates, such as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) major: u16,
    pub(super) minor: u16,
}

const fn series(major: u16, minor: u16) -> Series {
    Series { major, minor }
}

/// Every release of the matrix.
pub(super) const ALL: &[Series] = &[
    series(5, 10),
    series(6, 1),
    series(6, 12),
    series(6, 16),
    series(6, 17),
    series(6, 18),
    series(6, 19),
    series(7, 0),
    series(7, 1),
    series(7, 2),
    series(7, 3),
];

/// The oldest, the newest, and those between them where most of what the tracer relies on has changed.
pub(super) const REPRESENTATIVE: &[Series] = &[
    series(5, 10),
    series(6, 1),
    series(6, 12),
    series(6, 18),
    series(7, 3),
];

/// A suite of the Debian archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    /// It is on the security archive, which is a site of its own.
    pub(super) security: bool,
    /// It gets no updates any more, so its index is past its date. The signature is checked all the same.
    pub(super) archived: bool,
}

const fn suite(name: &'static str) -> Suite {
    Suite {
        name,
        security: false,
        archived: false,
    }
}

const fn security(name: &'static str) -> Suite {
    Suite {
        name,
        security: true,
        archived: false,
    }
}

/// The suites that hold the kernels of the matrix.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        archived: true,
        ..suite("bullseye")
    },
    Suite {
        archived: true,
        ..security("bullseye-security")
    },
    suite("bookworm"),
    security("bookworm-security"),
    suite("bookworm-backports"),
    suite("trixie"),
    security("trixie-security"),
    suite("trixie-backports"),
];

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (major, minor) = text
            .split_once('.')
            .context("a Linux release is written like 6.12")?;
        let number = |text: &str| text.parse().context("a Linux release is written like 6.12");
        let series = series(number(major)?, number(minor)?);
        let known = ALL
            .iter()
            .map(Self::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        ensure!(
            ALL.contains(&series),
            "Linux {series} is not in the matrix, which has {known}"
        );
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_the_matrix_is_read() {
        assert_eq!("6.12".parse::<Series>().unwrap(), series(6, 12));
    }

    #[test]
    fn other_releases_are_refused() {
        for text in ["6", "6.12.1", "5.4", "six.one"] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_representatives_are_of_the_matrix_and_in_order() {
        assert!(REPRESENTATIVE.iter().all(|series| ALL.contains(series)));
        assert!(ALL.is_sorted() && REPRESENTATIVE.is_sorted());
    }
}

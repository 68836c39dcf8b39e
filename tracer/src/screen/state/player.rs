//! How a recorded trace is played.

use crate::time::Time;

/// How a recorded trace is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Player {
    /// The trace's first instant.
    pub first: Time,
    /// Its last instant.
    pub last: Time,
    /// How fast.
    pub speed: Speed,
    /// Whether time stands.
    pub is_paused: bool,
}

/// How fast a recorded trace is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speed {
    /// As it was.
    #[default]
    Real,
    /// Ten times as fast.
    Ten,
    /// As fast as it can be read.
    Max,
}

impl Speed {
    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Real => Self::Ten,
            Self::Ten => Self::Max,
            Self::Max => Self::Real,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Real => "1x",
            Self::Ten => "10x",
            Self::Max => "max",
        }
    }
}

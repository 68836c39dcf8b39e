//! Errors that end the program: what failed, why, what to do, and the exit code.

use std::{fmt, io};

/// What kind of failure it was; each kind has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line asks for something that does not exist. Exit code 2.
    Usage,
    /// No privilege, or the kernel lacks something. Exit code 3.
    Unsupported,
    /// Anything else. Exit code 5.
    Other,
}

impl Kind {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Unsupported => 3,
            Self::Other => 5,
        }
    }
}

/// A failure as the user reads it.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// What kind of input or output failed, if that was it.
    pub io: Option<io::ErrorKind>,
    what: String,
    hint: Option<String>,
}

impl Error {
    /// A mistake on the command line.
    #[must_use]
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            io: None,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    /// Something that the kernel does not have or does not allow.
    #[must_use]
    pub fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unsupported,
            io: None,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self {
            kind: Kind::Other,
            io: error.downcast_ref::<io::Error>().map(io::Error::kind),
            what: format!("{error:#}"),
            hint: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The program's result.
pub type Result<T> = std::result::Result<T, Error>;

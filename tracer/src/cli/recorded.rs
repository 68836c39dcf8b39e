//! A recorded trace, for every command that reads one.

use std::path::Path;

use crate::{
    aggregate::Aggregate,
    error::{Error, Result},
};

/// What a file comes to, and why it has no end where it was cut off.
pub(super) fn read(path: &Path) -> Result<(Aggregate, Option<String>)> {
    Err(Error::usage(
        format!("{}: reading traces is not there yet", path.display()),
        "trace live",
    ))
}

//! A recorded trace, for every command that reads one.

use std::path::Path;

use crate::{
    aggregate::Aggregate,
    error::Result,
    file::{self, Completeness},
    measure,
};

/// What a file comes to, and why it has no end where it was cut off, which is said on stderr too.
pub(super) fn read(path: &Path) -> Result<(Aggregate, Option<String>)> {
    let mut aggregate = Aggregate::default();
    let completeness = file::read(path, &mut aggregate)?;
    let truncated = warn(path, completeness);
    if truncated.is_some() {
        measure::complete(&mut aggregate);
    }
    Ok((aggregate, truncated))
}

/// Says on stderr that a trace was cut off, and returns why.
pub(super) fn warn(path: &Path, completeness: Completeness) -> Option<String> {
    match completeness {
        Completeness::Complete => None,
        Completeness::Truncated { reason } => {
            eprintln!("tcptrace: {} is truncated: {reason}", path.display());
            Some(reason)
        }
    }
}

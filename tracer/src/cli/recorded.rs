//! A recorded trace, for every command that reads one.

use std::path::Path;

use crate::{
    aggregate::Aggregate,
    error::Result,
    file::{self, Completeness},
};

/// What a file comes to, and why it has no end where it was cut off, which is said on stderr too.
pub(super) fn read(path: &Path) -> Result<(Aggregate, Option<String>)> {
    let mut aggregate = Aggregate::default();
    let truncated = match file::read(path, &mut aggregate)? {
        Completeness::Complete => None,
        Completeness::Truncated { reason } => {
            eprintln!("tcptrace: {} is truncated: {reason}", path.display());
            Some(reason)
        }
    };
    Ok((aggregate, truncated))
}

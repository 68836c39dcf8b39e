//! A trace for other programs: a sink per format.

mod jsonl;
mod parquet;
mod perfetto;

use std::{io, path::Path};

pub use self::{jsonl::Jsonl, parquet::Parquet, perfetto::Perfetto};
use crate::error::Error;

/// What could not be written.
#[must_use]
pub fn failed(path: &Path, error: io::Error) -> Error {
    Error::from(anyhow::Error::from(error).context(path.display().to_string()))
}

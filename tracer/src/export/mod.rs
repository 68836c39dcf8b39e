//! A trace for other programs: a sink per format.

mod jsonl;
mod parquet;
mod perfetto;

use std::{io, path::Path};

pub use self::{jsonl::Jsonl, parquet::Parquet, perfetto::Perfetto};
use crate::{
    error::{Error, Result},
    sink::Sink,
};

/// Takes a trace and makes files of it, which have their names when they are whole.
pub trait Exporter: Sink {
    /// Completes the files, also of a trace that has no end, and names them.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// What could not be written.
fn failed(path: &Path, error: io::Error) -> Error {
    Error::from(anyhow::Error::from(error).context(path.display().to_string()))
}

//! Trace files: an Arrow IPC stream of one flat table, `docs/trace-file.md`.
//!
//! [`Writer`] is a sink that records, [`read`] feeds what was recorded to another. Files of earlier
//! versions stay readable.

pub mod table;

pub(crate) mod batch;
mod column;
pub(crate) mod place;
mod write;

mod decode;
mod message;
mod read;
mod rows;

pub use self::{
    read::{Completeness, read, read_from},
    write::Writer,
};

/// The version of the format that is written. A reader takes this one and all earlier ones. Columns and
/// kinds of rows may be added without a new version: an older reader passes over them.
pub const VERSION: u32 = 1;

/// The schema's metadata that holds [`VERSION`].
const VERSION_KEY: &str = "tcptrace.version";
/// The schema's metadata that says what wrote the file.
const MADE_BY: &str = "tcptrace.made_by";

#[cfg(test)]
mod tests;

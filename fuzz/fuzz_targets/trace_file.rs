//! Any bytes are a trace, the beginning of one, or an error.

#![no_main]

#[path = "../readers.rs"]
mod readers;

use std::sync::LazyLock;

use tempfile::TempDir;

/// Where exports go, over and over.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if readers::read(bytes) {
        readers::export(bytes, FOLDER.path());
    }
});

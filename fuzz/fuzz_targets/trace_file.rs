//! Any bytes are a trace, the beginning of one, or an error.
//!
//! Begin with a real one: `cargo +nightly fuzz run trace_file fuzz/corpus/trace_file tracer/tests/data`.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tcptrace::{aggregate::Aggregate, file};

fuzz_target!(|bytes: &[u8]| {
    let mut aggregate = Aggregate::default();
    let _ = file::read_from(Path::new("fuzz"), bytes, bytes.len() as u64, &mut aggregate);
});

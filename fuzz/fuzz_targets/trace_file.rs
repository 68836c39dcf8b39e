//! Any bytes are a trace, the beginning of one, or an error.

#![no_main]

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::read(bytes);
});

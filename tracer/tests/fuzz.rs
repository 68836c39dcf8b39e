//! A bounded run of the fuzz target (`fuzz/`): a recorded trace, damaged.

#![expect(
    clippy::unwrap_used,
    reason = "what the test itself prepares must be there"
)]

#[path = "../../fuzz/readers.rs"]
mod readers;

use std::{fs, path::Path, sync::LazyLock};

use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use proptest::prelude::*;

/// A trace that the tool has written.
static RECORDED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read(data.join("v1.tcptrace")).unwrap()
});

/// The same, not compressed, so that damage reaches the values: the first batches and the last, with the end.
static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let reader = StreamReader::try_new(RECORDED.as_slice(), None).unwrap();
    let schema = reader.schema();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for batch in reader {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
});

/// Where a file is damaged, and what stands there then.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<u8>)>> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..3),
        // Lengths, offsets and counts that are far off.
        Just(vec![0xff; 8]),
        Just(vec![0; 8]),
        Just(i64::MAX.to_le_bytes().to_vec()),
        Just(i32::MAX.to_le_bytes().to_vec()),
    ];
    proptest::collection::vec((any::<prop::sample::Index>(), bytes), 1..8)
}

fn damaged(file: &[u8], damage: Vec<(prop::sample::Index, Vec<u8>)>) -> Vec<u8> {
    let mut file = file.to_vec();
    for (place, bytes) in damage {
        let place = place.index(file.len());
        let until = (place + bytes.len()).min(file.len());
        file.splice(place..until, bytes);
    }
    file
}

#[test]
fn what_is_damaged_here_is_a_trace_at_first() {
    assert!(readers::read(&RECORDED));
    assert!(readers::read(&PLAIN));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_trace_of_damaged_values_is_exported_or_an_error(damage in damage()) {
        let folder = tempfile::tempdir().unwrap();
        readers::export(&damaged(&PLAIN, damage), folder.path());
    }

    #[test]
    fn a_damaged_trace_is_read_or_an_error(damage in damage()) {
        readers::read(&damaged(&RECORDED, damage));
    }

    #[test]
    fn a_trace_of_damaged_values_is_read_or_an_error(damage in damage()) {
        readers::read(&damaged(&PLAIN, damage));
    }
}

//! Files that are cut, damaged, or none at all.

use proptest::prelude::*;

use super::{
    super::{Completeness, message, read},
    sample::{Fed, Part, bytes, read_bytes, trace},
};

/// Cut at every byte of its tail, and at many before: an error while the columns are not there, then the
/// parts so far, never a made-up end.
#[test]
fn a_file_that_is_cut_anywhere_gives_what_is_left_of_it() {
    let parts = trace(20, 10);
    let whole = bytes(&parts);
    let tail = whole.len() - 3_000;
    let mut longest = 0;
    for length in (0..tail).step_by(61).chain(tail..whole.len()) {
        let mut fed = Fed::default();
        match read_bytes(&whole[..length], &mut fed) {
            Err(error) => {
                assert_eq!(error.kind, crate::error::Kind::Usage, "{error}");
                assert!(fed.0.is_empty());
                assert_eq!(longest, 0, "at {length}: {error}");
            }
            Ok(Completeness::Truncated { reason }) => {
                assert!(reason.starts_with("at byte "), "{reason}");
                assert!(fed.0.len() >= longest, "at {length}");
                assert!(parts.starts_with(&fed.0), "at {length}");
                longest = fed.0.len();
            }
            // Only the stream's own end mark is missing.
            Ok(Completeness::Complete) => {
                assert!(length >= whole.len() - 8, "complete at {length}");
                assert_eq!(fed.0, parts);
            }
        }
    }
    assert_eq!(longest, parts.len() - 1);
}

#[test]
fn what_is_no_trace_is_an_error_that_says_so() {
    let said = |bytes: &[u8]| {
        let error = read_bytes(bytes, &mut Fed::default()).unwrap_err();
        assert_eq!(error.kind, crate::error::Kind::Usage);
        error.to_string()
    };
    assert!(said(b"").contains("it is empty"), "{}", said(b""));
    let text = b"{\"event\":\"start\",\"schema\":1}\n";
    assert!(said(text).contains("not a trace"), "{}", said(text));
    let folder = tempfile::tempdir().unwrap();
    let error = read(folder.path(), &mut Fed::default()).unwrap_err();
    assert!(error.to_string().contains("not a plain file"), "{error}");
    let missing = folder.path().join("missing");
    let error = read(&missing, &mut Fed::default()).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}

/// A count that no counter gets to is damage: it ends the trace, and is added to nothing.
#[test]
fn a_number_below_zero_or_beyond_reason_is_damage() {
    for number in [-1, 1 << 60, i64::MAX] {
        let mut parts = trace(3, 10);
        let last = parts.len() - 1;
        let Some(Part::End(end)) = parts.last_mut() else {
            panic!("an end");
        };
        end.processes[0].totals.connections = number as u64;
        let mut fed = Fed::default();
        let completeness = read_bytes(&bytes(&parts), &mut fed).unwrap();
        assert!(
            matches!(&completeness, Completeness::Truncated { reason } if reason.contains(&format!("counts to {number}"))),
            "{completeness:?}"
        );
        assert!(fed.0.starts_with(&parts[..last]));
        assert!(!matches!(fed.0.last(), Some(Part::End(_))));
    }
}

fn small() -> &'static [u8] {
    static SMALL: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| bytes(&trace(60, 20)));
    &SMALL
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Damaged anywhere: an error, or some of it. Never a panic, and no memory beyond the file's size in proportion.
    #[test]
    fn a_damaged_file_never_panics(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut damaged = small().to_vec();
        for (place, byte) in places {
            let place = place.index(damaged.len());
            damaged[place] = byte;
        }
        let _ = read_bytes(&damaged, &mut Fed::default());
    }

    #[test]
    fn random_bytes_are_no_trace(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(read_bytes(&bytes, &mut Fed::default()).is_err());
    }

    /// Whole messages, in any order and number.
    #[test]
    fn messages_in_disorder_never_panic(
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let messages = messages(small());
        let mut mixed = messages[0].to_vec();
        for pick in picks {
            mixed.extend_from_slice(messages[pick.index(messages.len())]);
        }
        let _ = read_bytes(&mixed, &mut Fed::default());
    }
}

/// The messages of a file, as bytes.
fn messages(file: &[u8]) -> Vec<&[u8]> {
    let mut messages = message::Messages::new(file, file.len() as u64);
    let mut starts = Vec::new();
    while messages.next().unwrap() == message::Next::Message {
        starts.push(messages.offset as usize);
    }
    starts.push(messages.offset as usize);
    starts
        .windows(2)
        .map(|pair| &file[pair[0]..pair[1]])
        .collect()
}

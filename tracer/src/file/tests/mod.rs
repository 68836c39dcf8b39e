//! What is written is read back as it was, and no file, however broken, does more than end early.

mod damage;
mod sample;
mod size;
mod versions;

use std::{fs, io, path::Path, rc::Rc};

use self::sample::{Fed, Part, bytes, read_bytes, trace, write_forced};
use super::{Completeness, Writer, column, read, table};

#[test]
fn what_was_recorded_is_fed_again() {
    let parts = trace(200, 30);
    let mut fed = Fed::default();
    assert_eq!(
        read_bytes(&bytes(&parts), &mut fed).unwrap(),
        Completeness::Complete
    );
    assert_eq!(fed.0.len(), parts.len());
    for (fed, part) in fed.0.iter().zip(&parts) {
        assert_eq!(fed, part);
    }
}

#[test]
fn a_trace_of_many_batches_is_fed_again_and_an_owner_stays_one() {
    let events = 3 * column::ROWS as u64 + 17;
    let parts = trace(events, 20_000);
    let mut fed = Fed::default();
    read_bytes(&bytes(&parts), &mut fed).unwrap();
    assert!(fed.0 == parts, "the parts differ");
    let mut redis = fed.0.iter().filter_map(|part| match part {
        Part::Event(event) => event.owner.clone().filter(|who| who.pid == 7),
        _ => None,
    });
    let first = redis.next().unwrap();
    assert!(redis.all(|who| Rc::ptr_eq(&who, &first)));
}

#[test]
fn a_writer_that_is_dropped_leaves_a_truncated_file_with_all_its_rows() {
    let parts = trace(100, 30);
    let (_, begun) = parts.split_last().unwrap();
    let mut fed = Fed::default();
    let completeness = read_bytes(&bytes(begun), &mut fed).unwrap();
    assert!(matches!(completeness, Completeness::Truncated { .. }));
    assert_eq!(fed.0, begun);
}

#[test]
fn an_existing_file_stays_unless_forced_and_nobody_else_may_read_it() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    fs::write(&path, "mine").unwrap();
    let error = Writer::create(&path, false).err().unwrap();
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    // One that never ran leaves nothing, and replaces nothing.
    let parts = trace(1, 1);
    let begun = |path: &Path| {
        let mut writer = Writer::create(path, true).unwrap();
        parts[0].feed(&mut writer).unwrap();
    };
    begun(&path);
    begun(&folder.path().join("new"));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    write_forced(&path, &parts);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(read(&path, &mut Fed::default()).is_ok());
    // What a link points to is not touched.
    let target = folder.path().join("target");
    fs::write(&target, "other").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write_forced(&link, &parts);
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    assert_eq!(fs::read(&target).unwrap(), b"other");
    // Nor is one that somebody else has made meanwhile.
    let late = folder.path().join("late");
    let mut writer = Writer::create(&late, false).unwrap();
    fs::write(&late, "other").unwrap();
    let fed: io::Result<()> = parts.iter().try_for_each(|part| part.feed(&mut writer));
    assert!(fed.unwrap_err().to_string().contains("exists"));
    drop(writer);
    assert_eq!(fs::read(&late).unwrap(), b"other");
}

/// `docs/trace-file.md` has each column, in order.
#[test]
fn every_column_is_documented() {
    let page = include_str!("../../../../docs/trace-file.md");
    let (_, rest) = page.split_once("<!-- columns: those of").unwrap();
    let (table, _) = rest.split_once("<!-- columns: end -->").unwrap();
    let documented: Vec<&str> = table.lines().skip(3).collect();
    let expected: Vec<String> = table::COLUMNS
        .iter()
        .map(|(name, kind, meaning)| format!("| `{name}` | {kind} | {} |", meaning.trim()))
        .collect();
    assert_eq!(documented, expected);
}

//! Files of other versions, and of later programs of the same one.

use std::{path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringViewArray, new_null_array,
    types::{Int16Type, Int32Type},
};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{DataType, Field, Schema, TimeUnit, UnionFields, UnionMode};

use super::{
    super::{Completeness, VERSION, read},
    sample::{Fed, Part, bytes, read_bytes, trace},
};
use crate::{
    aggregate::Aggregate,
    event::Detail,
    report::{self, Report},
};

#[test]
fn a_later_version_is_an_error_that_names_both() {
    let mut whole = bytes(&trace(1, 1));
    let key = b"tcptrace.version";
    let at = whole
        .windows(key.len())
        .position(|window| window == key)
        .unwrap();
    // The value is the flatbuffer's string that stands nearest: a length of 1, then the digit.
    let value = [1, 0, 0, 0, b'1', 0];
    let places: Vec<usize> = whole
        .windows(value.len())
        .enumerate()
        .filter(|(_, window)| *window == value)
        .map(|(place, _)| place + 4)
        .collect();
    let place = places
        .into_iter()
        .min_by_key(|place| place.abs_diff(at))
        .unwrap();
    whole[place] = b'9';
    let error = read_bytes(&whole, &mut Fed::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("format version 9"), "{text}");
    assert!(text.contains("reads versions 1 to 1"), "{text}");
}

/// Files of earlier versions stay readable. `tests/data/` holds one of each, made by the tool of its time.
#[test]
fn files_of_all_versions_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for version in 1..=VERSION {
        let path = folder.join(format!("v{version}.tcptrace"));
        let mut fed = Fed::default();
        assert_eq!(
            read(&path, &mut fed).unwrap(),
            Completeness::Complete,
            "version {version}"
        );
        let kinds: std::collections::BTreeSet<&str> = fed
            .0
            .iter()
            .filter_map(|part| match part {
                Part::Event(event) => Some(event.detail.kind()),
                _ => None,
            })
            .collect();
        assert!(
            ["connection", "connect_failed", "fd_exhausted", "state"]
                .iter()
                .all(|kind| kinds.contains(kind)),
            "version {version}: {kinds:?}"
        );
        assert!(matches!(fed.0.first(), Some(Part::Start(_))));
        assert!(matches!(fed.0.last(), Some(Part::End(end)) if !end.processes.is_empty()));
        // Its numbers stay the same.
        let mut aggregate = Aggregate::default();
        read(&path, &mut aggregate).unwrap();
        let mut report = Report::of(&aggregate, report::Part::All, None);
        report.findings.clear();
        let report = serde_json::to_string_pretty(&report).unwrap();
        insta::assert_snapshot!(format!("v{version}"), report);
    }
}

/// A file of a later program of the same version: it has columns of every type and a kind of row that are not known here, and
/// lacks a column.
#[test]
fn what_is_not_known_is_passed_over_and_what_is_missing_is_null() {
    let parts = trace(20, 10);
    let whole = bytes(&parts);
    let reader = StreamReader::try_new(whole.as_slice(), None).unwrap();
    let schema = reader.schema();
    let lacks = |field: &Field| field.name() == "srtt_us";
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| !lacks(field))
        .collect();
    let texts = Field::new_dictionary("text_of_later", DataType::Int16, DataType::Utf8, true);
    let later = types_of_later().into_iter().enumerate();
    let later = later.map(|(place, kind)| Field::new(format!("of_later_{place}"), kind, true));
    let fields = fields.into_iter().map(|field| field.as_ref().clone());
    let fields: Vec<Field> = later.chain(fields).chain([texts]).collect();
    let metadata = schema.metadata().clone();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for batch in reader {
        let batch = batch.unwrap();
        let rows = batch.num_rows();
        let mut write = |batch: &RecordBatch| {
            let column = |field: &Arc<Field>| -> ArrayRef {
                match (field.name().as_str(), batch.column_by_name(field.name())) {
                    (_, Some(column)) => Arc::clone(column),
                    (name, _) if name.starts_with("of_later") => {
                        of_later(field.data_type(), batch.num_rows())
                    }
                    _ => Arc::new(DictionaryArray::<Int16Type>::from_iter(
                        (0..batch.num_rows()).map(|row| (row % 2 == 0).then_some("later")),
                    )),
                }
            };
            let columns = schema.fields().iter().map(column).collect();
            writer
                .write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
                .unwrap();
        };
        write(&batch.slice(0, 1));
        // The same rows once more, as a kind that is not known.
        let kinds: DictionaryArray<Int16Type> = (0..rows).map(|_| Some("of_later")).collect();
        let mut columns = batch.columns().to_vec();
        columns[batch.schema().index_of("event").unwrap()] = Arc::new(kinds);
        write(&RecordBatch::try_new(batch.schema(), columns).unwrap());
        write(&batch.slice(1, rows - 1));
    }
    writer.finish().unwrap();

    let mut fed = Fed::default();
    let completeness = read_bytes(&writer.into_inner().unwrap(), &mut fed);
    assert_eq!(completeness.unwrap(), Completeness::Complete);
    let parts: Vec<Part> = parts.into_iter().map(without_srtt).collect();
    assert_eq!(fed.0, parts);
}

/// A type of each layout that Arrow has.
fn types_of_later() -> Vec<DataType> {
    let item = |kind| Arc::new(Field::new("item", kind, true));
    let name = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let entries = [item(DataType::Utf8), item(DataType::Float32)];
    let of_union = || {
        let fields = [DataType::Int64, DataType::Utf8].map(item);
        UnionFields::try_new([0, 1], fields).unwrap()
    };
    vec![
        DataType::Int64,
        DataType::Null,
        DataType::Float64,
        DataType::Utf8,
        DataType::LargeBinary,
        DataType::FixedSizeBinary(3),
        DataType::Utf8View,
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::List(item(name())),
        DataType::LargeList(item(DataType::Utf8View)),
        DataType::ListView(item(DataType::Boolean)),
        DataType::FixedSizeList(item(DataType::Int8), 2),
        DataType::Struct(entries.into_iter().collect()),
        DataType::Union(of_union(), UnionMode::Sparse),
        DataType::Union(of_union(), UnionMode::Dense),
        DataType::RunEndEncoded(
            Arc::new(Field::new("run_ends", DataType::Int32, false)),
            item(DataType::Utf8),
        ),
        name(),
    ]
}

/// A column of a type; of some with values, so that they have what is not in each batch.
fn of_later(kind: &DataType, rows: usize) -> ArrayRef {
    match kind {
        DataType::Int64 => Arc::new(Int64Array::from(vec![-1; rows])),
        DataType::Utf8View => {
            Arc::new(StringViewArray::from_iter_values((0..rows).map(|row| {
                format!("a text that is too long to stand in its view, {row}")
            })))
        }
        DataType::Dictionary(..) => Arc::new(DictionaryArray::<Int32Type>::from_iter(
            std::iter::repeat_n(Some("later"), rows),
        )),
        kind => new_null_array(kind, rows),
    }
}

fn without_srtt(mut part: Part) -> Part {
    if let Part::Event(event) = &mut part
        && let Detail::Connection { srtt_us, .. } | Detail::Retransmit { srtt_us, .. } =
            &mut event.detail
    {
        *srtt_us = None;
    }
    part
}

//! What is written is read back as it was, and no file, however broken, does more than end early.

use std::{borrow::Cow, fs, io, net::SocketAddr, path::Path, rc::Rc, sync::Arc};

use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringViewArray, new_null_array,
    types::{Int16Type, Int32Type},
};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{DataType, Field, Schema, TimeUnit, UnionFields, UnionMode};
use proptest::prelude::*;
use tracer_common::{
    conn::OwnerSource,
    hook::Hook,
    process::Totals,
    record::{Cause, End as Ending},
    tcp::state,
};

use super::{Completeness, Writer, read, read_from};
use crate::{
    aggregate::Aggregate,
    event::{Detail, Direction, Ends, Errno, Event, LostReason, Role, State, Syscall, UsInState},
    fact::{Fact, Subject, Value},
    identity::{Identity, cgroup::Place},
    kernel::counters::{HookRow, Lost},
    report::{self, Report},
    sink::Sink,
    time::Time,
    trace::frame::{End, HookStart, ProcessRow, Start, Sums},
};

/// Everything that a sink was fed, in order.
#[derive(Debug, Default, PartialEq)]
struct Fed(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Start(Start),
    Event(Event),
    Fact(Fact),
    Sums(Sums),
    End(End),
}

impl Part {
    fn feed(&self, sink: &mut dyn Sink) -> io::Result<()> {
        match self {
            Self::Start(start) => sink.start(start),
            Self::Event(event) => sink.event(event),
            Self::Fact(fact) => sink.fact(fact),
            Self::Sums(sums) => sink.sums(sums),
            Self::End(end) => sink.end(end),
        }
    }
}

impl Sink for Fed {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.0.push(Part::Start(start.clone()));
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.0.push(Part::Event(event.clone()));
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.0.push(Part::Fact(fact.clone()));
        Ok(())
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.0.push(Part::Sums(sums.clone()));
        Ok(())
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.0.push(Part::End(end.clone()));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_700_000_000 * SECOND;

pub(super) fn who(pid: u32, comm: &str, cgroup: &str) -> Rc<Identity> {
    Rc::new(Identity {
        pid,
        start: Time(BEGIN - u64::from(pid)),
        uid: (pid != 9).then_some(pid * 10),
        ppid: pid / 2,
        comm: comm.to_owned(),
        args: vec![format!("/usr/bin/{comm}")],
        place: Place::of(cgroup),
    })
}

fn owners() -> Vec<Option<Rc<Identity>>> {
    let docker = format!("/system.slice/docker-{}.scope", "ab".repeat(32));
    vec![
        Some(who(7, "redis-server", "/system.slice/redis-server.service")),
        Some(who(8, "curl", &docker)),
        // An exec: the same process under another name.
        Some(who(8, "wget", &docker)),
        Some(who(9, "naïve\u{1b}", "/")),
        None,
    ]
}

pub(super) fn ends(local: &str, remote: Option<&str>) -> Option<Ends> {
    Some(Ends {
        local: local.parse().unwrap(),
        remote: remote.map(|remote| remote.parse().unwrap()),
    })
}

fn details() -> Vec<Detail> {
    let mut us_in_state = UsInState::default();
    us_in_state.0[state::SYN_SENT as usize] = 12;
    us_in_state.0[state::ESTABLISHED as usize] = 0;
    us_in_state.0[state::CLOSING as usize] = u64::from(u32::MAX) + 7;
    vec![
        Detail::State {
            old: State(state::CLOSE),
            new: State(0),
            in_old_us: None,
        },
        Detail::State {
            old: State(state::SYN_RECV),
            new: State(state::ESTABLISHED),
            in_old_us: Some(17),
        },
        Detail::Connection {
            duration_us: Some(653),
            connect_us: None,
            bytes_sent: 1 << 40,
            bytes_received: 0,
            segs_out: Some(40),
            segs_retrans: 3,
            srtt_us: Some(33),
            end: Ending::ResetRemote,
            errno: Some(Errno(104)),
            role: Some(Role::Passive),
            us_in_state,
        },
        Detail::Connection {
            duration_us: None,
            connect_us: Some(1),
            bytes_sent: 1,
            bytes_received: 2,
            segs_out: Some(6),
            segs_retrans: 0,
            srtt_us: None,
            end: Ending::TimeWaitOverflow,
            errno: None,
            role: None,
            us_in_state: UsInState::default(),
        },
        Detail::Retransmit {
            cause: Cause::LossRecovery,
            segs: 2,
            seq: u32::MAX,
            backoff: 5,
            rto_us: Some(200_000),
            srtt_us: None,
            unacked_bytes: 1448,
            notsent_bytes: 99,
            err: -16,
        },
        Detail::Reset {
            direction: Direction::Sent,
            reason: Some("no_socket".into()),
        },
        Detail::Reset {
            direction: Direction::Received,
            reason: None,
        },
        Detail::ConnectFailed {
            errno: Errno(4096),
            syn_sent: false,
            connect_us: Some(66),
        },
        Detail::TimeWaitOverflow {
            tw_count: Some(5),
            tw_max: None,
            inferred: true,
            count: 7,
        },
        Detail::FdExhausted {
            errno: Errno(24),
            syscall: Some(Syscall(9999)),
            count: 2979,
            open_fds: Some(25),
            limit_soft: Some(24),
            limit_hard: Some(u64::MAX - 1),
        },
        Detail::Lost {
            hook: Hook::Retransmit,
            reason: LostReason::KretprobeMissed,
            count: 1,
        },
    ]
}

fn event(number: u64) -> Event {
    let owners = owners();
    let details = details();
    let ends = [
        ends("127.0.0.1:6379", Some("127.0.0.1:60156")),
        ends("[fd00::1]:80", None),
        None,
    ];
    let at = |length: usize| (number % length as u64) as usize;
    Event {
        ts: Time(BEGIN + number * 1_001),
        conn_id: (!number.is_multiple_of(3)).then_some(number / 2),
        owner: owners[at(owners.len())].clone(),
        owner_source: OwnerSource::from_byte((number % 7) as u8).unwrap(),
        netns: (!number.is_multiple_of(5)).then_some(4_026_531_840),
        ends: ends[at(ends.len())],
        detail: details[at(details.len())].clone(),
    }
}

pub(super) fn start() -> Start {
    Start {
        event: "start",
        schema: 1,
        ts: Time(BEGIN),
        host: "vm".into(),
        kernel: "6.18".into(),
        version: Cow::Borrowed("0.1.0"),
        hooks: vec![HookStart {
            hook: "accept".into(),
            rung: "tp_btf".into(),
        }],
        filters: vec!["--port 443".into(), "--pid 7".into()],
    }
}

pub(super) fn hooks(count: u64) -> Vec<HookRow> {
    let row = |hook, rung| HookRow {
        hook,
        rung,
        entered: count + 5,
        skipped: 1,
        missed: 1,
        emitted: count,
        filtered: 2,
        aggregated: 0,
        lost: Lost {
            ring_full: 2,
            map_full: 1,
        },
    };
    vec![
        row(Hook::State, Some(Cow::Borrowed("tp_btf"))),
        row(Hook::Settled, None),
    ]
}

pub(super) fn processes(count: u64) -> Vec<ProcessRow> {
    owners()
        .into_iter()
        .map(|who| ProcessRow {
            who,
            sockets: 3,
            totals: Totals {
                connections: count,
                connect_failed: 1,
                retransmit_segs: 2,
                resets_sent: 3,
                resets_received: 4,
                time_wait_overflow: 5,
                fd_exhausted: 6,
                lost: 7,
            },
        })
        .collect()
}

fn facts(ts: Time) -> Vec<Fact> {
    let local: SocketAddr = "0.0.0.0:80".parse().unwrap();
    [
        (Subject::Machine, Value::Number(-5)),
        (Subject::Namespace(4), Value::Text("reno".into())),
        (
            Subject::Process(owners()[0].as_ref().unwrap().id()),
            Value::Number(i64::MAX),
        ),
        (Subject::Listener { netns: 4, local }, Value::Number(0)),
        (
            Subject::Connection {
                netns: 4,
                ends: ends("[::1]:1", Some("[::1]:2")).unwrap(),
            },
            Value::Text(String::new()),
        ),
    ]
    .into_iter()
    .map(|(subject, value)| Fact {
        ts,
        subject,
        name: Cow::Borrowed("net.ipv4.tcp_max_tw_buckets"),
        value,
    })
    .collect()
}

/// A trace with all that there is, and sums after every `each` events.
fn trace(events: u64, each: u64) -> Vec<Part> {
    let mut parts = vec![Part::Start(start())];
    let mut counts = std::collections::BTreeMap::new();
    for number in 0..events {
        let event = event(number);
        let ts = event.ts;
        *counts.entry(event.detail.kind().into()).or_default() += 1;
        parts.push(Part::Event(event));
        if number % each == each - 1 {
            parts.extend(facts(ts).into_iter().map(Part::Fact));
            parts.push(Part::Sums(Sums {
                ts,
                processes: processes(number),
                // Every other time the same.
                hooks: hooks(number / (2 * each)),
            }));
        }
    }
    let ts = Time(BEGIN + events * 1_001 + 1);
    parts.push(Part::End(End {
        event: "end",
        ts,
        duration_us: 4711,
        events: counts,
        hooks: hooks(events),
        processes: processes(events),
    }));
    parts
}

fn write(path: &Path, parts: &[Part]) {
    feed(Writer::create(path, false).unwrap(), parts);
}

fn write_forced(path: &Path, parts: &[Part]) {
    feed(Writer::create(path, true).unwrap(), parts);
}

fn feed(mut writer: Writer, parts: &[Part]) {
    for part in parts {
        part.feed(&mut writer).unwrap();
    }
}

fn bytes(parts: &[Part]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tcptrace");
    write(&path, parts);
    fs::read(path).unwrap()
}

fn read_bytes(bytes: &[u8], sink: &mut dyn Sink) -> crate::error::Result<Completeness> {
    read_from(Path::new("t"), bytes, bytes.len() as u64, sink)
}

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
    let events = 3 * super::column::ROWS as u64 + 17;
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

/// Files of earlier versions stay readable. `tests/data/` holds one of each, made by the tool of its time.
#[test]
fn files_of_all_versions_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for version in 1..=super::VERSION {
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

/// `docs/trace-file.md` has each column, in order.
#[test]
fn every_column_is_documented() {
    let page = include_str!("../../../docs/trace-file.md");
    let (_, rest) = page.split_once("<!-- columns: those of").unwrap();
    let (table, _) = rest.split_once("<!-- columns: end -->").unwrap();
    let documented: Vec<&str> = table.lines().skip(3).collect();
    let expected: Vec<String> = super::table::COLUMNS
        .iter()
        .map(|(name, kind, meaning)| format!("| `{name}` | {kind} | {} |", meaning.trim()))
        .collect();
    assert_eq!(documented, expected);
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
    let mut messages = super::message::Messages::new(file, file.len() as u64);
    let mut starts = Vec::new();
    while messages.next().unwrap() == super::message::Next::Message {
        starts.push(messages.offset as usize);
    }
    starts.push(messages.offset as usize);
    starts
        .windows(2)
        .map(|pair| &file[pair[0]..pair[1]])
        .collect()
}

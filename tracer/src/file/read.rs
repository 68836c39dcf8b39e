//! Reads a trace from its file and feeds it to a sink, as the live trace did.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use super::{
    MADE_BY, VERSION, VERSION_KEY,
    decode::Layout,
    message::{Messages, Next},
    rows::{Kind, Rows, count},
};
use crate::{
    error::{Error, Result},
    kernel::counters::HookRow,
    sink::Sink,
    time::Time,
    trace::frame::{End, HookStart, Start, Sums},
};

/// Whether a trace has its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It ended in order.
    Complete,
    /// It was cut off: the recorder was killed, the disk was full, or the file was damaged. What was fed is
    /// right, and not all.
    Truncated {
        /// What was found, for a warning.
        reason: String,
    },
}

/// Feeds the trace in a file to a sink: its start, events, facts and sums in their order, and its end. A
/// truncated one has no end.
///
/// # Errors
///
/// When the file can't be opened, is no trace, or is of a later version; when the sink fails.
pub fn read(path: &Path, sink: &mut dyn Sink) -> Result<Completeness> {
    let open = || {
        let file = File::open(path)?;
        let size = file.metadata()?;
        Ok::<_, std::io::Error>((file, size))
    };
    let (file, found) = open().map_err(|error| wrong(path, &error.to_string()))?;
    if !found.is_file() {
        return Err(not_a_trace(path, "it is not a plain file"));
    }
    read_from(path, BufReader::new(file), found.len(), sink)
}

/// As [`read`], from `size` bytes; `path` is for messages.
///
/// # Errors
///
/// As [`read`].
pub fn read_from(
    path: &Path,
    from: impl Read,
    size: u64,
    sink: &mut dyn Sink,
) -> Result<Completeness> {
    let mut messages = Messages::new(from, size);
    let mut rows = Rows::default();
    let mut layout = layout(path, &mut messages, &mut rows)?;
    let mut trace = Trace::default();
    loop {
        let next = messages
            .next()
            .map_err(|error| wrong(path, &error.to_string()))?;
        let damage = match next {
            Next::Message => match batch(&messages, &mut layout, &mut rows) {
                Ok(count) => match trace.tell(&mut rows, count, sink)? {
                    Told::All => continue,
                    Told::End => return Ok(Completeness::Complete),
                    Told::Damaged(what) => what,
                },
                Err(what) => what,
            },
            Next::End | Next::Cut { clean: true } => String::from("it has no end"),
            Next::Cut { clean: false } => String::from("it was cut off"),
            Next::Damaged(what) => what,
        };
        trace.cut(sink)?;
        return Ok(Completeness::Truncated {
            reason: format!("at byte {} of {size}: {damage}", messages.offset),
        });
    }
}

fn wrong(path: &Path, what: &str) -> Error {
    Error::from(anyhow::anyhow!("{}: {what}", path.display()))
}

fn not_a_trace(path: &Path, why: &str) -> Error {
    Error::usage(
        format!("{} is not a trace of tcptrace: {why}", path.display()),
        "`tcptrace record -o FILE` makes one",
    )
}

/// Reads the first message, the schema, and whether this program can read the rest.
fn layout<R: Read>(path: &Path, messages: &mut Messages<R>, rows: &mut Rows) -> Result<Layout> {
    let next = messages
        .next()
        .map_err(|error| wrong(path, &error.to_string()))?;
    match next {
        Next::Message => {}
        Next::Cut { clean: true } => return Err(not_a_trace(path, "it is empty")),
        Next::Cut { clean: false } => {
            return Err(not_a_trace(path, "it ends within its beginning"));
        }
        Next::End | Next::Damaged(_) => {
            return Err(not_a_trace(path, "it does not begin like one"));
        }
    }
    let message = arrow_ipc::root_as_message(&messages.header).ok();
    let Some(schema) = message.and_then(|message| message.header_as_schema()) else {
        return Err(not_a_trace(
            path,
            "it does not begin with a table's columns",
        ));
    };
    let metadata = |key| {
        let mut pairs = schema.custom_metadata().into_iter().flatten();
        pairs.find(|pair| pair.key() == Some(key))?.value()
    };
    let version = metadata(VERSION_KEY).and_then(|version| version.parse::<u32>().ok());
    match version {
        None => return Err(not_a_trace(path, "it is a table of something else")),
        Some(version) if version > VERSION => {
            return Err(Error::usage(
                format!(
                    "{} has format version {version}, written by {}; tcptrace {} reads versions 1 to {VERSION}",
                    path.display(),
                    metadata(MADE_BY).unwrap_or("a later tcptrace"),
                    env!("CARGO_PKG_VERSION"),
                ),
                "read it with the tcptrace that wrote it, or a later one",
            ));
        }
        Some(_) => {}
    }
    Layout::new(&schema, &mut rows.table).map_err(|what| not_a_trace(path, &what))
}

/// Reads a message into the table; how many rows are new in it.
fn batch<R>(
    messages: &Messages<R>,
    layout: &mut Layout,
    rows: &mut Rows,
) -> std::result::Result<usize, String> {
    let message =
        arrow_ipc::root_as_message(&messages.header).map_err(|error| error.to_string())?;
    if let Some(texts) = message.header_as_dictionary_batch() {
        layout.texts(&texts, &messages.body, &mut rows.table)?;
        return Ok(0);
    }
    let batch = message
        .header_as_record_batch()
        .ok_or("a message of another kind")?;
    let count = layout.rows(&batch, &messages.body, &mut rows.table)?;
    rows.begin();
    Ok(count)
}

/// What became of a batch.
enum Told {
    All,
    End,
    Damaged(String),
}

/// The trace so far.
#[derive(Default)]
struct Trace {
    /// The start, until all that belongs to it has come.
    start: Option<Start>,
    /// The sums of one moment, until all have come.
    sums: Sums,
    /// The hooks' books as they were last: they are written when they have changed.
    hooks: Vec<HookRow>,
    /// Events by kind.
    events: BTreeMap<Cow<'static, str>, u64>,
}

impl Trace {
    fn tell(&mut self, rows: &mut Rows, count: usize, sink: &mut dyn Sink) -> Result<Told> {
        for row in 0..count {
            match self.row(rows, row, sink)? {
                Told::All => {}
                told => return Ok(told),
            }
        }
        sink.flush().map_err(failed)?;
        Ok(Told::All)
    }

    fn row(&mut self, rows: &mut Rows, row: usize, sink: &mut dyn Sink) -> Result<Told> {
        macro_rules! or_damaged {
            ($value:expr) => {
                match $value {
                    Ok(value) => value,
                    Err(what) => return Ok(Told::Damaged(what)),
                }
            };
        }
        let kind = or_damaged!(rows.kind(row));
        match kind {
            Kind::State
            | Kind::Connection
            | Kind::Retransmit
            | Kind::Reset
            | Kind::ConnectFailed
            | Kind::TimeWaitOverflow
            | Kind::FdExhausted
            | Kind::Lost => {
                let event = or_damaged!(rows.event(row, kind));
                self.tell_pending(sink)?;
                let name = event.detail.kind();
                match self.events.get_mut(name) {
                    Some(count) => *count += 1,
                    None => {
                        self.events.insert(name.into(), 1);
                    }
                }
                sink.event(&event).map_err(failed)?;
            }
            Kind::Fact => {
                let fact = or_damaged!(rows.fact(row));
                self.tell_pending(sink)?;
                sink.fact(&fact).map_err(failed)?;
            }
            Kind::Process | Kind::Hook => {
                let ts = or_damaged!(rows.ts(row));
                self.tell_start(sink)?;
                if self.sums.ts != ts {
                    self.tell_sums(sink)?;
                    self.sums.ts = ts;
                }
                if kind == Kind::Process {
                    self.sums.processes.push(or_damaged!(rows.process(row)));
                } else {
                    self.sums.hooks.extend(or_damaged!(rows.hook(row)));
                }
            }
            Kind::Start | Kind::Filter | Kind::Attached => {
                or_damaged!(self.begin(rows, row, kind));
            }
            Kind::End => {
                let ts = or_damaged!(rows.ts(row));
                if self.sums.ts != ts {
                    self.tell_sums(sink)?;
                }
                self.tell_start(sink)?;
                let duration_us = or_damaged!(count(&rows.table.duration_us, row));
                let sums = std::mem::take(&mut self.sums);
                let end = End {
                    event: "end",
                    ts,
                    duration_us: duration_us.unwrap_or_default(),
                    events: std::mem::take(&mut self.events),
                    hooks: sums.hooks,
                    processes: sums.processes,
                };
                sink.end(&end).map_err(failed)?;
                sink.flush().map_err(failed)?;
                return Ok(Told::End);
            }
            Kind::Unknown => {}
        }
        Ok(Told::All)
    }

    /// Rows that make up the start.
    fn begin(&mut self, rows: &Rows, row: usize, kind: Kind) -> std::result::Result<(), String> {
        let table = &rows.table;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        if kind == Kind::Start {
            self.start = Some(Start {
                event: "start",
                schema: table.schema.get(row).unwrap_or_default(),
                ts: rows.ts(row)?,
                host: text(table.host.get(row)),
                kernel: text(table.kernel.get(row)),
                version: Cow::Owned(text(table.version.get(row))),
                hooks: Vec::new(),
                filters: Vec::new(),
            });
            return Ok(());
        }
        let start = self.start.as_mut().ok_or("no start before it")?;
        if kind == Kind::Filter {
            start.filters.push(text(table.text.get(row)));
        } else {
            start.hooks.push(HookStart {
                hook: Cow::Owned(text(table.hook.get(row))),
                rung: Cow::Owned(text(table.rung.get(row))),
            });
        }
        Ok(())
    }

    fn tell_start(&mut self, sink: &mut dyn Sink) -> Result<()> {
        match self.start.take() {
            Some(start) => sink.start(&start).map_err(failed),
            None => Ok(()),
        }
    }

    fn tell_sums(&mut self, sink: &mut dyn Sink) -> Result<()> {
        if self.sums.ts == Time::default() {
            return Ok(());
        }
        let mut sums = std::mem::take(&mut self.sums);
        if sums.hooks.is_empty() {
            sums.hooks.clone_from(&self.hooks);
        } else {
            self.hooks.clone_from(&sums.hooks);
        }
        sink.sums(&sums).map_err(failed)
    }

    /// What is complete once something else comes.
    #[inline]
    fn tell_pending(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.tell_start(sink)?;
        self.tell_sums(sink)
    }

    /// The file ends here, before the trace does.
    fn cut(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.tell_pending(sink)?;
        sink.flush().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::from(anyhow::Error::from(error))
}

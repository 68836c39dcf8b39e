//! Writes a trace: rows are gathered here, compressed and written by a thread of its own.

use std::{
    env,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use arrow_array::RecordBatch;
use arrow_ipc::{
    CompressionType, MetadataVersion,
    writer::{IpcWriteOptions, StreamWriter},
};
use arrow_schema::{ArrowError, Schema};

use super::{
    MADE_BY, VERSION, VERSION_KEY,
    batch::{Batch, Batches},
    place::{self, Place, broken},
};
use crate::{
    error::Result,
    event::Event,
    fact::Fact,
    kernel::counters::HookRow,
    sink::Sink,
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// Batches that may wait for the disk. When there are more, the trace's reader waits too; what then finds
/// the kernel's buffers full is counted as lost.
const WAITING: usize = 16;

/// Writes a trace into a file. Rows reach the file when a batch is full and with every [`Sink::sums`], so
/// that a crash loses no more than came since. The file takes its name when the trace goes on after its
/// start: one that never ran leaves no file, and replaces none.
pub struct Writer {
    batch: Batch,
    path: PathBuf,
    /// Until the file has its name.
    place: Option<Place>,
    thread: Option<(SyncSender<RecordBatch>, JoinHandle<io::Result<()>>)>,
    written: Arc<AtomicU64>,
    events: u64,
    /// The hooks' books as they were written last.
    hooks: Vec<HookRow>,
}

impl Writer {
    /// Makes the file, with mode 0600 as a trace holds addresses and command lines.
    ///
    /// # Errors
    ///
    /// When it exists and `force` is not given, or can't be made.
    pub fn create(path: &Path, force: bool) -> Result<Self> {
        let (file, place) = place::create(path, force)?;
        let batch = Batch::new([
            (VERSION_KEY.to_owned(), VERSION.to_string()),
            (
                MADE_BY.to_owned(),
                format!("tcptrace {}", env!("CARGO_PKG_VERSION")),
            ),
        ]);
        let written = Arc::new(AtomicU64::new(0));
        let out = Counted {
            file,
            written: Arc::clone(&written),
        };
        let out = stream(out, batch.schema()).map_err(|error| broken(path, &io_error(error)))?;
        let (sender, receiver) = sync_channel::<RecordBatch>(WAITING);
        let thread = thread::Builder::new()
            .name("trace-file".into())
            .spawn(move || write_all(out, receiver.iter()))
            .map_err(|error| broken(path, &error))?;
        Ok(Self {
            batch,
            path: path.to_owned(),
            place: Some(place),
            thread: Some((sender, thread)),
            written,
            events: 0,
            hooks: Vec::new(),
        })
    }

    /// Events so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Bytes in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn keep(&mut self) -> io::Result<()> {
        let Some(place) = self.place.take() else {
            return Ok(());
        };
        place.keep().map_err(io::Error::other)
    }

    fn send(&mut self) -> io::Result<()> {
        let Some(batch) = self.batch.take().map_err(io_error)? else {
            return Ok(());
        };
        match &self.thread {
            Some((sender, _)) if sender.send(batch).is_ok() => Ok(()),
            // The thread has ended before its time: it says why.
            _ => self.close(),
        }
    }

    /// Waits until everything is written.
    fn close(&mut self) -> io::Result<()> {
        let Some((sender, thread)) = self.thread.take() else {
            return Ok(());
        };
        drop(sender);
        let result = thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that writes it has failed")));
        result.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "{}: {error}; what was written before can be read",
                    self.path.display()
                ),
            )
        })
    }
}

impl Batches for Writer {
    fn at(&mut self, _: Time) -> io::Result<&mut Batch> {
        if self.batch.is_full() {
            self.send()?;
        }
        Ok(&mut self.batch)
    }
}

impl Sink for Writer {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.put_start(start)?;
        self.send()
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.keep()?;
        self.at(event.ts)?.event(event);
        self.events += 1;
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.at(fact.ts)?.fact(fact);
        Ok(())
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.keep()?;
        if self.hooks == sums.hooks {
            self.put_rows(sums.ts, &sums.processes, &[])?;
        } else {
            self.put_sums(sums)?;
            self.hooks.clone_from(&sums.hooks);
        }
        self.send()
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.keep()?;
        self.put_end(end)?;
        self.send()?;
        self.close()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A trace that did not end in order: what there is belongs into the file. Nobody is left to tell
        // of a failure.
        let _ = self.send();
        let _ = self.close();
    }
}

/// A file whose bytes are counted.
struct Counted {
    file: File,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

type Stream = StreamWriter<BufWriter<Counted>>;

fn stream(out: Counted, schema: &Schema) -> std::result::Result<Stream, ArrowError> {
    // A batch of a quiet second is mostly the buffers of empty columns: they are padded to words only.
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?
        .try_with_compression(Some(CompressionType::ZSTD))?;
    let out = BufWriter::with_capacity(256 << 10, out);
    let mut stream = StreamWriter::try_new_with_options(out, schema, options)?;
    stream.flush()?;
    Ok(stream)
}

fn write_all(mut out: Stream, batches: impl Iterator<Item = RecordBatch>) -> io::Result<()> {
    for batch in batches {
        out.write(&batch).map_err(io_error)?;
        out.flush().map_err(io_error)?;
    }
    out.finish().map_err(io_error)?;
    out.flush().map_err(io_error)
}

fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}

//! Parquet: the trace file's table, partitioned so that the traces of many hosts are one data set.
//!
//! `OUT/host=HOST/date=DATE/BEGINNING.parquet`. Two things differ from the trace file: times are
//! microseconds, as Spark reads no finer ones, and the column `host` is the partition's.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{
    ArrayRef, RecordBatch,
    cast::AsArray as _,
    types::{TimestampMicrosecondType, TimestampNanosecondType},
};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use super::{Exporter, failed};
use crate::{
    error::Result,
    event::Event,
    fact::Fact,
    file::{
        batch::{Batch, Batches},
        place::{self, Place},
    },
    sink::Sink,
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// Writes a trace into a data set.
pub struct Parquet {
    folder: PathBuf,
    force: bool,
    /// Host and name of the files, from the trace's start.
    host: String,
    name: String,
    /// A file for each day that the trace has, by days since 1970.
    days: BTreeMap<u64, Day>,
}

struct Day {
    batch: Batch,
    schema: Arc<Schema>,
    out: ArrowWriter<File>,
    place: Place,
}

impl Parquet {
    /// Into the data set in `folder`, which is made where it is missing.
    #[must_use]
    pub fn new(folder: &Path, force: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            force,
            host: String::from("unknown"),
            name: String::from("trace"),
            days: BTreeMap::new(),
        }
    }
}

impl Exporter for Parquet {
    fn finish(mut self: Box<Self>) -> Result<()> {
        let mut places = Vec::new();
        for (_, mut day) in std::mem::take(&mut self.days) {
            day.complete()
                .map_err(|error| failed(day.place.path(), error))?;
            places.push(day.place);
        }
        places.into_iter().try_for_each(Place::keep)
    }
}

impl Batches for Parquet {
    fn at(&mut self, ts: Time) -> io::Result<&mut Batch> {
        let day = match self.days.entry(ts.second() / 86_400) {
            Entry::Occupied(day) => day.into_mut(),
            Entry::Vacant(entry) => {
                let date = ts.to_string();
                let folder = self
                    .folder
                    .join(format!("host={}", self.host))
                    .join(format!("date={}", date.get(..10).unwrap_or("unknown")));
                fs::create_dir_all(&folder)?;
                let path = folder.join(format!("{}.parquet", self.name));
                let (file, place) = place::create(&path, self.force).map_err(io::Error::other)?;
                entry.insert(Day::new(file, place)?)
            }
        };
        if day.batch.is_full() {
            day.send()?;
        }
        Ok(&mut day.batch)
    }
}

impl Sink for Parquet {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.host = escaped(&start.host);
        // Colons are not allowed in names everywhere.
        self.name = start.ts.to_string().replace(':', "");
        self.put_start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.at(event.ts)?.event(event);
        Ok(())
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.at(fact.ts)?.fact(fact);
        Ok(())
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.put_sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.put_end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Day {
    fn new(file: File, place: Place) -> io::Result<Self> {
        let batch = Batch::new([]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        // Other programs are to see plain texts, not Arrow's dictionaries.
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_skip_arrow_metadata(true);
        let columns = batch.schema().fields().iter();
        let schema =
            columns
                .filter(|field| field.name() != HOST)
                .map(|field| match field.data_type() {
                    DataType::Timestamp(_, zone) => {
                        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                        Field::new(field.name(), micros, true)
                    }
                    _ => field.as_ref().clone(),
                });
        let schema = Arc::new(Schema::new(schema.collect::<Vec<_>>()));
        let out = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options)
            .map_err(io::Error::from)?;
        Ok(Self {
            batch,
            schema,
            out,
            place,
        })
    }

    fn complete(&mut self) -> io::Result<()> {
        self.send()?;
        self.out.finish().map_err(io::Error::from)?;
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(batch) = self.batch.take().map_err(io::Error::other)? {
            let batch = plain(&batch, &self.schema).map_err(io::Error::other)?;
            self.out.write(&batch).map_err(io::Error::from)?;
        }
        Ok(())
    }
}

/// The column that is the partition's.
const HOST: &str = "host";

/// The batch with the columns of `schema`, times as microseconds.
fn plain(
    batch: &RecordBatch,
    schema: &Arc<Schema>,
) -> std::result::Result<RecordBatch, ArrowError> {
    let columns = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| field.name() != HOST)
        .map(|(_, column)| match column.data_type() {
            DataType::Timestamp(..) => {
                let times = column.as_primitive::<TimestampNanosecondType>();
                let times = times.unary::<_, TimestampMicrosecondType>(|ns| ns / 1_000);
                Arc::new(times.with_timezone("UTC")) as ArrayRef
            }
            _ => Arc::clone(column),
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// A partition's value as Hive writes it: other signs than these by their number.
fn escaped(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_folder() {
        assert_eq!(escaped("web-1.example"), "web-1.example");
        assert_eq!(escaped("../a=b"), "..%2Fa%3Db");
    }
}

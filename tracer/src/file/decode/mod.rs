//! A message's body becomes columns, into memory that is used again for each batch.
//!
//! Arrow's own reader trusts what it reads: an offset outside the body panics, and a stated length is
//! allocated. A trace file may be damaged or not ours, so the buffers are taken apart here, each length
//! checked first; that also spares the time for columns of which a batch has nothing.

mod buffer;
mod column;

use std::collections::HashMap;

use arrow_ipc::{DictionaryBatch, RecordBatch, Schema};
use zstd::bulk::Decompressor;

pub(super) use self::column::{Names, Numbers};
use self::{
    buffer::Source,
    column::{Fill, Flags, Kind, Shape},
};
use super::table::columns;

/// Bytes that the texts of one column and batch may have.
const MAX_TEXT: usize = 256 << 20;

/// What is wrong with a file, as the user reads it.
pub(super) type Result<T> = std::result::Result<T, String>;

macro_rules! column_type {
    (time) => { Numbers<u64> };
    (number) => { Numbers<i64> };
    (u32) => { Numbers<u32> };
    (u16) => { Numbers<u16> };
    (u8) => { Numbers<u8> };
    (i32) => { Numbers<i32> };
    (flag) => { Flags };
    (name) => { Names };
}

macro_rules! define {
    ($($(#[doc = $meaning:literal])+ $column:ident: $kind:ident,)*) => {
        /// The columns of a batch. One that the file does not have is null everywhere.
        #[derive(Default)]
        pub(super) struct Table {
            $($(#[doc = $meaning])+ pub(super) $column: column_type!($kind),)*
        }

        impl Table {
            fn column(&mut self, name: &str) -> Option<&mut dyn Fill> {
                match name {
                    $(stringify!($column) => Some(&mut self.$column),)*
                    _ => None,
                }
            }
        }
    };
}
columns!(define);

/// What a file's columns are, in their order.
pub(super) struct Layout {
    fields: Vec<(String, Kind)>,
    /// Which column a dictionary belongs to; `None` for what is passed over.
    dictionaries: HashMap<i64, Option<usize>>,
    zstd: Decompressor<'static>,
}

impl Layout {
    /// Reads the file's schema.
    pub(super) fn new(schema: &Schema<'_>, table: &mut Table) -> Result<Self> {
        let mut layout = Self {
            fields: Vec::new(),
            dictionaries: HashMap::new(),
            zstd: Decompressor::new().map_err(|error| error.to_string())?,
        };
        for field in schema.fields().into_iter().flatten() {
            let name = field.name().unwrap_or_default();
            let mut passed_over = Vec::new();
            let kind = Kind::of(&field, &mut passed_over)
                .ok_or_else(|| format!("column `{name}` has a type that is not known"))?;
            if let Some(column) = table.column(name)
                && !column.takes(kind)
            {
                return Err(format!("column `{name}` has another type than in a trace"));
            }
            if let Kind::Name { dictionary } = kind {
                let at = layout.fields.len();
                layout.dictionaries.insert(dictionary, Some(at));
            }
            let passed_over = passed_over.into_iter().map(|dictionary| (dictionary, None));
            layout.dictionaries.extend(passed_over);
            layout.fields.push((name.to_owned(), kind));
        }
        Ok(layout)
    }

    /// Reads the texts of a column.
    pub(super) fn texts(
        &mut self,
        batch: &DictionaryBatch<'_>,
        body: &[u8],
        table: &mut Table,
    ) -> Result<()> {
        let at = *self
            .dictionaries
            .get(&batch.id())
            .ok_or("texts of no column")?;
        let name = at.and_then(|at| self.fields.get(at));
        let column = name.and_then(|(name, _)| table.column(name));
        let Some(texts) = column.and_then(|column| column.texts()) else {
            return Ok(());
        };
        if batch.isDelta() {
            return Err(String::from("texts that add to earlier ones"));
        }
        let data = batch.data().ok_or("texts without data")?;
        let (mut source, mut nodes, mut buffers) = Source::of(&data, body, &mut self.zstd)?;
        let (Some(node), Some(_), Some(offsets), Some(bytes)) =
            (nodes.next(), buffers.next(), buffers.next(), buffers.next())
        else {
            return Err(String::from("texts without their buffers"));
        };
        if node.null_count() != 0 || usize::try_from(node.length()) != Ok(source.rows) {
            return Err(String::from("texts that are null"));
        }
        texts.clear();
        if source.rows == 0 {
            return Ok(());
        }
        let mut ends: Vec<i32> = Vec::new();
        let length = (source.rows + 1) * size_of::<i32>();
        source.words(offsets, length, length, &mut ends)?;
        let mut all: Vec<u8> = Vec::new();
        source.bytes(bytes, 0, MAX_TEXT, &mut all)?;
        for pair in ends.get(..=source.rows).ok_or("offsets")?.windows(2) {
            let text = usize::try_from(pair[0])
                .ok()
                .zip(usize::try_from(pair[1]).ok())
                .and_then(|(from, to)| all.get(from..to))
                .ok_or("a text outside its buffer")?;
            let text = str::from_utf8(text).map_err(|_| "a text that is not UTF-8")?;
            texts.push(text.to_owned());
        }
        Ok(())
    }

    /// Reads a batch's columns; how many rows it has.
    pub(super) fn rows(
        &mut self,
        batch: &RecordBatch<'_>,
        body: &[u8],
        table: &mut Table,
    ) -> Result<usize> {
        let (mut source, mut nodes, mut buffers) = Source::of(batch, body, &mut self.zstd)?;
        let mut views = batch.variadicBufferCounts().into_iter().flatten();
        for (name, kind) in &self.fields {
            if let Kind::Other(shape) = kind {
                pass_over(*shape, &mut nodes, &mut buffers, &mut views)
                    .ok_or_else(|| format!("no column `{name}`"))?;
                continue;
            }
            let (Some(node), Some(valid), Some(values)) =
                (nodes.next(), buffers.next(), buffers.next())
            else {
                return Err(format!("no column `{name}`"));
            };
            if let Some(column) = table.column(name) {
                column
                    .fill(&mut source, node, [valid, values])
                    .map_err(|error| format!("column `{name}`: {error}"))?;
            }
        }
        Ok(source.rows)
    }
}

/// Passes over what a column of a later version has in a batch; `None` when it is not there.
fn pass_over<N, B>(
    shape: Shape,
    nodes: &mut impl Iterator<Item = N>,
    buffers: &mut impl Iterator<Item = B>,
    views: &mut impl Iterator<Item = i64>,
) -> Option<()> {
    let mut count = shape.buffers;
    for _ in 0..shape.views {
        count = count.checked_add(usize::try_from(views.next()?).ok()?)?;
    }
    let is_there = nodes.take(shape.nodes).count() == shape.nodes;
    (is_there && buffers.take(count).count() == count).then_some(())
}

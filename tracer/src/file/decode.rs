//! A message's body becomes columns, into memory that is used again for each batch.
//!
//! Arrow's own reader trusts what it reads: an offset outside the body panics, and a stated length is
//! allocated. A trace file may be damaged or not ours, so the buffers are taken apart here, each length
//! checked first; that also spares the time for columns of which a batch has nothing.

use std::collections::HashMap;

use arrow_ipc::{Buffer, DictionaryBatch, FieldNode, RecordBatch, Schema, TimeUnit, Type};
use bytemuck::Pod;
use zstd::bulk::Decompressor;

use super::table::columns;

/// Rows that a batch may have; the writer's have half of that.
const MAX_ROWS: usize = 1 << 16;
/// Bytes that the texts of one column and batch may have.
const MAX_TEXT: usize = 256 << 20;
/// What a buffer may be longer than its values: it is padded to words.
const PADDING: usize = 64;

/// What is wrong with a file, as the user reads it.
pub(super) type Result<T> = std::result::Result<T, String>;

/// Where values are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Present {
    #[default]
    Nowhere,
    Everywhere,
    /// In the rows whose bit is set.
    Some,
}

/// Which rows of a column have a value.
#[derive(Default)]
struct Validity {
    present: Present,
    bits: Vec<u8>,
}

impl Validity {
    #[inline]
    fn has(&self, row: usize) -> bool {
        match self.present {
            Present::Nowhere => false,
            Present::Everywhere => true,
            Present::Some => bit(&self.bits, row),
        }
    }
}

#[inline]
fn bit(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8)
        .is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}

/// A column of numbers.
#[derive(Default)]
pub(super) struct Numbers<T> {
    valid: Validity,
    values: Vec<T>,
}

impl<T: Copy> Numbers<T> {
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T> {
        if self.valid.has(row) {
            self.values.get(row).copied()
        } else {
            None
        }
    }
}

/// A column of truth values.
#[derive(Default)]
pub(super) struct Flags {
    valid: Validity,
    bits: Vec<u8>,
}

impl Flags {
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<bool> {
        self.valid.has(row).then(|| bit(&self.bits, row))
    }
}

/// A column of texts.
#[derive(Default)]
pub(super) struct Names {
    keys: Numbers<i16>,
    texts: Vec<String>,
}

impl Names {
    /// The text's place in [`Names::texts`].
    #[inline]
    pub(super) fn key(&self, row: usize) -> Option<usize> {
        self.keys.get(row).and_then(|key| usize::try_from(key).ok())
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        self.texts.get(self.key(row)?).map(String::as_str)
    }

    /// All texts of the batch.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// A type of column in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int {
        bits: i32,
        signed: bool,
    },
    Time,
    Flag,
    Name {
        dictionary: i64,
    },
    /// Not of this version: passed over.
    Text,
}

impl Kind {
    fn of(field: &arrow_ipc::Field<'_>) -> Option<Self> {
        let int = |int: arrow_ipc::Int<'_>| Self::Int {
            bits: int.bitWidth(),
            signed: int.is_signed(),
        };
        if let Some(dictionary) = field.dictionary() {
            let is_known = field.type_type() == Type::Utf8
                && dictionary.indexType().map(int)
                    == Some(Self::Int {
                        bits: 16,
                        signed: true,
                    });
            return is_known.then(|| Self::Name {
                dictionary: dictionary.id(),
            });
        }
        match field.type_type() {
            Type::Int => field.type_as_int().map(int),
            Type::Timestamp => {
                let unit = field.type_as_timestamp()?.unit();
                (unit == TimeUnit::NANOSECOND).then_some(Self::Time)
            }
            Type::Bool => Some(Self::Flag),
            Type::Utf8 => Some(Self::Text),
            _ => None,
        }
    }
}

/// A column's buffers within a body.
struct Source<'a> {
    body: &'a [u8],
    is_compressed: bool,
    zstd: &'a mut Decompressor<'static>,
    rows: usize,
}

impl<'a> Source<'a> {
    /// The bytes of a buffer, between `least` and `most` of them, into `to`.
    fn bytes(
        &mut self,
        buffer: &Buffer,
        least: usize,
        most: usize,
        to: &mut Vec<u8>,
    ) -> Result<()> {
        self.words(buffer, least, most, to)
    }

    fn words<T: Pod + Default>(
        &mut self,
        buffer: &Buffer,
        least: usize,
        most: usize,
        to: &mut Vec<T>,
    ) -> Result<()> {
        let bytes = part(self.body, buffer.offset(), buffer.length())?;
        let (plain, length) = if !self.is_compressed || bytes.is_empty() {
            (Some(bytes), bytes.len())
        } else {
            let (length, rest) = bytes
                .split_first_chunk::<8>()
                .ok_or("a compressed buffer of less than 8 bytes")?;
            match i64::from_le_bytes(*length) {
                -1 => (Some(rest), rest.len()),
                length => {
                    let length = usize::try_from(length).map_err(|_| "a negative length")?;
                    (None, length)
                }
            }
        };
        if length < least || length > most.saturating_add(PADDING) {
            return Err(format!("a buffer of {length} bytes instead of {least}"));
        }
        to.clear();
        to.resize(length.div_ceil(size_of::<T>()), T::default());
        let target: &mut [u8] = bytemuck::cast_slice_mut(to);
        let target = target.get_mut(..length).ok_or("a length")?;
        match plain {
            Some(bytes) => target.copy_from_slice(bytes),
            None => {
                let written = self
                    .zstd
                    .decompress_to_buffer(&bytes[8..], target)
                    .map_err(|error| format!("what is compressed can't be read: {error}"))?;
                if written != length {
                    return Err(format!("{written} bytes instead of {length}"));
                }
            }
        }
        Ok(())
    }

    fn validity(&mut self, node: &FieldNode, buffer: &Buffer, to: &mut Validity) -> Result<()> {
        if usize::try_from(node.length()) != Ok(self.rows) {
            return Err(format!("{} rows instead of {}", node.length(), self.rows));
        }
        to.present = match node.null_count() {
            0 => Present::Everywhere,
            nulls if usize::try_from(nulls) == Ok(self.rows) => Present::Nowhere,
            _ => Present::Some,
        };
        if to.present == Present::Some {
            let least = self.rows.div_ceil(8);
            self.bytes(buffer, least, least, &mut to.bits)?;
        }
        Ok(())
    }
}

/// A part of a body.
fn part(body: &[u8], offset: i64, length: i64) -> Result<&[u8]> {
    let range = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(length).ok())
        .and_then(|(offset, length)| Some(offset..offset.checked_add(length)?));
    range
        .and_then(|range| body.get(range))
        .ok_or_else(|| format!("a buffer at {offset} of {length} bytes, outside its batch"))
}

/// A column that takes its part of a batch.
trait Fill {
    /// Whether a file's column can be read into this one.
    fn takes(&self, kind: Kind) -> bool;

    fn fill(
        &mut self,
        from: &mut Source<'_>,
        node: &FieldNode,
        buffers: [&Buffer; 2],
    ) -> Result<()>;

    fn texts(&mut self) -> Option<&mut Vec<String>> {
        None
    }
}

macro_rules! fill_numbers {
    ($($type:ty: $kind:pat,)*) => {$(
        impl Fill for Numbers<$type> {
            fn takes(&self, kind: Kind) -> bool {
                matches!(kind, $kind)
            }

            fn fill(
                &mut self,
                from: &mut Source<'_>,
                node: &FieldNode,
                [valid, values]: [&Buffer; 2],
            ) -> Result<()> {
                from.validity(node, valid, &mut self.valid)?;
                if self.valid.present == Present::Nowhere {
                    return Ok(());
                }
                let length = from.rows * size_of::<$type>();
                from.words(values, length, length, &mut self.values)
            }
        }
    )*};
}
fill_numbers! {
    i64: Kind::Int { bits: 64, signed: true },
    u64: Kind::Time,
    u32: Kind::Int { bits: 32, signed: false },
    u16: Kind::Int { bits: 16, signed: false },
    u8: Kind::Int { bits: 8, signed: false },
    i32: Kind::Int { bits: 32, signed: true },
    i16: Kind::Int { bits: 16, signed: true },
}

impl Fill for Flags {
    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::Flag
    }

    fn fill(
        &mut self,
        from: &mut Source<'_>,
        node: &FieldNode,
        [valid, values]: [&Buffer; 2],
    ) -> Result<()> {
        from.validity(node, valid, &mut self.valid)?;
        if self.valid.present == Present::Nowhere {
            return Ok(());
        }
        let length = from.rows.div_ceil(8);
        from.bytes(values, length, length, &mut self.bits)
    }
}

impl Fill for Names {
    fn takes(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Name { .. })
    }

    fn fill(
        &mut self,
        from: &mut Source<'_>,
        node: &FieldNode,
        buffers: [&Buffer; 2],
    ) -> Result<()> {
        self.keys.fill(from, node, buffers)
    }

    fn texts(&mut self) -> Option<&mut Vec<String>> {
        Some(&mut self.texts)
    }
}

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
    /// Which column a dictionary belongs to.
    dictionaries: HashMap<i64, usize>,
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
            let kind = Kind::of(&field)
                .ok_or_else(|| format!("column `{name}` has a type that no trace has"))?;
            if let Some(column) = table.column(name)
                && !column.takes(kind)
            {
                return Err(format!("column `{name}` has another type than in a trace"));
            }
            if let Kind::Name { dictionary } = kind {
                layout.dictionaries.insert(dictionary, layout.fields.len());
            }
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
        let name = self
            .dictionaries
            .get(&batch.id())
            .and_then(|at| self.fields.get(*at))
            .map(|(name, _)| name.as_str())
            .ok_or("texts of no column")?;
        let Some(texts) = table.column(name).and_then(|column| column.texts()) else {
            return Ok(());
        };
        if batch.isDelta() {
            return Err(String::from("texts that add to earlier ones"));
        }
        let data = batch.data().ok_or("texts without data")?;
        let (mut source, mut nodes, mut buffers) = source(&data, body, &mut self.zstd)?;
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
        let (mut source, mut nodes, mut buffers) = source(batch, body, &mut self.zstd)?;
        for (name, kind) in &self.fields {
            let (Some(node), Some(valid), Some(values)) =
                (nodes.next(), buffers.next(), buffers.next())
            else {
                return Err(format!("no column `{name}`"));
            };
            if *kind == Kind::Text {
                buffers.next();
            }
            if let Some(column) = table.column(name) {
                column
                    .fill(&mut source, node, [valid, values])
                    .map_err(|error| format!("column `{name}`: {error}"))?;
            }
        }
        Ok(source.rows)
    }
}

fn source<'a>(
    batch: &RecordBatch<'a>,
    body: &'a [u8],
    zstd: &'a mut Decompressor<'static>,
) -> Result<(
    Source<'a>,
    impl Iterator<Item = &'a FieldNode>,
    impl Iterator<Item = &'a Buffer>,
)> {
    let rows = usize::try_from(batch.length())
        .ok()
        .filter(|rows| *rows <= MAX_ROWS)
        .ok_or_else(|| format!("a batch of {} rows", batch.length()))?;
    let is_compressed = match batch.compression() {
        None => false,
        Some(how) if how.codec() == arrow_ipc::CompressionType::ZSTD => true,
        Some(_) => return Err(String::from("another compression than zstd")),
    };
    let source = Source {
        body,
        is_compressed,
        zstd,
        rows,
    };
    let nodes = batch.nodes().ok_or("a batch without columns")?;
    let buffers = batch.buffers().ok_or("a batch without buffers")?;
    Ok((source, nodes.into_iter(), buffers.into_iter()))
}

//! The buffers of a message's body, each length checked before it is believed.

use arrow_ipc::{Buffer, FieldNode, RecordBatch};
use bytemuck::Pod;
use zstd::bulk::Decompressor;

use super::{
    Result,
    column::{Present, Validity},
};

/// Rows that a batch may have; the writer's have half of that.
const MAX_ROWS: usize = 1 << 16;
/// What a buffer may be longer than its values: it is padded to words.
const PADDING: usize = 64;

/// A body's buffers, one after the other.
pub(super) struct Source<'a> {
    body: &'a [u8],
    is_compressed: bool,
    zstd: &'a mut Decompressor<'static>,
    pub(super) rows: usize,
}

impl<'a> Source<'a> {
    /// Of a batch, with what describes its columns and where their buffers are.
    pub(super) fn of(
        batch: &RecordBatch<'a>,
        body: &'a [u8],
        zstd: &'a mut Decompressor<'static>,
    ) -> Result<(
        Self,
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
        let here = Self {
            body,
            is_compressed,
            zstd,
            rows,
        };
        let nodes = batch.nodes().ok_or("a batch without columns")?;
        let buffers = batch.buffers().ok_or("a batch without buffers")?;
        Ok((here, nodes.into_iter(), buffers.into_iter()))
    }

    /// The bytes of a buffer, between `least` and `most` of them, into `to`.
    pub(super) fn bytes(
        &mut self,
        buffer: &Buffer,
        least: usize,
        most: usize,
        to: &mut Vec<u8>,
    ) -> Result<()> {
        self.words(buffer, least, most, to)
    }

    pub(super) fn words<T: Pod + Default>(
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

    pub(super) fn validity(
        &mut self,
        node: &FieldNode,
        buffer: &Buffer,
        to: &mut Validity,
    ) -> Result<()> {
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

//! Columns that are being filled: a row sets only the columns that it has, the rest stay null.

use std::{net::IpAddr, sync::Arc};

use arrow_array::{
    Array as _, ArrayRef, ArrowPrimitiveType, DictionaryArray, StringArray,
    builder::{ArrayBuilder as _, BooleanBuilder, PrimitiveBuilder},
    types::{
        Int16Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type,
    },
};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use rustc_hash::FxHashMap;

/// Rows of a full batch: the keys of a [`Names`] are 16 bits, and a row adds at most one of them.
pub(super) const ROWS: usize = 1 << 15;

/// A column of numbers.
pub(super) struct Numbers<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Self(PrimitiveBuilder::new())
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    pub(super) fn put(&mut self, row: usize, value: T::Native) {
        if self.0.len() < row {
            self.0.append_nulls(row - self.0.len());
        }
        self.0.append_value(value);
    }

    pub(super) fn put_some(&mut self, row: usize, value: Option<T::Native>) {
        if let Some(value) = value {
            self.put(row, value);
        }
    }

    fn take(&mut self, rows: usize) -> PrimitiveBuilder<T> {
        self.0.append_nulls(rows - self.0.len());
        std::mem::take(&mut self.0)
    }
}

/// A column of 64-bit numbers that are never negative.
#[derive(Default)]
pub(super) struct Counts(Numbers<Int64Type>);

impl Counts {
    pub(super) fn put(&mut self, row: usize, value: u64) {
        self.0.put(row, value.cast_signed());
    }

    pub(super) fn put_some(&mut self, row: usize, value: Option<u64>) {
        self.0.put_some(row, value.map(u64::cast_signed));
    }

    /// A number that may be negative.
    pub(super) fn put_signed(&mut self, row: usize, value: i64) {
        self.0.put(row, value);
    }
}

/// A column of instants.
#[derive(Default)]
pub(super) struct Times(Numbers<TimestampNanosecondType>);

impl Times {
    pub(super) fn put(&mut self, row: usize, value: crate::time::Time) {
        self.0.put(row, value.0.cast_signed());
    }
}

/// A column of truth values.
#[derive(Default)]
pub(super) struct Flags(BooleanBuilder);

impl Flags {
    pub(super) fn put(&mut self, row: usize, value: bool) {
        self.0.append_nulls(row - self.0.len());
        self.0.append_value(value);
    }
}

/// A text's place among those of its column and batch.
pub(super) type Key = i16;

/// A column of texts, each stored once a batch.
#[derive(Default)]
pub(super) struct Names {
    keys: Numbers<Int16Type>,
    texts: Vec<Arc<str>>,
    known: FxHashMap<Arc<str>, Key>,
    addresses: FxHashMap<IpAddr, Key>,
    last: Key,
}

impl Names {
    pub(super) fn put(&mut self, row: usize, text: &str) {
        let key = self.key(text);
        self.put_key(row, key);
    }

    pub(super) fn put_some(&mut self, row: usize, text: Option<&str>) {
        if let Some(text) = text {
            self.put(row, text);
        }
    }

    pub(super) fn put_key(&mut self, row: usize, key: Key) {
        self.keys.put(row, key);
    }

    pub(super) fn put_address(&mut self, row: usize, address: IpAddr) {
        let key = match self.addresses.get(&address) {
            Some(key) => *key,
            None => {
                let key = self.key(&address.to_string());
                self.addresses.insert(address, key);
                key
            }
        };
        self.put_key(row, key);
    }

    /// The text's key in this batch.
    pub(super) fn key(&mut self, text: &str) -> Key {
        if let Some(last) = self.texts.get(self.last as usize)
            && **last == *text
        {
            return self.last;
        }
        self.last = match self.known.get(text) {
            Some(key) => *key,
            None => {
                let text: Arc<str> = text.into();
                // Fewer than ROWS texts, so that their number fits.
                let key = self.texts.len() as Key;
                self.texts.push(Arc::clone(&text));
                self.known.insert(text, key);
                key
            }
        };
        self.last
    }
}

/// A kind of column.
pub(super) trait Column {
    /// Its type in the file.
    fn data_type() -> DataType;

    /// Takes what it has, padded to `rows`.
    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError>;
}

macro_rules! number_column {
    ($($type:ty),*) => {$(
        impl Column for Numbers<$type> {
            fn data_type() -> DataType {
                <$type>::DATA_TYPE
            }

            fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
                Ok(Arc::new(self.take(rows).finish()))
            }
        }
    )*};
}
number_column!(UInt8Type, UInt16Type, UInt32Type, Int32Type);

impl Column for Counts {
    fn data_type() -> DataType {
        DataType::Int64
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.0.take(rows).finish()))
    }
}

impl Column for Times {
    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let times = self.0.take(rows).finish().with_timezone("UTC");
        Ok(Arc::new(times))
    }
}

impl Column for Flags {
    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.0.append_nulls(rows - self.0.len());
        Ok(Arc::new(self.0.finish()))
    }
}

impl Column for Names {
    fn data_type() -> DataType {
        DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8))
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let keys = self.keys.take(rows).finish();
        let texts = StringArray::from_iter_values(self.texts.drain(..));
        self.known.clear();
        self.addresses.clear();
        self.last = 0;
        debug_assert!(texts.len() <= ROWS);
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(texts))?))
    }
}

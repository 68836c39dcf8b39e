//! A column of a file: of which type, and its values in a batch.

use arrow_ipc::{Buffer, FieldNode, TimeUnit, Type, UnionMode};

use super::{Result, buffer::Source};

/// Where values are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Present {
    #[default]
    Nowhere,
    Everywhere,
    /// In the rows whose bit is set.
    Some,
}

/// Which rows of a column have a value.
#[derive(Default)]
pub(super) struct Validity {
    pub(super) present: Present,
    pub(super) bits: Vec<u8>,
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
pub(in crate::file) struct Numbers<T> {
    valid: Validity,
    values: Vec<T>,
}

impl<T: Copy> Numbers<T> {
    #[inline]
    pub(in crate::file) fn get(&self, row: usize) -> Option<T> {
        if self.valid.has(row) {
            self.values.get(row).copied()
        } else {
            None
        }
    }
}

/// A column of truth values.
#[derive(Default)]
pub(in crate::file) struct Flags {
    valid: Validity,
    bits: Vec<u8>,
}

impl Flags {
    #[inline]
    pub(in crate::file) fn get(&self, row: usize) -> Option<bool> {
        self.valid.has(row).then(|| bit(&self.bits, row))
    }
}

/// A column of texts.
#[derive(Default)]
pub(in crate::file) struct Names {
    keys: Numbers<i16>,
    texts: Vec<String>,
}

impl Names {
    /// The text's place in [`Names::texts`].
    #[inline]
    pub(in crate::file) fn key(&self, row: usize) -> Option<usize> {
        self.keys.get(row).and_then(|key| usize::try_from(key).ok())
    }

    pub(in crate::file) fn get(&self, row: usize) -> Option<&str> {
        self.texts.get(self.key(row)?).map(String::as_str)
    }

    /// All texts of the batch.
    pub(in crate::file) fn texts(&self) -> &[String] {
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
    Other(Shape),
}

/// What a column has in a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Columns, itself and those within it.
    pub(super) nodes: usize,
    /// Buffers, without those that each batch counts for itself.
    pub(super) buffers: usize,
    /// Columns whose buffers each batch counts (`variadicBufferCounts`).
    pub(super) views: usize,
}

impl Shape {
    /// Of a column of any type, `format/Columnar.rst` of Arrow: "Buffer Listing for Each Layout"; `None` for a type that Arrow did not
    /// have. Its dictionaries are added to `dictionaries`.
    fn of(field: &arrow_ipc::Field<'_>, dictionaries: &mut Vec<i64>) -> Option<Self> {
        if let Some(dictionary) = field.dictionary() {
            dictionaries.push(dictionary.id());
        }
        let mut shape = Self {
            nodes: 1,
            buffers: 2,
            views: 0,
        };
        let mut within = Self::default();
        for child in field.children().into_iter().flatten() {
            let child = Self::of(&child, dictionaries)?;
            within.nodes += child.nodes;
            within.buffers += child.buffers;
            within.views += child.views;
        }
        if field.dictionary().is_some() {
            // What is within belongs to the dictionary.
            return Some(shape);
        }
        shape.buffers = match field.type_type() {
            Type::Null | Type::RunEndEncoded => 0,
            Type::Struct_ | Type::FixedSizeList => 1,
            Type::Union => match field.type_as_union()?.mode() {
                UnionMode::Dense => 2,
                _ => 1,
            },
            Type::Int
            | Type::FloatingPoint
            | Type::Bool
            | Type::Decimal
            | Type::Date
            | Type::Time
            | Type::Timestamp
            | Type::Interval
            | Type::Duration
            | Type::FixedSizeBinary
            | Type::List
            | Type::LargeList
            | Type::Map => 2,
            Type::BinaryView | Type::Utf8View => {
                shape.views = 1;
                2
            }
            Type::Binary
            | Type::Utf8
            | Type::LargeBinary
            | Type::LargeUtf8
            | Type::ListView
            | Type::LargeListView => 3,
            _ => return None,
        };
        Some(Self {
            nodes: shape.nodes + within.nodes,
            buffers: shape.buffers + within.buffers,
            views: shape.views + within.views,
        })
    }
}

impl Kind {
    /// Of a column; the dictionaries of one that is passed over are added to `dictionaries`. `None` where nothing behind it could be found.
    pub(super) fn of(field: &arrow_ipc::Field<'_>, dictionaries: &mut Vec<i64>) -> Option<Self> {
        match Self::known(field) {
            Some(kind) => Some(kind),
            None => Shape::of(field, dictionaries).map(Self::Other),
        }
    }

    fn known(field: &arrow_ipc::Field<'_>) -> Option<Self> {
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
            _ => None,
        }
    }
}

/// A column that takes its part of a batch.
pub(super) trait Fill {
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

//! What texts of a column mean: each is understood once in a batch.

use super::super::decode::Names;

/// A kind of row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Kind {
    Start,
    Filter,
    Attached,
    State,
    Connection,
    Retransmit,
    Reset,
    ConnectFailed,
    TimeWaitOverflow,
    FdExhausted,
    Lost,
    Fact,
    Process,
    Hook,
    End,
    /// Of a later version: passed over.
    Unknown,
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "start" => Self::Start,
            "filter" => Self::Filter,
            "attached" => Self::Attached,
            "state" => Self::State,
            "connection" => Self::Connection,
            "retransmit" => Self::Retransmit,
            "reset" => Self::Reset,
            "connect_failed" => Self::ConnectFailed,
            "time_wait_overflow" => Self::TimeWaitOverflow,
            "fd_exhausted" => Self::FdExhausted,
            "lost" => Self::Lost,
            "fact" => Self::Fact,
            "process" => Self::Process,
            "hook" => Self::Hook,
            "end" => Self::End,
            _ => Self::Unknown,
        }
    }
}

/// What the texts of a column mean, by their keys in the present batch.
pub(super) struct Meanings<T>(Vec<Option<T>>);

impl<T> Default for Meanings<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Meanings<T> {
    pub(super) fn learn(&mut self, column: &Names, meaning: impl Fn(&str) -> Option<T>) {
        self.0.clear();
        self.0
            .extend(column.texts().iter().map(|text| meaning(text)));
    }

    #[inline]
    pub(super) fn get(&self, column: &Names, row: usize) -> Option<T> {
        self.0.get(column.key(row)?)?.clone()
    }
}

/// One of an enumeration's values, by its name.
pub(super) fn named<T: Copy>(
    from_byte: impl Fn(u8) -> Option<T>,
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Option<T> {
    (0..=u8::MAX)
        .map_while(from_byte)
        .find(|value| name(*value) == text)
}

//! Bytes of a ring buffer, or of a trace file, to records. Any bytes give a record or an error.

use std::fmt;

use bytemuck::AnyBitPattern;
use tracer_common::record::{
    ConnectFailed, Connection, FdExhausted, Head, Kind, ProcessSeen, Reset, Retransmit, State,
    TimeWaitOverflow,
};

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A state change.
    State(State),
    /// A connection at its end.
    Connection(Connection),
    /// Segments sent again.
    Retransmit(Retransmit),
    /// A reset.
    Reset(Reset),
    /// A failed connect.
    ConnectFailed(ConnectFailed),
    /// Time-wait table full.
    TimeWaitOverflow(TimeWaitOverflow),
    /// Out of descriptors.
    FdExhausted(FdExhausted),
    /// A process that was not known.
    ProcessSeen(Box<ProcessSeen>),
}

impl Record {
    /// The common part.
    #[must_use]
    pub fn head(&self) -> &Head {
        match self {
            Self::State(record) => &record.head,
            Self::Connection(record) => &record.head,
            Self::Retransmit(record) => &record.head,
            Self::Reset(record) => &record.head,
            Self::ConnectFailed(record) => &record.head,
            Self::TimeWaitOverflow(record) => &record.head,
            Self::FdExhausted(record) => &record.head,
            Self::ProcessSeen(record) => &record.head,
        }
    }
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than the part that all records have.
    TooShort {
        /// Bytes there were.
        len: usize,
    },
    /// A kind this version does not know.
    UnknownKind {
        /// Its number.
        kind: u8,
    },
    /// Not the size of its kind.
    WrongSize {
        /// What it says it is.
        kind: Kind,
        /// Bytes there were.
        len: usize,
        /// Bytes there should be.
        expected: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { len } => write!(f, "a record of {len} bytes is too short"),
            Self::UnknownKind { kind } => write!(f, "a record of the unknown kind {kind}"),
            Self::WrongSize {
                kind,
                len,
                expected,
            } => {
                write!(f, "a record {kind:?} of {len} bytes, not {expected}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes one record.
///
/// # Errors
///
/// When the bytes are not exactly one record of a known kind.
pub fn record(bytes: &[u8]) -> Result<Record, DecodeError> {
    let Some(head) = bytes.get(..size_of::<Head>()) else {
        return Err(DecodeError::TooShort { len: bytes.len() });
    };
    let head: Head = bytemuck::pod_read_unaligned(head);
    let kind = Kind::from_byte(head.kind).ok_or(DecodeError::UnknownKind { kind: head.kind })?;
    Ok(match kind {
        Kind::State => Record::State(exact(kind, bytes)?),
        Kind::Connection => Record::Connection(exact(kind, bytes)?),
        Kind::Retransmit => Record::Retransmit(exact(kind, bytes)?),
        Kind::Reset => Record::Reset(exact(kind, bytes)?),
        Kind::ConnectFailed => Record::ConnectFailed(exact(kind, bytes)?),
        Kind::TimeWaitOverflow => Record::TimeWaitOverflow(exact(kind, bytes)?),
        Kind::FdExhausted => Record::FdExhausted(exact(kind, bytes)?),
        Kind::ProcessSeen => Record::ProcessSeen(Box::new(exact(kind, bytes)?)),
    })
}

fn exact<T: AnyBitPattern>(kind: Kind, bytes: &[u8]) -> Result<T, DecodeError> {
    bytemuck::try_pod_read_unaligned(bytes).map_err(|_| DecodeError::WrongSize {
        kind,
        len: bytes.len(),
        expected: size_of::<T>(),
    })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_comes_back_as_it_went() {
        let mut state = State::zeroed();
        state.head.kind = Kind::State as u8;
        state.head.ts = 7;
        state.new = 1;
        assert_eq!(record(bytemuck::bytes_of(&state)), Ok(Record::State(state)));
    }

    #[test]
    fn a_record_cut_short_says_what_is_wrong() {
        let mut state = State::zeroed();
        state.head.kind = Kind::State as u8;
        let bytes = bytemuck::bytes_of(&state);
        assert_eq!(
            record(&bytes[..bytes.len() - 1]).map_err(|error| error.to_string()),
            Err("a record State of 95 bytes, not 96".to_owned())
        );
        assert_eq!(record(&bytes[..10]), Err(DecodeError::TooShort { len: 10 }));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_record_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in 0u8..12) {
            let mut bytes = bytes;
            let place = std::mem::offset_of!(Head, kind);
            if let Some(byte) = bytes.get_mut(place) {
                *byte = kind;
            }
            if let Ok(decoded) = record(&bytes) {
                prop_assert_eq!(decoded.head().kind, kind);
            }
        }

        #[test]
        fn the_right_number_of_any_bytes_is_a_record(filling in any::<u8>()) {
            let mut bytes = vec![filling; size_of::<Retransmit>()];
            bytes[std::mem::offset_of!(Head, kind)] = Kind::Retransmit as u8;
            prop_assert!(matches!(record(&bytes), Ok(Record::Retransmit(_))));
        }
    }
}

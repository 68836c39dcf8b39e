//! The stream's messages, one after the other: a length, a header (a flatbuffer), a body.
//!
//! Every length is held against what the file has left before anything is allocated: a file may be cut
//! off anywhere, or be something else.

use std::io::{self, Read};

/// A header's most bytes: that of a batch has about 40 for each column.
const MAX_HEADER: u64 = 4 << 20;
/// Before each message, `format/Message.fbs` of Arrow: a continuation marker.
const CONTINUATION: u32 = u32::MAX;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A message; its header and body are in [`Messages`].
    Message,
    /// The end, as it was written.
    End,
    /// The file ends here, between messages (true) or within one.
    Cut {
        /// Nothing of a message is there.
        clean: bool,
    },
    /// This is not a message.
    Damaged(String),
}

/// Reads messages.
pub(super) struct Messages<R> {
    from: R,
    /// Bytes that the file has left.
    left: u64,
    /// Where the present message begins.
    pub(super) offset: u64,
    size: u64,
    /// The present message's header, a verified flatbuffer.
    pub(super) header: Vec<u8>,
    /// Its body.
    pub(super) body: Vec<u8>,
}

impl<R: Read> Messages<R> {
    pub(super) const fn new(from: R, size: u64) -> Self {
        Self {
            from,
            left: size,
            offset: 0,
            size,
            header: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Reads a message. An error is one of the disk.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        self.offset = self.size - self.left;
        if self.left == 0 {
            return Ok(Next::Cut { clean: true });
        }
        let Some(marker) = self.number()? else {
            return Ok(Next::Cut { clean: false });
        };
        if marker != CONTINUATION {
            return Ok(Next::Damaged(String::from("no message begins here")));
        }
        let Some(length) = self.number()? else {
            return Ok(Next::Cut { clean: false });
        };
        let length = u64::from(length);
        if length == 0 {
            return Ok(Next::End);
        }
        if length > MAX_HEADER {
            return Ok(Next::Damaged(format!("a header of {length} bytes")));
        }
        if !take(&mut self.from, &mut self.left, length, &mut self.header)? {
            return Ok(Next::Cut { clean: false });
        }
        let length = match arrow_ipc::root_as_message(&self.header) {
            Ok(message) => message.bodyLength(),
            Err(error) => return Ok(Next::Damaged(format!("a malformed header: {error}"))),
        };
        let Ok(length) = u64::try_from(length) else {
            return Ok(Next::Damaged(format!("a body of {length} bytes")));
        };
        if !take(&mut self.from, &mut self.left, length, &mut self.body)? {
            return Ok(Next::Cut { clean: false });
        }
        Ok(Next::Message)
    }

    fn number(&mut self) -> io::Result<Option<u32>> {
        if self.left < 4 {
            self.left = 0;
            return Ok(None);
        }
        let mut bytes = [0; 4];
        self.from.read_exact(&mut bytes)?;
        self.left -= 4;
        Ok(Some(u32::from_le_bytes(bytes)))
    }
}

/// Reads `length` bytes; false when there are fewer.
fn take(from: &mut impl Read, left: &mut u64, length: u64, to: &mut Vec<u8>) -> io::Result<bool> {
    to.clear();
    if length > *left {
        *left = 0;
        return Ok(false);
    }
    // What is left of a file fits into memory's addresses, and is there.
    to.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
    from.read_exact(to)?;
    *left -= length;
    Ok(true)
}

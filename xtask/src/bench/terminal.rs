//! A terminal that a program draws on: presses keys, and sees what is drawn.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::pty::{Winsize, openpty};
use vt100::Parser;

const ROWS: u16 = 60;
const COLUMNS: u16 = 200;

/// This side of it.
pub(crate) struct Terminal {
    keys: File,
    shown: Arc<Shown>,
}

/// What it shows.
struct Shown {
    parser: Mutex<Parser>,
    has_changed: Condvar,
}

impl Shown {
    /// The parser is whole after a panic, too.
    fn parser(&self) -> MutexGuard<'_, Parser> {
        self.parser.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what the program writes, once it is shown.
pub(crate) struct Written {
    from: File,
    shown: Arc<Shown>,
}

impl Read for Written {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.shown.parser().process(&buffer[..length]);
        self.shown.has_changed.notify_all();
        Ok(length)
    }
}

impl Terminal {
    /// Opens one; returns the program's side of it, and what the program writes, too.
    pub(crate) fn open() -> Result<(Self, File, Written)> {
        let size = Winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let terminal = openpty(Some(&size), None).context("cannot open a terminal")?;
        let shown = Arc::new(Shown {
            parser: Mutex::new(Parser::new(ROWS, COLUMNS, 0)),
            has_changed: Condvar::new(),
        });
        let from = File::from(terminal.master);
        let keys = from.try_clone()?;
        let written = Written {
            from,
            shown: Arc::clone(&shown),
        };
        Ok((Self { keys, shown }, terminal.slave.into(), written))
    }

    /// Presses a key, and returns how long it takes until `text` is shown, or no longer shown.
    ///
    /// # Errors
    ///
    /// When that does not come within `patience`.
    pub(crate) fn press(
        &mut self,
        key: &str,
        text: &str,
        is_shown: bool,
        patience: Duration,
    ) -> Result<Duration> {
        let start = Instant::now();
        self.keys.write_all(key.as_bytes())?;
        let mut parser = self.shown.parser();
        while parser.screen().contents().contains(text) != is_shown {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() {
                bail!("the key {key:?} does nothing within {patience:?}");
            }
            let waited = self.shown.has_changed.wait_timeout(parser, left);
            parser = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(start.elapsed())
    }
}

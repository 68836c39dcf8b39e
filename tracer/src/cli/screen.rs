//! Whether a command shows the screen.

use std::{
    env,
    io::{self, IsTerminal as _},
};

use crate::{
    error::{Error, Result},
    screen::terminal,
};

/// Whether the screen is to be shown: as was asked for, by default where there is a terminal to draw on.
///
/// # Errors
///
/// When it was asked for and can't be drawn.
pub(super) fn is_shown(wanted: Option<bool>) -> Result<bool> {
    let is_terminal = io::stdout().is_terminal();
    let term = env::var("TERM").ok();
    let is_drawable = terminal::is_drawable(term.as_deref());
    match wanted {
        Some(true) if !is_terminal => Err(Error::usage(
            "the screen needs a terminal, and the output is none",
            "--format lines and --format json go into a pipe or a file",
        )),
        Some(true) if !is_drawable => Err(Error::usage(
            format!(
                "the screen can't be drawn on this terminal: TERM is {}",
                term.as_deref().unwrap_or("not set")
            ),
            "use --format lines, or set TERM to what the terminal is, such as xterm-256color",
        )),
        Some(wanted) => Ok(wanted),
        None => Ok(is_terminal && is_drawable),
    }
}

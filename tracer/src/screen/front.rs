//! The front: what is typed comes in, what is shown goes out.

use std::{io, time::Duration};

use crossterm::event::{Event, EventStream};
use futures::StreamExt as _;
use ratatui::layout::Rect;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    draw::{self, Theme},
    state::State,
    terminal::{self, Guard},
};

/// The screen is drawn this often at most, unless a key asks for it: nobody reads faster, and drawing is most of what it takes.
const FRAME: Duration = Duration::from_millis(200);

/// What comes from the terminal.
#[derive(Debug)]
pub enum Input {
    /// A key, the mouse, a new size.
    Event(Event),
    /// It is time to draw.
    Frame,
}

/// A terminal that is drawn on.
pub struct Front {
    guard: Guard,
    theme: Theme,
    keys: EventStream,
    frame: Interval,
}

impl Front {
    /// Takes over the terminal; within a runtime.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't be set.
    pub fn new() -> io::Result<Self> {
        let mut frame = interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            guard: Guard::new()?,
            theme: terminal::theme(),
            keys: EventStream::new(),
            frame,
        })
    }

    /// Waits for what comes next. It can be dropped while it waits and nothing is lost.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub async fn input(&mut self) -> io::Result<Input> {
        tokio::select! {
            biased;
            event = self.keys.next() => match event {
                Some(event) => event.map(Input::Event),
                None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal has gone")),
            },
            _ = self.frame.tick() => Ok(Input::Frame),
        }
    }

    /// The size of the screen.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub fn area(&self) -> io::Result<Rect> {
        let size = self.guard.terminal.size()?;
        Ok(Rect::new(0, 0, size.width, size.height))
    }

    /// Draws the state.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub fn draw(&mut self, state: &State) -> io::Result<()> {
        let theme = self.theme;
        self.guard
            .terminal
            .draw(|frame| draw::draw(frame, state, &theme))
            .map(|_| ())
    }
}

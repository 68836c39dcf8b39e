//! The screen at work: takes a trace, answers keys, draws.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crossterm::{clipboard::CopyToClipboard, event::Event as Typed, execute};

use super::{
    front::{Front, Input},
    record::Recorder,
    state::State,
    ticket::ticket,
    update::{Action, Seek, update},
};
use crate::{
    diagnose::findings,
    error::Result,
    event::Event,
    fact::Fact,
    file::place::create,
    sink::Sink,
    trace::frame::{End, Start, Sums},
};

/// What is wrong is looked for this often at most.
const LOOK: Duration = Duration::from_millis(500);

/// A screen that takes a trace.
pub struct Screen {
    /// What it shows.
    pub state: State,
    open: Open,
    recorder: Option<Recorder>,
    diagnosed: Option<Instant>,
}

/// Makes a trace file to record to.
pub type Open = fn(&Path) -> Result<Box<dyn Sink>>;

/// What an input asks of whoever feeds the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing more.
    GoOn,
    /// To end.
    Quit,
    /// To move a recorded trace's time.
    Seek(Seek),
}

impl Screen {
    /// A screen that records to files that `open` makes.
    #[must_use]
    pub fn new(open: Open) -> Self {
        Self {
            state: State::default(),
            open,
            recorder: None,
            diagnosed: None,
        }
    }

    /// Draws the first frame, and from then on what `input` brings.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub fn take(&mut self, input: &Input, front: &mut Front) -> io::Result<Wish> {
        match input {
            Input::Frame => {
                self.draw_news(front)?;
                Ok(Wish::GoOn)
            }
            Input::Event(typed) => self.typed(typed, front),
        }
    }

    /// Draws if anything is new.
    ///
    /// # Errors
    ///
    /// When the terminal has gone.
    pub fn draw_news(&mut self, front: &mut Front) -> io::Result<()> {
        if self.diagnosed.is_none_or(|last| last.elapsed() >= LOOK) {
            self.diagnosed = Some(Instant::now());
            self.state.set_findings(findings(&self.state.aggregate));
        }
        if !self.state.take_news() {
            return Ok(());
        }
        self.state.refresh();
        front.draw(&self.state)
    }

    fn typed(&mut self, typed: &Typed, front: &mut Front) -> io::Result<Wish> {
        let wish = match update(&mut self.state, typed, front.area()?) {
            None => Wish::GoOn,
            Some(Action::Quit) => Wish::Quit,
            Some(Action::Seek(seek)) => Wish::Seek(seek),
            Some(Action::Record) => {
                self.record()?;
                Wish::GoOn
            }
            Some(Action::Ticket) => {
                self.state.message = Some(match self.write_ticket() {
                    Ok(path) => format!("written to {} and copied", path.display()),
                    Err(error) => format!("can't write the ticket: {error}"),
                });
                Wish::GoOn
            }
        };
        self.draw_news(front)?;
        Ok(wish)
    }

    /// Begins to record, or ends it.
    fn record(&mut self) -> io::Result<()> {
        let now = self.state.aggregate.now;
        self.state.message = Some(if self.state.player.is_some() {
            "this is a recorded trace already".to_owned()
        } else if let Some(recorder) = self.recorder.take() {
            let path = self.state.recording.take().map(|(path, _)| path);
            let path = path.unwrap_or_default();
            match recorder.finish(now) {
                Ok(()) => format!("recorded to {}", path.display()),
                Err(error) => format!("can't end the recording to {}: {error}", path.display()),
            }
        } else {
            let path = file_name(&self.state, "tcptrace");
            match self.begin(&path) {
                Ok(recorder) => {
                    self.recorder = Some(recorder);
                    self.state.recording = Some((path.clone(), now));
                    format!("recording to {}; r ends it", path.display())
                }
                Err(error) => format!("can't record to {}: {error}", path.display()),
            }
        });
        Ok(())
    }

    fn begin(&self, path: &Path) -> Result<Recorder> {
        let sink = (self.open)(path)?;
        Recorder::new(sink, &self.state.aggregate)
            .map_err(|error| anyhow::Error::from(error).into())
    }

    /// Hands what comes in to the recorder; one that fails is given up, and the screen goes on.
    fn recorded(&mut self, hand: impl FnOnce(&mut Recorder) -> io::Result<()>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = hand(recorder)
        {
            self.recorder = None;
            self.state.recording = None;
            self.state.message = Some(format!("the recording has ended: {error}"));
        }
    }

    fn write_ticket(&self) -> anyhow::Result<PathBuf> {
        let text = ticket(&self.state);
        let path = file_name(&self.state, "md");
        let (mut file, place) = create(&path, false)?;
        file.write_all(text.as_bytes())?;
        place.keep()?;
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))?;
        Ok(path)
    }
}

/// `tcptrace-HOST-20260131T120000.123.md`, in the present folder.
fn file_name(state: &State, extension: &str) -> PathBuf {
    let host = state
        .aggregate
        .start
        .as_ref()
        .map_or("", |start| start.host.as_str());
    let is_plain = |char: &char| char.is_ascii_alphanumeric() || *char == '-';
    let host: String = host.chars().filter(is_plain).collect();
    let now = state.aggregate.now.to_string();
    let digits: String = now
        .chars()
        .take(23)
        .filter(|char| char.is_ascii_alphanumeric() || *char == '.')
        .collect();
    PathBuf::from(format!("tcptrace-{host}-{digits}.{extension}"))
}

impl Sink for Screen {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.state.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.recorded(|recorder| recorder.event(event));
        self.state.event(event)
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.recorded(|recorder| recorder.fact(fact));
        self.state.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.recorded(|recorder| recorder.sums(sums));
        self.state.sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.recorded(|recorder| recorder.end(end));
        self.recorder = None;
        self.state.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.recorded(Sink::flush);
        Ok(())
    }
}

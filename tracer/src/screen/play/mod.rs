//! Plays a recorded trace on the screen.
//!
//! The file's reader drives: what it reads waits here until its time has come, and meanwhile keys are
//! answered and the screen is drawn. To go back in time the file is read again from its beginning.

mod time;

use std::{
    future,
    io::{self, ErrorKind},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::sleep_until,
};

use self::time::{Clock, Span};
use super::{
    front::{Front, Input},
    run::{Screen, Wish},
    state::{Player, Speed},
    update::Seek,
};
use crate::{
    error::{Error, Result},
    event::Event,
    fact::Fact,
    file::{self, Completeness},
    sink::{
        Sink,
        only::{Only, Wanted},
    },
    time::Time,
    trace::frame::{End, Start, Sums},
};

/// While time runs as fast as it can, keys are answered this often.
const LOOK: Duration = Duration::from_millis(20);

/// Plays what is wanted of the trace in a file until the user quits.
///
/// # Errors
///
/// When the file can't be read, or there is no terminal.
pub fn play(path: &Path, wanted: &Wanted, speed: Speed) -> Result<Completeness> {
    let mut span = Span::default();
    let completeness = file::read(path, &mut span)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event loop")?;
    let mut playing = {
        let _within = runtime.enter();
        Playing::new(&span, speed).context("the terminal can't be taken over")?
    };
    playing.runtime = Some(runtime);
    if let Completeness::Truncated { reason } = &completeness {
        playing.screen.state.message = Some(reason.clone());
    }
    loop {
        let read = file::read(path, &mut Only::new(&mut playing, wanted.clone()));
        let read = match (read, playing.broken_off.take()) {
            (_, Some(BrokenOff::Quit)) => break,
            (_, Some(BrokenOff::Back)) => Ok(()),
            (Ok(_), None) => playing.at_end(),
            (Err(error), None) => Err(error),
        };
        read?;
        if playing.broken_off.take() == Some(BrokenOff::Quit) {
            break;
        }
    }
    Ok(completeness)
}

/// Why the file is not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BrokenOff {
    Quit,
    /// It is read again, up to [`Playing::target`].
    Back,
}

struct Playing {
    screen: Screen,
    front: Front,
    runtime: Option<Runtime>,
    interrupt: Signal,
    terminate: Signal,
    clock: Clock,
    /// Everything up to here is read without waiting.
    target: Option<Time>,
    /// One event is let through although time stands.
    is_stepping: bool,
    looked: Instant,
    broken_off: Option<BrokenOff>,
}

impl Playing {
    fn new(span: &Span, speed: Speed) -> io::Result<Self> {
        let mut screen = Screen::new(|_| {
            Err(Error::usage(
                "this is a recorded trace already",
                "copy its file",
            ))
        });
        screen.state.player = Some(Player {
            first: span.first.unwrap_or(span.last),
            last: span.last,
            speed,
            is_paused: false,
        });
        let now = Instant::now();
        Ok(Self {
            screen,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            front: Front::new()?,
            runtime: None,
            clock: Clock {
                trace: Time(0),
                here: now,
            },
            target: None,
            is_stepping: false,
            looked: now,
            broken_off: None,
        })
    }

    fn player(&self) -> Player {
        self.screen.state.player.unwrap_or(Player {
            first: Time(0),
            last: Time(0),
            speed: Speed::Max,
            is_paused: false,
        })
    }

    /// Waits until the time of what comes next, and answers keys.
    fn wait(&mut self, ts: Time, is_event: bool) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.target.is_some_and(|target| ts < target) {
                if now.duration_since(self.looked) < LOOK {
                    return Ok(());
                }
                self.turn(Some(now))?;
                if self.target.is_some() {
                    return Ok(());
                }
                continue;
            }
            if self.target.take().is_some() {
                self.clock = Clock {
                    trace: ts,
                    here: now,
                };
            }
            if self.is_stepping {
                self.is_stepping = !is_event;
                self.clock = Clock {
                    trace: ts,
                    here: now,
                };
                return Ok(());
            }
            let due = self.clock.due(ts, &self.player());
            let is_due = due.is_some_and(|due| due <= now);
            if is_due && now.duration_since(self.looked) < LOOK {
                return Ok(());
            }
            self.turn(if is_due { Some(now) } else { due })?;
            if is_due {
                return Ok(());
            }
        }
    }

    /// Answers what is typed, and draws, until a time; with `None` until something was typed.
    fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.looked = Instant::now();
        let before = self.player();
        loop {
            let input = self.input(until)?;
            let Some(input) = input else { return Ok(()) };
            let wish = self.screen.take(&input, &mut self.front)?;
            let is_frame = matches!(input, Input::Frame);
            match wish {
                Wish::Quit => return self.break_off(BrokenOff::Quit),
                Wish::Seek(seek) => return self.seek(seek),
                Wish::GoOn if self.player() != before => {
                    // Time goes on from where it is, not from where it would be by now.
                    self.clock = Clock {
                        trace: self.screen.state.aggregate.now,
                        here: Instant::now(),
                    };
                    return Ok(());
                }
                Wish::GoOn if !is_frame && until.is_none() => return Ok(()),
                Wish::GoOn => {}
            }
        }
    }

    /// What comes from the terminal; `None` when the time has come first.
    fn input(&mut self, until: Option<Instant>) -> io::Result<Option<Input>> {
        let Some(runtime) = &self.runtime else {
            return Ok(None);
        };
        let (front, interrupt, terminate) =
            (&mut self.front, &mut self.interrupt, &mut self.terminate);
        let input = runtime.block_on(async {
            let time = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = interrupt.recv() => Ok(None),
                _ = terminate.recv() => Ok(None),
                input = front.input() => input.map(Some),
                () = time => Err(io::Error::from(ErrorKind::TimedOut)),
            }
        });
        match input {
            Ok(Some(input)) => Ok(Some(input)),
            Ok(None) => self.break_off(BrokenOff::Quit).map(|()| None),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the reading of the file: the reader hands the error on.
    fn break_off(&mut self, why: BrokenOff) -> io::Result<()> {
        self.broken_off = Some(why);
        Err(io::Error::other("broken off"))
    }

    fn seek(&mut self, seek: Seek) -> io::Result<()> {
        let player = self.player();
        let now = self.screen.state.aggregate.now;
        let target = match seek {
            Seek::Step => {
                self.is_stepping = true;
                if let Some(player) = &mut self.screen.state.player {
                    player.is_paused = true;
                }
                return Ok(());
            }
            Seek::Start => player.first,
            Seek::End => Time(player.last.0 + 1),
            Seek::Seconds(seconds) => {
                let ns = seconds.unsigned_abs() * 1_000_000_000;
                if seconds < 0 {
                    Time(now.0.saturating_sub(ns)).max(player.first)
                } else {
                    Time(now.0 + ns)
                }
            }
        };
        self.target = Some(target);
        if target <= now {
            self.break_off(BrokenOff::Back)
        } else {
            Ok(())
        }
    }

    /// Stays at the trace's end until the user quits or goes back.
    fn at_end(&mut self) -> Result<()> {
        self.target = None;
        while self.broken_off.is_none() {
            if let Err(error) = self.turn(None)
                && self.broken_off.is_none()
            {
                return Err(anyhow::Error::from(error).into());
            }
            self.target = self
                .target
                .filter(|_| self.broken_off == Some(BrokenOff::Back));
        }
        Ok(())
    }
}

impl Sink for Playing {
    fn start(&mut self, start: &Start) -> io::Result<()> {
        self.screen.state.restart();
        self.clock = Clock {
            trace: start.ts,
            here: Instant::now(),
        };
        self.screen.start(start)
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.wait(event.ts, true)?;
        self.screen.event(event)
    }

    fn fact(&mut self, fact: &Fact) -> io::Result<()> {
        self.wait(fact.ts, false)?;
        self.screen.fact(fact)
    }

    fn sums(&mut self, sums: &Sums) -> io::Result<()> {
        self.wait(sums.ts, false)?;
        self.screen.sums(sums)
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.wait(end.ts, false)?;
        self.screen.end(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

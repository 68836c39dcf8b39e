//! The terminal: taken over, and given back however the program ends.

use std::{
    env,
    io::{self, BufWriter, Stdout, Write},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor::{Hide, Show},
    event::{DisableMouseCapture, EnableMouseCapture},
    execute,
    terminal::{
        Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode,
    },
};
use ratatui::{Terminal, backend::CrosstermBackend};

use super::draw::{Signs, Theme};

/// The terminal, until this is dropped, a panic, or [`give_back`].
pub struct Guard {
    /// What is drawn on.
    pub terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

/// Whether the terminal is ours now.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

impl Guard {
    /// Takes over the terminal.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't be set.
    pub fn new() -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        // From here on a failure gives it back.
        let give_back = |error| {
            give_back();
            error
        };
        execute!(io::stdout(), EnterAlternateScreen, EnableMouseCapture, Hide)
            .map_err(give_back)?;
        let out = BufWriter::with_capacity(64 << 10, io::stdout());
        let terminal = Terminal::new(CrosstermBackend::new(out)).map_err(give_back)?;
        Ok(Self { terminal })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, once.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    // Nothing can be done about a terminal that has gone. Cleared, as tmux leaves some of a screen behind
    // that has become larger.
    let _ = execute!(
        io::stdout(),
        DisableMouseCapture,
        Clear(ClearType::All),
        LeaveAlternateScreen,
        Show
    );
    let _ = io::stdout().flush();
    let _ = disable_raw_mode();
}

/// A panic's message must stand on the terminal as it was.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

/// Whether a terminal of this name (`TERM`) can be drawn on.
#[must_use]
pub fn is_drawable(term: Option<&str>) -> bool {
    !matches!(term, None | Some("" | "dumb"))
}

/// How things look here: without colours where `NO_COLOR` says so (<https://no-color.org>), with plain
/// letters where the locale is not UTF-8.
#[must_use]
pub fn theme() -> Theme {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    let signs = if shows_unicode(locale.as_deref()) {
        Signs::UNICODE
    } else {
        Signs::ASCII
    };
    Theme::new(set("NO_COLOR").is_none(), signs)
}

/// Most terminals do; a locale that is set to something else means that this one may not.
fn shows_unicode(locale: Option<&str>) -> bool {
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Read as _,
        os::fd::{AsFd as _, OwnedFd},
        process::{Command, Stdio},
    };

    use nix::{
        pty::openpty,
        sys::termios::{LocalFlags, tcgetattr},
    };

    use super::*;

    #[test]
    fn a_locale_that_is_not_unicode_gets_plain_letters() {
        assert!(shows_unicode(None));
        assert!(shows_unicode(Some("de_DE.UTF-8")));
        assert!(!shows_unicode(Some("C")));
        assert!(!shows_unicode(Some("POSIX")));
    }

    /// Not a test by itself: what [`a_panic_gives_the_terminal_back`] runs on a terminal of its own.
    #[test]
    fn panics_on_a_terminal_if_asked_to() {
        if env::var_os("TCPTRACE_TEST_PANIC").is_none() {
            return;
        }
        let _guard = Guard::new().expect("a terminal");
        panic!("on purpose");
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let pty = openpty(None, None).unwrap();
        // Asked on this side: the other is hung up when the process that leads its session ends.
        let asked = pty.master.try_clone().unwrap();
        let before = tcgetattr(&asked).unwrap();
        assert!(
            before
                .local_flags
                .contains(LocalFlags::ICANON | LocalFlags::ECHO)
        );
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["panics_on_a_terminal_if_asked_to", "--nocapture"])
            .env("TCPTRACE_TEST_PANIC", "1")
            .stdin(end())
            .stdout(end())
            .stderr(end());
        let mut child = command.spawn().unwrap();
        let shown = read_until_ended(&pty.master, child.id());
        assert!(!child.wait().unwrap().success(), "it panicked: {shown}");
        let after = tcgetattr(&asked).unwrap();
        assert_eq!(before, after);
        let taken = shown.find("\u{1b}[?1049h").expect("it took the terminal");
        let left = shown.find("\u{1b}[?1049l").expect("it left the terminal");
        let said = shown.find("on purpose").expect("the panic's message");
        assert!(taken < left && left < said, "{shown:?}");
        for end in ["\u{1b}[?1000l", "\u{1b}[?25h"] {
            assert!(shown.contains(end), "{end:?} in {shown:?}");
        }
    }

    /// What the terminal shows until the child has ended.
    fn read_until_ended(master: &OwnedFd, child: u32) -> String {
        let mut shown = Vec::new();
        let mut master = File::from(master.try_clone().unwrap());
        let mut bytes = [0; 4096];
        loop {
            let mut polled = [nix::poll::PollFd::new(
                master.as_fd(),
                nix::poll::PollFlags::POLLIN,
            )];
            if nix::poll::poll(&mut polled, 100u16).unwrap() == 0 {
                let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
                if state.contains(") Z ") {
                    return String::from_utf8_lossy(&shown).into_owned();
                }
                continue;
            }
            let count = master.read(&mut bytes).unwrap_or(0);
            shown.extend_from_slice(&bytes[..count]);
        }
    }
}

//! Colours and signs. Colours are the terminal's own sixteen, so they suit a dark and a light one; what
//! is red is also bold, so that it stands out without colours.

use ratatui::style::{Color, Modifier, Style};

use crate::diagnose::Severity;

/// How things look.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    has_colour: bool,
    /// Signs.
    pub signs: Signs,
}

/// Signs.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// From little to much.
    pub bars: [char; 8],
    /// A rule.
    pub rule: &'static str,
    /// From a local end to a remote one.
    pub to: &'static str,
    /// From a remote end to a local one.
    pub from: &'static str,
    /// The order goes down.
    pub down: &'static str,
    /// The order goes up.
    pub up: &'static str,
    /// It plays.
    pub play: &'static str,
    /// It stands.
    pub pause: &'static str,
    /// It is recorded.
    pub record: &'static str,
    /// How bad a finding is.
    pub severities: [&'static str; 3],
    /// There is more.
    pub more: char,
}

impl Signs {
    /// For terminals that show Unicode.
    pub const UNICODE: Self = Self {
        bars: ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        rule: "─",
        to: "→",
        from: "←",
        down: "▼",
        up: "▲",
        play: "▶",
        pause: "‖",
        record: "●",
        severities: ["✖", "▲", "•"],
        more: '…',
    };
    /// For others.
    pub const ASCII: Self = Self {
        bars: ['.', '.', ':', ':', '=', '=', '#', '#'],
        rule: "-",
        to: "->",
        from: "<-",
        down: "v",
        up: "^",
        play: ">",
        pause: "=",
        record: "*",
        severities: ["X", "!", "-"],
        more: '~',
    };
}

impl Theme {
    /// With or without colours.
    #[must_use]
    pub const fn new(has_colour: bool, signs: Signs) -> Self {
        Self { has_colour, signs }
    }

    const fn colour(&self, colour: Color) -> Style {
        if self.has_colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// Names and heads.
    #[must_use]
    pub const fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What may be overlooked.
    #[must_use]
    pub const fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The selected line.
    #[must_use]
    pub const fn selected(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What is wrong.
    #[must_use]
    pub const fn bad(&self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What may go wrong.
    #[must_use]
    pub const fn doubtful(&self) -> Style {
        self.colour(Color::Yellow)
    }

    /// A message.
    #[must_use]
    pub const fn notice(&self) -> Style {
        self.colour(Color::Cyan)
    }

    /// A finding's.
    #[must_use]
    pub const fn severity(&self, severity: Severity) -> Style {
        match severity {
            Severity::Critical => self.bad(),
            Severity::Warning => self.doubtful().add_modifier(Modifier::BOLD),
            Severity::Notice => self.notice(),
        }
    }

    /// A kind of event, in the stream and in the table's column.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Style {
        match kind {
            "fd_exhausted" | "lost" => self.bad(),
            "connect_failed" => self.colour(Color::Red),
            "retransmit" => self.colour(Color::Yellow),
            "reset" => self.colour(Color::Magenta),
            "time_wait_overflow" => self.colour(Color::Cyan),
            "connection" => Style::new(),
            _ => self.faint(),
        }
    }
}

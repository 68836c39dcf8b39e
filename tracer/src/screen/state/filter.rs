//! The text that narrows what is shown: names, pids, ports, addresses.

use std::net::IpAddr;

use crate::{event::Event, identity::Identity};

/// Words that must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// In lower case.
    text: String,
    /// Digits that a pid or port may begin with.
    digits: Option<Digits>,
    /// A port and nothing else, as in `:443`.
    is_port: bool,
    /// It may be a part of an address.
    is_address: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digits {
    number: u32,
    bound: u32,
}

impl Digits {
    fn of(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 7 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            number: text.parse().ok()?,
            bound: 10u32.pow(u32::try_from(text.len()).ok()?),
        })
    }

    const fn begin(self, mut number: u32) -> bool {
        while number >= self.bound {
            number /= 10;
        }
        number == self.number
    }
}

impl Term {
    fn of(word: &str) -> Self {
        let port = word.strip_prefix(':').and_then(Digits::of);
        let is_part_of_address =
            |byte: u8| byte.is_ascii_hexdigit() || byte == b'.' || byte == b':';
        Self {
            text: word.to_ascii_lowercase(),
            digits: port.or_else(|| Digits::of(word)),
            is_port: port.is_some(),
            is_address: port.is_none()
                && (word.contains('.') || word.contains(':'))
                && word.bytes().all(is_part_of_address),
        }
    }

    fn port(&self, port: u16) -> bool {
        self.digits.is_some_and(|digits| digits.begin(port.into()))
    }

    fn identity(&self, who: &Identity) -> bool {
        if self.is_port {
            return false;
        }
        let place = &who.place;
        self.digits.is_some_and(|digits| digits.begin(who.pid))
            || contains(&who.comm, &self.text)
            || place
                .unit
                .as_deref()
                .is_some_and(|unit| contains(unit, &self.text))
            || place
                .container
                .as_ref()
                .is_some_and(|container| contains(&container.id, &self.text))
            || who.args.iter().any(|arg| contains(arg, &self.text))
    }

    fn address(&self, address: IpAddr) -> bool {
        // Making a text of each address is slow: only for what can be a part of one.
        self.is_address && address.to_string().contains(&self.text)
    }

    fn event(&self, event: &Event) -> bool {
        if event.owner.as_deref().is_some_and(|who| self.identity(who)) {
            return true;
        }
        if !self.is_port && event.detail.kind().contains(self.text.as_str()) {
            return true;
        }
        event.ends.is_some_and(|ends| {
            [Some(ends.local), ends.remote]
                .into_iter()
                .flatten()
                .any(|end| self.port(end.port()) || self.address(end.ip()))
        })
    }
}

/// Whether `text` contains `part`, which is in lower case.
fn contains(text: &str, part: &str) -> bool {
    text.as_bytes()
        .windows(part.len().max(1))
        .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

impl Filter {
    /// From a text, as it is typed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            terms: text.split_whitespace().map(Term::of).collect(),
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether everything passes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an event passes.
    #[must_use]
    pub fn event(&self, event: &Event) -> bool {
        self.terms.iter().all(|term| term.event(event))
    }

    /// Whether a subject passes that has these names, processes and ends.
    pub fn subject<'a, E>(
        &self,
        name: &str,
        who: impl Iterator<Item = &'a Identity> + Clone,
        ends: E,
    ) -> bool
    where
        E: Iterator<Item = (IpAddr, u16)> + Clone,
    {
        self.terms.iter().all(|term| {
            (!term.is_port && contains(name, &term.text))
                || who.clone().any(|who| term.identity(who))
                || ends
                    .clone()
                    .any(|(address, port)| term.port(port) || term.address(address))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, rc::Rc};

    use super::*;
    use crate::{
        event::{Detail, Direction, Ends},
        time::Time,
    };

    fn event() -> Event {
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        let detail = Detail::Reset {
            direction: Direction::Sent,
            reason: None,
        };
        Event {
            owner: Some(Rc::new(Identity {
                pid: 812,
                comm: "Redis-server".to_owned(),
                ..Identity::default()
            })),
            ends: Some(Ends {
                local: end("10.0.0.2:6379"),
                remote: Some(end("10.0.0.77:51282")),
            }),
            ..Event::nobody(Time(0), None, detail)
        }
    }

    #[test]
    fn names_pids_ports_and_addresses_match() {
        for text in [
            "",
            "redis",
            "SERVER",
            "812",
            "8",
            "6379",
            "63",
            ":6379",
            ":51",
            "10.0.0.77",
            "0.77",
            "reset",
            "redis :6379",
        ] {
            assert!(Filter::new(text).event(&event()), "{text}");
        }
        for text in [
            "nginx",
            "813",
            ":812",
            "10.0.1",
            "redis nginx",
            "12",
            "retransmit",
            "77",
        ] {
            assert!(!Filter::new(text).event(&event()), "{text}");
        }
    }
}

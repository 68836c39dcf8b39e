//! Reading `tcptrace`'s events in a test.

use std::collections::BTreeMap;

use serde_json::Value;

/// One line of `--format json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(pub Value);

impl Event {
    /// The kind: `state`, `retransmit`, ...
    pub fn kind(&self) -> &str {
        self.text("event")
    }

    /// A text field, empty when it is null; fails when there is no such field.
    pub fn text(&self, field: &str) -> &str {
        self.field(field).as_str().unwrap_or_default()
    }

    /// A number, -1 when it is null; fails when there is no such field.
    pub fn num(&self, field: &str) -> i64 {
        self.field(field).as_i64().unwrap_or(-1)
    }

    /// The owner's process id, 0 when unknown.
    pub fn pid(&self) -> u32 {
        self.field("pid").as_u64().unwrap_or(0) as u32
    }

    /// The time, in nanoseconds since 1970.
    pub fn time_ns(&self) -> i64 {
        nanoseconds(self.text("ts"))
    }

    /// A field, which must be there even when it is null.
    pub fn field(&self, field: &str) -> &Value {
        self.0
            .get(field)
            .unwrap_or_else(|| panic!("no field `{field}` in {}", self.0))
    }

    /// `laddr:lport` and `raddr:rport`.
    pub fn endpoints(&self) -> (String, String) {
        let end = |address, port| format!("{}:{}", self.text(address), self.num(port));
        (end("laddr", "lport"), end("raddr", "rport"))
    }
}

/// The time that RFC 3339 text with nine digits after the point stands for, in nanoseconds since 1970.
pub fn nanoseconds(text: &str) -> i64 {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(
        shape, "0000-00-00T00:00:00.000000000Z",
        "not a time: {text}"
    );
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since 1970 of a date, with the year starting in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + day
        - 1
        - 719_468;
    let seconds = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    seconds * 1_000_000_000 + number(20, 29)
}

/// The events of one kind, in order.
pub fn of<'a>(events: &'a [Event], kind: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.kind() == kind).collect()
}

/// How many retransmits are of a process.
pub fn retransmits_of(events: &[Event], pid: u32) -> usize {
    let retransmits = of(events, "retransmit").into_iter();
    retransmits.filter(|event| event.pid() == pid).count()
}

/// The sum of a number over the events of one kind.
pub fn sum(events: &[Event], kind: &str, field: &str) -> u64 {
    of(events, kind)
        .iter()
        .map(|event| event.num(field) as u64)
        .sum()
}

/// What happened, in a few lines: how often each kind of event came from each process, with its error, cause or end.
pub fn digest(events: &[Event]) -> String {
    let mut lines = BTreeMap::<_, u64>::new();
    for event in events {
        let why: Vec<_> = ["errno", "syscall", "cause", "direction", "reason", "end"]
            .iter()
            .filter_map(|field| event.0.get(field)?.as_str())
            .collect();
        let count = ["count", "segs"]
            .iter()
            .find_map(|field| event.0.get(field)?.as_u64());
        let line = format!("{} {} {}", event.kind(), event.text("comm"), why.join(" "));
        *lines.entry(line).or_default() += count.unwrap_or(1);
    }
    let lines: Vec<_> = lines
        .iter()
        .map(|(line, count)| format!("{count:>8} {line}"))
        .collect();
    lines.join("\n")
}

/// Each connection's `state` events, in order, by `conn_id`.
pub fn connections(events: &[Event]) -> BTreeMap<i64, Vec<&Event>> {
    let mut connections = BTreeMap::<_, Vec<_>>::new();
    for event in of(events, "state") {
        connections
            .entry(event.num("conn_id"))
            .or_default()
            .push(event);
    }
    connections
}

/// The states a connection went through, as `CLOSE SYN_SENT ESTABLISHED`; fails when one transition does not start where
/// the last one ended.
pub fn path(states: &[&Event]) -> String {
    let mut path = states[0].text("old").to_owned();
    for pair in states.windows(2) {
        assert_eq!(
            pair[0].text("new"),
            pair[1].text("old"),
            "a transition is missing in {states:#?}"
        );
    }
    for event in states {
        path.push(' ');
        path.push_str(event.text("new"));
    }
    path
}

/// All connections' paths with their number of connections.
pub fn paths(events: &[Event]) -> BTreeMap<String, usize> {
    let mut paths = BTreeMap::new();
    for states in connections(events).values() {
        *paths.entry(path(states)).or_default() += 1;
    }
    paths
}

/// The one connection whose path starts with `start`.
pub fn connection<'a>(events: &'a [Event], start: &str) -> Vec<&'a Event> {
    let mut found: Vec<_> = connections(events)
        .into_values()
        .filter(|states| path(states).starts_with(start))
        .collect();
    assert_eq!(
        found.len(),
        1,
        "connections that start with {start} among {:#?}",
        paths(events)
    );
    found.remove(0)
}

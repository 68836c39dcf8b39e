//! Budgets: what a trace may have, from a TOML file and the command line.
//!
//! Everything in the file is known or refused, as a misspelt budget would always hold.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::Deserialize;
use toml::Spanned;

use super::quantile::Quantile;
use crate::measure::Measure;

/// What may be, of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Whose numbers are added up.
    pub scope: Scope,
    /// What is limited.
    pub what: What,
    /// The most that it may be.
    pub limit: f64,
    /// Line in the file; `None` for one of the command line.
    pub line: Option<usize>,
}

/// Whose numbers are added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole trace's.
    Trace,
    /// Those of all processes of a name.
    Program {
        /// The name (`comm`).
        comm: String,
        /// Whether the trace may lack it.
        is_optional: bool,
    },
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace => f.write_str("all"),
            Self::Program { comm, .. } => f.write_str(comm),
        }
    }
}

/// What is limited.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A number.
    Count(Measure),
    /// A number for each connection that ended.
    PerConnection(Measure),
    /// A number for each second of the trace.
    PerSecond(Measure),
    /// A time, us, within which a share of connections stays.
    Latency(Latency, Quantile),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(measure) => measure.fmt(f),
            Self::PerConnection(measure) => write!(f, "{measure} per connection"),
            Self::PerSecond(measure) => write!(f, "{measure} per second"),
            Self::Latency(latency, quantile) => write!(f, "{} {quantile}", latency.name()),
        }
    }
}

/// A time that connections take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// The handshake.
    Connect,
    /// From the first state to the last.
    Duration,
}

impl Latency {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect_us",
            Self::Duration => "duration_us",
        }
    }
}

/// A limit: a number that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
struct Limit(f64);

impl TryFrom<f64> for Limit {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        if number.is_finite() && number >= 0.0 {
            Ok(Self(number))
        } else {
            Err(format!("a budget is 0 or more, not {number}"))
        }
    }
}

type Limits<K> = BTreeMap<K, Spanned<Limit>>;

/// The tables of the file, for the whole trace.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    max: Limits<Measure>,
    max_per_connection: Limits<Measure>,
    max_per_second: Limits<Measure>,
    latency: Latencies,
    program: BTreeMap<Comm, Program>,
}

/// A program's name, as long as the kernel keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Comm(String);

/// Bytes of it (`include/linux/sched.h: TASK_COMM_LEN`, less the last one).
const COMM: usize = 15;

impl TryFrom<String> for Comm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if (1..=COMM).contains(&name.len()) {
            return Ok(Self(name));
        }
        let cut = &name[..name.floor_char_boundary(COMM)];
        Err(format!(
            "no process is called `{name}`: the kernel keeps 1 to {COMM} bytes of a name, of this one `{cut}`"
        ))
    }
}

/// The tables of a program.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Program {
    optional: bool,
    max: Limits<Measure>,
    max_per_connection: Limits<Measure>,
    max_per_second: Limits<Measure>,
    latency: Latencies,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Latencies {
    connect_us: Limits<Quantile>,
    duration_us: Limits<Quantile>,
}

/// Reads a file's text.
///
/// # Errors
///
/// Names line and column, what is wrong there, and what exists.
pub fn parse(text: &str) -> Result<Vec<Budget>, String> {
    let file: File =
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    let mut budgets = Vec::new();
    let mut add = |scope: &Scope, tables: [&Limits<Measure>; 3], latency: &Latencies| {
        let makes: [fn(Measure) -> What; 3] = [What::Count, What::PerConnection, What::PerSecond];
        for (limits, make) in tables.into_iter().zip(makes) {
            for (measure, limit) in limits {
                budgets.push(budget(text, scope, make(*measure), limit));
            }
        }
        let times = [
            (Latency::Connect, &latency.connect_us),
            (Latency::Duration, &latency.duration_us),
        ];
        for (latency, limits) in times {
            for (quantile, limit) in limits {
                budgets.push(budget(
                    text,
                    scope,
                    What::Latency(latency, *quantile),
                    limit,
                ));
            }
        }
    };
    let tables = [&file.max, &file.max_per_connection, &file.max_per_second];
    add(&Scope::Trace, tables, &file.latency);
    for (comm, program) in &file.program {
        let scope = Scope::Program {
            comm: comm.0.clone(),
            is_optional: program.optional,
        };
        let tables = [
            &program.max,
            &program.max_per_connection,
            &program.max_per_second,
        ];
        add(&scope, tables, &program.latency);
    }
    budgets.sort_by_key(|budget| budget.line);
    Ok(budgets)
}

fn budget(text: &str, scope: &Scope, what: What, limit: &Spanned<Limit>) -> Budget {
    Budget {
        scope: scope.clone(),
        what,
        limit: limit.as_ref().0,
        line: Some(line(text, limit.span())),
    }
}

fn line(text: &str, span: Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Reads `KIND=N` of the command line.
///
/// # Errors
///
/// Says what is wrong, and what exists.
pub fn max(text: &str) -> Result<Budget, String> {
    let (measure, limit) = text
        .split_once('=')
        .ok_or("write KIND=N, such as retransmits=0")?;
    let limit: f64 = limit
        .parse()
        .map_err(|_| format!("`{limit}` is not a number"))?;
    Ok(Budget {
        scope: Scope::Trace,
        what: What::Count(measure.parse()?),
        limit: Limit::try_from(limit)?.0,
        line: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# A comment
[max]
fd_exhausted = 0
"connect_failed:ECONNREFUSED" = 2

[max_per_connection]
retransmits = 0.01

[latency.connect_us]
"p99.9" = 5000
max = 9e6

[program.redis-server]
optional = true
max = { "retransmits:rto" = 3 }
max_per_second.resets_sent = 1

[program.nginx.latency.duration_us]
p50 = 100
"#;

    #[test]
    fn a_file_is_read_with_its_lines() {
        let told: Vec<String> = parse(FILE)
            .unwrap()
            .iter()
            .map(|budget| {
                format!(
                    "{} {}: {} <= {}",
                    budget.line.unwrap(),
                    budget.scope,
                    budget.what,
                    budget.limit
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "3 all: fd_exhausted <= 0",
                "4 all: connect_failed:ECONNREFUSED <= 2",
                "7 all: retransmits per connection <= 0.01",
                "10 all: connect_us p99.9 <= 5000",
                "11 all: connect_us max <= 9000000",
                "15 redis-server: retransmits:rto <= 3",
                "16 redis-server: resets_sent per second <= 1",
                "19 nginx: duration_us p50 <= 100",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line_and_what_there_is() {
        for (file, wanted) in [
            (
                "\n[max]\nretransmit = 0",
                &["line 3", "no kind `retransmit`", "time_wait_overflow"][..],
            ),
            (
                "[maximum]\nretransmits = 0",
                &["line 1", "unknown field `maximum`", "`max_per_second`"],
            ),
            ("[max]\nretransmits = -1", &["line 2", "0 or more, not -1"]),
            ("[max]\nretransmits = nan", &["line 2", "0 or more"]),
            ("[max]\nretransmits = \"0\"", &["line 2", "invalid type"]),
            (
                "[max]\nretransmits = 0\nretransmits = 1",
                &["line 3", "duplicate key"],
            ),
            (
                "[latency.connect_us]\np0 = 1",
                &["line 2", "no quantile `p0`"],
            ),
            (
                "[latency.connect_ms]\np50 = 1",
                &["line 1", "`connect_ms`", "`duration_us`"],
            ),
            (
                "[program.a]\nmaxx = {}",
                &["line 2", "`maxx`", "`optional`"],
            ),
            (
                "[program.a.max]\n\"retransmits:never\" = 0",
                &["line 2", "no sort `never`", "tlp"],
            ),
            (
                "[program.a.max]\nretransmits = 0\n[program.a-name-of-17-bytes.max]\nretransmits = 0",
                &["line 3", "1 to 15 bytes", "`a-name-of-17-by`"],
            ),
            ("[program.\"\".max]\nretransmits = 0", &["1 to 15 bytes"]),
            ("max", &["line 1"]),
        ] {
            let error = parse(file).unwrap_err();
            for word in wanted {
                assert!(error.contains(word), "{word} in: {error}");
            }
        }
    }

    #[test]
    fn the_command_line_says_what_is_wrong() {
        let budget = max("retransmits:rto=3").unwrap();
        assert_eq!(
            (budget.what.to_string(), budget.limit),
            (String::from("retransmits:rto"), 3.0)
        );
        for text in [
            "retransmits",
            "retransmits=many",
            "what=1",
            "retransmits=-1",
        ] {
            assert!(max(text).is_err(), "{text}");
        }
    }
}

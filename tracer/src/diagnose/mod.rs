//! Findings: what is wrong, how we know, and what to do about it.
//!
//! A rule is a pure function of an [`Aggregate`]: it gives the same answer for a live trace and a recorded
//! one. It stays silent where the evidence is thin. A file per rule, a page per rule in `docs/findings/`.

pub mod format;
mod phrase;
mod who;

mod back_off;
mod exhausted;
mod file_table;
mod give_up;
mod listener;
mod origin;
mod refused;
mod stalled;

mod accept_queue_overflow;
mod connect_refused;
mod fd_limit;
mod fd_limit_inherited;
mod half_open_risk;
mod inotify_instances;
mod local_firewall_drop;
mod packet_loss;
mod peer_restarted;
mod peer_vanished;
mod ports_exhausted;
mod syn_queue_overflow;
mod time_wait_overflow;
mod zero_window;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod synthetic;

use std::net::SocketAddr;

use serde::Serialize;

pub use self::who::Who;
use crate::{aggregate::Aggregate, time::Time};

/// A cause of trouble that can be named.
trait Rule: Sync {
    /// Its name, which is that of its findings.
    fn name(&self) -> &'static str;

    /// The page about it.
    fn page(&self) -> &'static str;

    /// What it finds in a trace.
    fn check(&self, aggregate: &Aggregate) -> Vec<Finding>;
}

/// All rules. `docs/findings/` has a page for each, and a test compares them.
static RULES: [&dyn Rule; 14] = [
    &fd_limit::FdLimit,
    &fd_limit_inherited::FdLimitInherited,
    &inotify_instances::InotifyInstances,
    &connect_refused::ConnectRefused,
    &ports_exhausted::PortsExhausted,
    &accept_queue_overflow::AcceptQueueOverflow,
    &syn_queue_overflow::SynQueueOverflow,
    &peer_vanished::PeerVanished,
    &peer_restarted::PeerRestarted,
    &zero_window::ZeroWindow,
    &packet_loss::PacketLoss,
    &local_firewall_drop::LocalFirewallDrop,
    &time_wait_overflow::TimeWaitOverflow,
    &half_open_risk::HalfOpenRisk,
];

/// What is wrong in a trace, the worst first, and then what was.
#[must_use]
pub fn findings(aggregate: &Aggregate) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES
        .iter()
        .flat_map(|rule| {
            let mut found = rule.check(aggregate);
            for finding in &mut found {
                finding.name = rule.name();
                finding.page = rule.page();
                finding.age(aggregate.now);
            }
            found
        })
        .collect();
    findings.sort_by_key(|finding| (finding.seen.is_long_ago(), finding.severity, finding.first));
    findings
}

/// Without a new sign for so long, ns, a finding is told as one of the past.
const LONG_AGO: u64 = 30_000_000_000;

/// A named cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule's name, such as `fd-limit`.
    #[serde(rename = "finding")]
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Its first sign.
    pub first: Time,
    /// Its latest sign.
    pub last: Time,
    /// How long ago that is.
    #[serde(skip)]
    pub seen: Seen,
    /// What is wrong, in a sentence.
    pub sentence: String,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// How we know.
    pub evidence: Vec<Evidence>,
    /// What to do, in this order, and what not to do.
    pub remedy: Vec<String>,
    /// The page about it in the repository.
    pub page: &'static str,
}

/// How long ago a finding was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Not long.
    #[default]
    Lately,
    /// It is a state: it lasts until something says otherwise, however long ago it was seen.
    Lasting,
    /// So long, ns, that it may be over.
    LongAgo(u64),
}

impl Seen {
    const fn is_long_ago(self) -> bool {
        matches!(self, Self::LongAgo(_))
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work.
    Critical,
    /// Something works badly, or soon will not.
    Warning,
    /// Nothing fails, but it should be known.
    Notice,
}

impl Severity {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct About {
    /// The process that has it worst.
    pub process: Option<Who>,
    /// How many processes have it.
    pub processes: usize,
    /// The other side.
    pub peer: Option<String>,
    /// The listener.
    pub listener: Option<SocketAddr>,
    /// Network namespace, inode number.
    pub netns: Option<u32>,
}

/// Something that was measured or read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The field's, counter's or sysctl's own name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

impl Evidence {
    fn new(name: impl Into<String>, value: impl ToString, source: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.to_string(),
            source: source.into(),
        }
    }
}

impl Finding {
    /// A finding that still lacks evidence and remedy; its name and page come from its rule.
    fn new(severity: Severity, first: Time, last: Time, sentence: String, about: About) -> Self {
        Self {
            name: "",
            severity,
            first,
            last,
            seen: Seen::default(),
            sentence,
            about,
            evidence: Vec::new(),
            remedy: Vec::new(),
            page: "",
        }
    }

    /// It is `now`: whether that is long after the last sign.
    fn age(&mut self, now: Time) {
        let ago = now.since(self.last);
        if self.seen == Seen::Lately && ago > LONG_AGO {
            self.seen = Seen::LongAgo(ago);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_rule_has_its_page_and_every_page_its_rule() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings");
        let pages: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        let expected: BTreeSet<String> = RULES
            .iter()
            .map(|rule| format!("{}.md", rule.name()))
            .collect();
        assert_eq!(pages, expected);
        for rule in RULES {
            assert_eq!(rule.page(), format!("docs/findings/{}.md", rule.name()));
        }
    }

    #[test]
    fn every_rule_has_an_end_to_end_test() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        let tests: String = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .as_encoded_bytes()
                    .starts_with(b"finding_")
            })
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        for rule in RULES {
            let found = format!("the_only(\"{}\"", rule.name());
            assert!(tests.contains(&found), "no test has {found}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_happened() {
        assert_eq!(findings(&Aggregate::default()), []);
    }
}

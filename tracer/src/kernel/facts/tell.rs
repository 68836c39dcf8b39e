//! What was read becomes facts; a value that has not changed is told once.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io,
};

use rustc_hash::FxHashMap;
use tracer_common::tcp::state;

use crate::{
    event::{Ends, State},
    fact::{Fact, Subject, Value, name},
    kernel::clock::{self, Epoch},
    sink::Sink,
    time::Time,
};

/// Subjects that are remembered; beyond that many all are told anew.
const SUBJECTS: usize = 16_384;

/// Collects facts until they are handed to the sink.
pub(super) struct Tell {
    epoch: Epoch,
    now: Time,
    told: FxHashMap<Subject, BTreeMap<Cow<'static, str>, Value>>,
    waiting: Vec<Fact>,
}

impl Tell {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            now: Time::default(),
            told: FxHashMap::default(),
            waiting: Vec::new(),
        }
    }

    /// What is told from here on was read now.
    pub(super) fn at_now(&mut self) {
        self.now = self.epoch.time(clock::now());
        if self.told.len() > SUBJECTS {
            self.told.clear();
        }
    }

    /// The subject has this number; too large ones (`RLIM_INFINITY`) become the largest.
    pub(super) fn number(
        &mut self,
        subject: Subject,
        name: impl Into<Cow<'static, str>>,
        number: impl TryInto<i64>,
    ) {
        let number = number.try_into().unwrap_or(i64::MAX);
        self.value(subject, name.into(), Value::Number(number));
    }

    /// As above, where the number is known.
    pub(super) fn maybe(
        &mut self,
        subject: Subject,
        name: &'static str,
        number: Option<impl TryInto<i64>>,
    ) {
        if let Some(number) = number {
            self.number(subject, name, number);
        }
    }

    /// The subject has this text.
    pub(super) fn text(
        &mut self,
        subject: Subject,
        name: impl Into<Cow<'static, str>>,
        text: impl Into<String>,
    ) {
        self.value(subject, name.into(), Value::Text(text.into()));
    }

    /// A number that was told before.
    pub(super) fn told(&self, subject: &Subject, name: &str) -> Option<i64> {
        self.told.get(subject)?.get(name)?.number()
    }

    /// Whether this text was told before.
    pub(super) fn is_text(&self, subject: &Subject, name: &str, text: &str) -> bool {
        let told = self.told.get(subject).and_then(|told| told.get(name));
        matches!(told, Some(Value::Text(told)) if told == text)
    }

    /// The subject is gone: nothing of it is told again.
    pub(super) fn forget(&mut self, subject: &Subject) {
        self.told.remove(subject);
    }

    /// Connections that were told and have not ended.
    pub(super) fn connections(&self) -> impl Iterator<Item = (u32, Ends)> {
        self.told.keys().filter_map(|subject| match *subject {
            Subject::Connection { netns, ends } => Some((netns, ends)),
            _ => None,
        })
    }

    /// Namespaces whose counters were told.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = u32> {
        self.told
            .iter()
            .filter_map(|(subject, told)| match subject {
                Subject::Namespace(netns) if told.contains_key("sockstat.TCP.tw") => Some(*netns),
                _ => None,
            })
    }

    fn value(&mut self, subject: Subject, name: Cow<'static, str>, value: Value) {
        debug_assert!(
            name::is_known(subject.of(), &name),
            "no name of a fact: {name}"
        );
        let told = self.told.entry(subject).or_default();
        if told.get(&name) == Some(&value) {
            return;
        }
        told.insert(name.clone(), value.clone());
        self.waiting.push(Fact {
            ts: self.now,
            subject,
            name,
            value,
        });
    }

    /// A connection is over, or nobody listens there any more: what was told stands no more.
    pub(super) fn closed(&mut self, subject: Subject) {
        if self.told.remove(&subject).is_some() {
            self.waiting.push(Fact {
                ts: self.now,
                subject,
                name: name::STATE.into(),
                value: Value::Text(State(state::CLOSE).name().into()),
            });
        }
    }

    /// As above, all of a kind but these.
    pub(super) fn closed_but(
        &mut self,
        these: &HashSet<Subject>,
        is_kind: impl Fn(&Subject) -> bool,
    ) {
        let told = self.told.keys();
        let gone: Vec<Subject> = told
            .filter(|it| is_kind(it) && !these.contains(it))
            .copied()
            .collect();
        for subject in gone {
            self.closed(subject);
        }
    }

    /// Hands over what waits.
    pub(super) fn flush(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.waiting.drain(..).try_for_each(|fact| sink.fact(&fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregate;

    #[test]
    fn a_connection_that_was_told_is_told_to_have_ended() {
        let ends = |port| Ends {
            local: ([10, 0, 0, 1], port).into(),
            remote: Some(([10, 0, 0, 2], 6_379).into()),
        };
        let subject = |port| Subject::Connection {
            netns: 1,
            ends: ends(port),
        };
        let mut tell = Tell::new(Epoch { boot: 0 });
        let mut aggregate = Aggregate::default();
        tell.text(subject(40_000), name::STATE, "ESTABLISHED");
        for port in [40_000, 40_001] {
            tell.closed(subject(port));
        }
        tell.flush(&mut aggregate).unwrap();
        let state = |port| aggregate.facts.text(&subject(port), name::STATE);
        assert_eq!((state(40_000), state(40_001)), (Some("CLOSE"), None));
        // Another with the same ends is told anew.
        tell.text(subject(40_000), name::STATE, "ESTABLISHED");
        assert_eq!(tell.waiting.len(), 1);
    }

    #[test]
    fn a_value_is_told_when_it_changes() {
        let mut tell = Tell::new(Epoch { boot: 0 });
        let mut aggregate = Aggregate::default();
        for value in [7, 7, 9] {
            tell.number(Subject::Machine, name::FILE_NR, value);
        }
        assert_eq!(tell.waiting.len(), 2);
        tell.number(Subject::Machine, name::FILE_MAX, u64::MAX);
        tell.flush(&mut aggregate).unwrap();
        assert_eq!(
            aggregate.facts.growth(&Subject::Machine, name::FILE_NR),
            Some(2)
        );
        assert_eq!(
            aggregate.facts.number(&Subject::Machine, name::FILE_MAX),
            Some(i64::MAX)
        );
    }
}

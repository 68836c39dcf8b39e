//! Listeners as facts tell them.

use std::net::SocketAddr;

use super::who;
use crate::{
    aggregate::Aggregate,
    event::Ends,
    fact::{Known, Subject, name},
    identity::Pid,
};

/// A listener.
pub(super) struct Listener<'a> {
    aggregate: &'a Aggregate,
    subject: Subject,
    pub(super) local: SocketAddr,
}

/// The listeners of a namespace.
pub(super) fn of_namespace(aggregate: &Aggregate, wanted: u32) -> Vec<Listener<'_>> {
    let mut listeners: Vec<_> = aggregate
        .facts
        .subjects()
        .filter_map(|subject| match *subject {
            Subject::Listener { netns, local } if netns == wanted => Some(Listener {
                aggregate,
                subject: *subject,
                local,
            }),
            _ => None,
        })
        .collect();
    listeners.sort_by_key(|listener| listener.local);
    listeners
}

/// Whether the other end of a connection is a listener of the same host whose queue was full: to the client the
/// connection stands, and the listener drops what it sends until somebody accepts.
pub(super) fn is_full_at_the_other_end(aggregate: &Aggregate, netns: u32, ends: &Ends) -> bool {
    let Some(remote) = ends.remote.filter(|it| it.ip() == ends.local.ip()) else {
        return false;
    };
    is_full(aggregate, netns, remote)
}

/// Whether a listener of this host at an address had a full queue.
pub(super) fn is_full(aggregate: &Aggregate, netns: u32, at: SocketAddr) -> bool {
    of_namespace(aggregate, netns).iter().any(|it| {
        it.local.port() == at.port()
            && (it.local.ip().is_unspecified() || it.local.ip() == at.ip())
            && it.full().is_some()
    })
}

/// The namespaces that facts tell something about.
pub(super) fn namespaces(aggregate: &Aggregate) -> Vec<u32> {
    let mut all: Vec<u32> = aggregate
        .facts
        .subjects()
        .filter_map(|subject| match subject {
            Subject::Namespace(netns) => Some(*netns),
            _ => None,
        })
        .collect();
    all.sort_unstable();
    all
}

impl Listener<'_> {
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.aggregate
            .facts
            .number(&self.subject, name)?
            .try_into()
            .ok()
    }

    /// What was last read when its queue was full.
    pub(super) fn full(&self) -> Option<&Known> {
        self.aggregate.facts.get(&self.subject, name::BACKLOG_FULL)
    }

    pub(super) fn holder(&self) -> Option<Pid> {
        who::holder(self.aggregate, &self.subject)
    }
}

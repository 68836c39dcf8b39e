//! The processes of the kernel's map: what they add up to, and when they are forgotten.

use std::collections::HashSet;

use tracer_common::process::{Process, ProcessKey, Totals, flag};

use super::Trace;
use crate::sink::Sink;

impl Trace {
    /// Whether a process ended since the last time that owned sockets: others may hold them.
    pub(super) fn has_an_owner_ended(&mut self, processes: &[(ProcessKey, Process)]) -> bool {
        let survived: HashSet<_> = processes
            .iter()
            .filter(|(_, process)| process.flags & flag::EXITED != 0 && process.sockets != 0)
            .map(|(key, _)| *key)
            .collect();
        let is_new = !survived.is_subset(&self.survived);
        self.survived = survived;
        is_new
    }

    /// Tells the processes' sums that have changed since the last time, and the hooks' rows.
    pub(super) fn tell_sums(
        &mut self,
        processes: &[(ProcessKey, Process)],
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        for (key, process) in processes {
            let is_told =
                process.totals != Totals::default() || self.options.filters.lets_in(key, process);
            if !is_told {
                continue;
            }
            let now = (process.sockets, process.totals);
            if self.told.get(key) != Some(&now) {
                self.told.insert(*key, now);
                let row = self.row(key, process);
                changed.push(self.ended.with(key, row));
            }
        }
        sink.sums(&self.sums(changed)).map_err(Into::into)
    }

    /// Retires processes that ended and own nothing, a tick after they were first seen so: all their
    /// events have been shown by then. Tells which of all that ended are told together from now on.
    pub(super) fn forget_ended(
        &mut self,
        processes: &[(ProcessKey, Process)],
        sink: &mut dyn Sink,
    ) -> anyhow::Result<()> {
        let (mut leaving, mut gone) = (Vec::new(), Vec::new());
        for (key, process) in processes {
            if process.flags & flag::EXITED == 0 || process.sockets != 0 || !key.is_known() {
                continue;
            }
            // What was told of it is all there is.
            let is_told = self.session.process(key).as_ref() == Some(process);
            if is_told && self.leaving.contains(key) {
                gone.push((*key, *process));
            } else {
                leaving.push(*key);
            }
        }
        self.leaving = leaving;
        self.forget_storms(&gone, sink)?;
        for (key, process) in gone {
            let who = self.identities.find(&key, Some(process.comm));
            self.ended.retire(key, &who, &process.totals);
            self.session.forget(&key);
            self.identities.forget(&key);
            self.told.remove(&key);
        }
        let folded = self.ended.fold(|key| self.told.contains_key(key));
        if folded.is_empty() {
            return Ok(());
        }
        sink.sums(&self.sums(folded)).map_err(Into::into)
    }
}

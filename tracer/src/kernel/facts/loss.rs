//! Loss, and why the kernel drops packets while there is some.

use super::Collector;
use crate::{
    fact::{Subject, name},
    kernel::session::Session,
};

/// Segments sent again in a while from which on dropped packets are watched: a few are lost anywhere.
const LOSS: u32 = 10;
/// The while, in ticks. Without such loss in it they are not watched any more.
const WHILE: u64 = 10;

/// How much is lost.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// Segments sent again since the last but one beginning of a while, by the while.
    segs: [u32; 2],
    /// The last tick with loss, while dropped packets are watched.
    watched: Option<u64>,
}

impl Loss {
    /// Segments were sent again.
    pub(super) fn add(&mut self, segs: u32) {
        self.segs[0] = self.segs[0].saturating_add(segs);
    }

    fn is_much(&self) -> bool {
        self.segs[0].saturating_add(self.segs[1]) >= LOSS
    }

    /// A second has gone by.
    fn tick(&mut self, ticks: u64) {
        if ticks.is_multiple_of(WHILE) {
            self.segs = [0, self.segs[0]];
        }
    }
}

impl Collector {
    /// Watches what is dropped from when much is lost, or a connection gets nothing through.
    pub(super) fn watch_drops(&mut self, session: &mut Session) {
        if !self.loss.is_much() && self.stalled.is_empty() {
            return;
        }
        if self.loss.watched.is_none() {
            let is_watched = session.watch_drops(true);
            let is_watched = i64::from(is_watched);
            self.tell
                .number(Subject::Machine, name::DROPS_WATCHED, is_watched);
        }
        self.loss.watched = Some(self.ticks);
    }

    /// Tells what was dropped, and stops watching when nothing is lost any more.
    pub(super) fn look_into_loss(&mut self, session: &mut Session) {
        self.loss.tick(self.ticks);
        let Some(last) = self.loss.watched else {
            return;
        };
        for dropped in session.dropped() {
            let name = format!(
                "drop.{} {} {}",
                dropped.reason, dropped.source, dropped.destination
            );
            let subject = Subject::Namespace(dropped.netns);
            // Counted from when it began to be watched.
            if self.tell.told(&subject, &name).is_none() {
                self.tell.number(subject, name.clone(), 0);
            }
            self.tell.number(subject, name, dropped.count);
        }
        if self.ticks.saturating_sub(last) > WHILE {
            session.watch_drops(false);
            self.loss.watched = None;
            self.tell.number(Subject::Machine, name::DROPS_WATCHED, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_adds_up_over_several_seconds_and_is_forgotten() {
        let mut loss = Loss::default();
        for tick in 5..14 {
            assert!(!loss.is_much(), "{tick}");
            loss.add(1);
            loss.tick(tick);
        }
        loss.add(1);
        assert!(loss.is_much());
        for tick in 14..31 {
            loss.tick(tick);
        }
        assert!(!loss.is_much());
    }
}

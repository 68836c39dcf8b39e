//! What happened in the last minute, second by second.

use std::{collections::VecDeque, hash::Hash};

use rustc_hash::FxHashMap;

/// Seconds that are kept.
pub const MINUTE: u64 = 60;
/// Seconds that a rate is taken over.
const WINDOW: u64 = 5;
/// Subjects that are kept; when there are more, new ones wait until quiet ones have left.
const KEPT: usize = 8_192;

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of any kind.
    pub events: u32,
    /// Connections opened.
    pub opened: u32,
    /// Connects that failed.
    pub failed: u32,
    /// Segments sent again.
    pub segs: u32,
    /// Resets sent and received.
    pub resets: u32,
    /// Time-wait overflows.
    pub overflows: u32,
    /// Calls that found no descriptor.
    pub descriptors: u32,
}

impl Tally {
    /// Everything but events and plain connections.
    #[must_use]
    pub fn trouble(&self) -> u64 {
        [
            self.failed,
            self.segs,
            self.resets,
            self.overflows,
            self.descriptors,
        ]
        .into_iter()
        .map(u64::from)
        .sum()
    }

    /// Adds another.
    pub fn add(&mut self, more: &Self) {
        for (to, from) in [
            (&mut self.events, more.events),
            (&mut self.opened, more.opened),
            (&mut self.failed, more.failed),
            (&mut self.segs, more.segs),
            (&mut self.resets, more.resets),
            (&mut self.overflows, more.overflows),
            (&mut self.descriptors, more.descriptors),
        ] {
            *to = to.saturating_add(from);
        }
    }

    /// A share of it: part `index` of `of` whose sum is the whole.
    fn part(&self, index: u32, of: u32) -> Self {
        let part = |count: u32| count / of + u32::from(index < count % of);
        Self {
            events: part(self.events),
            opened: part(self.opened),
            failed: part(self.failed),
            segs: part(self.segs),
            resets: part(self.resets),
            overflows: part(self.overflows),
            descriptors: part(self.descriptors),
        }
    }
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Events of any kind.
    pub events: f64,
    /// Connections opened.
    pub opened: f64,
    /// Connects that failed.
    pub failed: f64,
    /// Segments sent again.
    pub segs: f64,
    /// Resets sent and received.
    pub resets: f64,
    /// Time-wait overflows.
    pub overflows: f64,
    /// Calls that found no descriptor.
    pub descriptors: f64,
}

impl Rates {
    /// Of a tally over some seconds.
    #[must_use]
    pub fn of(tally: &Tally, seconds: u64) -> Self {
        let per = |count: u32| f64::from(count) / seconds.max(1) as f64;
        Self {
            events: per(tally.events),
            opened: per(tally.opened),
            failed: per(tally.failed),
            segs: per(tally.segs),
            resets: per(tally.resets),
            overflows: per(tally.overflows),
            descriptors: per(tally.descriptors),
        }
    }
}

/// One subject's last minute. Seconds are counted from the trace's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    seconds: VecDeque<(u64, Tally)>,
    began: Option<u64>,
}

impl Recent {
    /// Adds what happened in a second.
    pub fn add(&mut self, second: u64, more: &Tally) {
        if more.trouble() > 0 {
            self.began = self
                .began
                .map_or(Some(second), |began| Some(began.min(second)));
        }
        match self.seconds.back_mut() {
            Some((last, tally)) if *last == second => tally.add(more),
            Some((last, _)) if *last > second => {
                let place = self.seconds.partition_point(|(other, _)| *other < second);
                match self.seconds.get_mut(place) {
                    Some((other, tally)) if *other == second => tally.add(more),
                    _ => self.seconds.insert(place, (second, *more)),
                }
            }
            _ => self.seconds.push_back((second, *more)),
        }
        while self.seconds.len() > MINUTE as usize + 1 {
            self.seconds.pop_front();
        }
    }

    /// Forgets what is older than a minute before `now`; false when nothing is left.
    fn prune(&mut self, now: u64) -> bool {
        while self
            .seconds
            .front()
            .is_some_and(|(second, _)| second + MINUTE <= now)
        {
            self.seconds.pop_front();
        }
        if self.seconds.iter().all(|(_, tally)| tally.trouble() == 0) {
            self.began = None;
        }
        !self.seconds.is_empty()
    }

    /// The second in which the present trouble began: since then no minute has been without any.
    #[must_use]
    pub const fn began(&self) -> Option<u64> {
        self.began
    }

    /// The sum of the `seconds` up to and with `now`.
    #[must_use]
    pub fn sum(&self, now: u64, seconds: u64) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self
            .seconds
            .iter()
            .filter(|(second, _)| *second <= now && second + seconds > now)
        {
            sum.add(tally);
        }
        sum
    }

    /// Per second, over the last few.
    #[must_use]
    pub fn rates(&self, now: u64) -> Rates {
        Rates::of(&self.sum(now, WINDOW), WINDOW.min(now))
    }

    /// A count of each second of the last minute, the oldest first.
    #[must_use]
    pub fn minute(&self, now: u64, count: impl Fn(&Tally) -> u64) -> [u64; MINUTE as usize] {
        let mut minute = [0; MINUTE as usize];
        for (second, tally) in &self.seconds {
            if let Some(age) = now.checked_sub(*second)
                && let Some(place) = (MINUTE - 1).checked_sub(age)
            {
                minute[place as usize] = count(tally);
            }
        }
        minute
    }
}

/// The last minute of many subjects.
#[derive(Clone, Debug)]
pub struct Recents<K> {
    known: FxHashMap<K, Recent>,
}

impl<K> Default for Recents<K> {
    fn default() -> Self {
        Self {
            known: FxHashMap::default(),
        }
    }
}

impl<K: Clone + Eq + Hash> Recents<K> {
    /// Adds what happened to a subject in a second.
    pub fn add(&mut self, key: K, second: u64, more: &Tally) {
        if *more == Tally::default() {
            return;
        }
        if self.known.len() >= KEPT && !self.known.contains_key(&key) {
            return;
        }
        self.known.entry(key).or_default().add(second, more);
    }

    /// Adds a subject's last minute to another's.
    pub fn merge(&mut self, key: &K, to: K) {
        if let Some(recent) = self.known.remove(key) {
            for (second, tally) in recent.seconds {
                self.add(to.clone(), second, &tally);
            }
        }
    }

    /// Adds what happened to a subject after one second and up to another, spread over them.
    pub fn spread(&mut self, key: K, after: u64, until: u64, more: &Tally) {
        let seconds = u32::try_from(until.saturating_sub(after).clamp(1, MINUTE)).unwrap_or(1);
        for index in 0..seconds {
            let second = until - u64::from(index).min(until);
            self.add(key.clone(), second, &more.part(index, seconds));
        }
    }

    /// Forgets what is older than a minute.
    pub fn prune(&mut self, now: u64) {
        self.known.retain(|_, recent| recent.prune(now));
    }

    /// A subject's last minute, if anything happened in it.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&Recent> {
        self.known.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failed: u32) -> Tally {
        Tally {
            failed,
            ..Tally::default()
        }
    }

    #[test]
    fn a_rate_is_over_five_seconds_or_what_there_was() {
        let mut recent = Recent::default();
        recent.add(1, &failed(4));
        assert_eq!(recent.rates(1).failed, 4.0);
        recent.add(2, &failed(4));
        assert_eq!(recent.rates(2).failed, 4.0);
        assert_eq!(recent.rates(6).failed, 0.8);
        assert_eq!(recent.rates(7).failed, 0.0);
    }

    #[test]
    fn a_minute_has_its_oldest_second_first() {
        let mut recent = Recent::default();
        recent.add(41, &failed(1));
        recent.add(100, &failed(2));
        // A second told late.
        recent.add(99, &failed(3));
        let minute = recent.minute(100, Tally::trouble);
        assert_eq!((minute[0], minute[58], minute[59]), (1, 3, 2));
        assert_eq!(minute.iter().sum::<u64>(), 6);
    }

    #[test]
    fn trouble_began_when_the_last_quiet_minute_ended() {
        let mut recents = Recents::default();
        for second in [10, 30, 80] {
            recents.add("a", second, &failed(1));
            recents.prune(second);
        }
        assert_eq!(recents.get(&"a").unwrap().began(), Some(10));
        recents.prune(141);
        assert!(recents.get(&"a").is_none());
        recents.add("a", 150, &failed(1));
        assert_eq!(recents.get(&"a").unwrap().began(), Some(150));
    }

    #[test]
    fn what_came_late_is_spread_and_its_sum_stays() {
        let mut recents = Recents::default();
        recents.spread("a", 3, 6, &failed(7));
        let recent = recents.get(&"a").unwrap();
        let minute = recent.minute(6, Tally::trouble);
        assert_eq!(minute[57..], [2, 2, 3]);
    }
}

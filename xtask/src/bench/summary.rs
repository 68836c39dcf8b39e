//! What tcptrace says at its end: events, and what was lost.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::Value;

/// A trace's own count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Events by kind.
    pub(crate) events: BTreeMap<String, u64>,
    pub(crate) lost: Lost,
}

/// What is missing, over all hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Lost {
    pub(crate) ring_full: u64,
    pub(crate) map_full: u64,
    pub(crate) skipped: u64,
}

impl Summary {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// When it is no summary: the trace ended in another way.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut summary = Self::default();
        let mut is_complete = false;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("lost at ") {
                summary.lost.add(rest).with_context(|| line.to_owned())?;
                is_complete = true;
            } else if line == "nothing lost, nothing skipped" {
                is_complete = true;
            } else if !is_complete
                && let [count, event] = line.split_whitespace().collect::<Vec<_>>()[..]
                && let Ok(count) = count.parse()
            {
                summary.events.insert(event.to_owned(), count);
            }
        }
        if !is_complete {
            bail!("tcptrace ended without a summary; it said: {}", text.trim());
        }
        Ok(summary)
    }

    /// From the JSON of `tcptrace report`.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(crate) fn of_report(json: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(json).context("the report is not JSON")?;
        let connections = &report["connections"]["in_events"];
        let connections = connections
            .as_u64()
            .context("the report has no connections")?;
        let mut lost = Lost::default();
        for row in report["lost"].as_array().into_iter().flatten() {
            let number = |name: &str| row[name].as_u64().unwrap_or(0);
            lost.ring_full += number("ring_full");
            lost.map_full += number("map_full");
            lost.skipped += number("skipped");
        }
        Ok(Self {
            events: BTreeMap::from([("connection".to_owned(), connections)]),
            lost,
        })
    }

    /// Events of all kinds.
    pub(crate) fn total(&self) -> u64 {
        self.events.values().sum()
    }
}

impl Lost {
    /// `HOOK: 3 ring full, 0 map full; 7 skipped by the kernel (of 20)`
    fn add(&mut self, line: &str) -> Result<()> {
        let (_, terms) = line.split_once(": ").context("no hook")?;
        for term in terms.split([',', ';']) {
            let (count, what) = term.trim().split_once(' ').context("no count")?;
            let place = match what {
                "ring full" => &mut self.ring_full,
                "map full" => &mut self.map_full,
                what if what.starts_with("skipped") => &mut self.skipped,
                _ => bail!("an unknown loss"),
            };
            *place += count.parse::<u64>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "
5.0 s
           1 connect_failed
           3 connection
nothing lost, nothing skipped
processes with most trouble:
  python3[25031]           2980 out of descriptors
";

    #[test]
    fn events_are_counted_by_kind() {
        let summary = Summary::read(CLEAN).unwrap();
        assert_eq!(summary.total(), 4);
        assert_eq!(summary.events["connection"], 3);
        assert_eq!(summary.lost, Lost::default());
    }

    #[test]
    fn losses_of_all_hooks_are_added_up() {
        let text = "\n1.0 s\n  7 connection\n\
            lost at a: 3 ring full, 0 map full; 7 skipped by the kernel (of 20)\n\
            lost at b: 2 ring full, 1 map full; 0 skipped by the kernel (of 20)\n";
        let lost = Lost {
            ring_full: 5,
            map_full: 1,
            skipped: 7,
        };
        assert_eq!(Summary::read(text).unwrap().lost, lost);
    }

    #[test]
    fn a_report_has_the_same() {
        let json = r#"{"connections": {"in_events": 7}, "lost": [{"ring_full": 2, "map_full": 0, "skipped": 1}]}"#;
        let summary = Summary::of_report(json).unwrap();
        assert_eq!(
            (
                summary.total(),
                summary.lost.ring_full,
                summary.lost.skipped
            ),
            (7, 2, 1)
        );
        assert!(Summary::of_report("{}").is_err());
    }

    #[test]
    fn another_end_is_no_summary() {
        assert!(Summary::read("tcptrace: no privilege\n").is_err());
    }
}

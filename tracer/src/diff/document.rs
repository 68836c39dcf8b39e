//! A comparison for people.

use super::{Count, Diff, Direction, Per, Times, noise::Verdict, run::Told};
use crate::document::{Document, Table, number, numbers, words};

impl Diff {
    /// What changed, with at most `top` rows in a table.
    #[must_use]
    pub fn document(&self, top: usize) -> Document {
        let mut to = Document::new(format!("What changed in {}", self.new.file));
        let runs: Vec<(&str, &Told)> = self
            .base
            .iter()
            .map(|told| ("base", told))
            .chain([("new", &self.new)])
            .collect();
        self.warn(&mut to, &runs);
        let columns = vec![
            words("RUN"),
            words("FILE"),
            words("HOST"),
            numbers("LENGTH"),
            numbers("CONNECTIONS"),
        ];
        to.table(Table::of("", columns, &runs, runs.len(), |(role, told)| {
            vec![
                (*role).to_owned(),
                told.file.clone(),
                number::known(told.host.clone()),
                number::time(told.duration_us),
                told.connections.to_string(),
            ]
        }));
        let with = |verdicts: &[Verdict], has_service: bool| -> Vec<&Count> {
            let is_meant = |count: &&Count| {
                verdicts.contains(&count.verdict) && count.service.is_some() == has_service
            };
            self.counts.iter().filter(is_meant).collect()
        };
        let changed = with(&[Verdict::Changed], false);
        let places = with(&[Verdict::Changed], true);
        let times: Vec<&Times> = self
            .times
            .iter()
            .filter(|times| times.verdict == Verdict::Changed)
            .collect();
        let few = with(&[Verdict::Appeared, Verdict::Gone], false);
        if changed.is_empty() && places.is_empty() && times.is_empty() {
            to.section("Nothing changed beyond chance.");
        } else {
            to.section("Changed, what matters most first");
        }
        to.table(self.table("By program", &changed, top));
        to.table(self.table("Where", &places, top));
        let columns = vec![
            words("PROGRAM"),
            words("TIME"),
            words("QUANTILE"),
            numbers("BASE"),
            numbers("NEW"),
            words("IS"),
        ];
        to.table(Table::of("Times", columns, &times, top, |times| {
            let at = |us: Option<u64>| number::known(us.map(number::time));
            vec![
                times.program.clone(),
                times.time.to_owned(),
                times.quantile.clone(),
                times
                    .base
                    .iter()
                    .map(|us| at(*us))
                    .collect::<Vec<_>>()
                    .join(", "),
                at(times.new),
                times.direction.name().to_owned(),
            ]
        }));
        to.table(self.table("On one side only, too few to tell from chance", &few, top));
        let noise = self
            .counts
            .iter()
            .filter(|count| count.verdict == Verdict::Noise)
            .count()
            + self
                .times
                .iter()
                .filter(|times| times.verdict == Verdict::Noise)
                .count();
        to.text(format!("{noise} numbers are as chance explains."));
        to
    }

    fn warn(&self, to: &mut Document, runs: &[(&str, &Told)]) {
        for (_, told) in runs {
            if let Some(reason) = &told.truncated {
                to.warning(format!(
                    "{} is truncated ({reason}): it is compared as far as it goes.",
                    told.file
                ));
            }
            if told.lost > 0 {
                to.warning(format!(
                    "{} lacks {}.",
                    told.file,
                    number::count(told.lost, "event")
                ));
            }
        }
        let lengths = || runs.iter().map(|(_, told)| told.duration_us);
        let (shortest, longest) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
        if self.per == Per::Run && longest > shortest.saturating_mul(2) {
            to.warning(
                "the runs differ in length by more than twice, and counts are compared as they are: \
                 right where each did the same work, else say --per second or --per connection.",
            );
        }
    }

    fn table(&self, title: &str, counts: &[&Count], top: usize) -> Table {
        let columns = vec![
            words("PROGRAM"),
            words("SERVICE"),
            words("WHAT"),
            numbers("BASE"),
            numbers("EXPECTED"),
            numbers("NEW"),
            words("IS"),
        ];
        let is_scaled = self.per != Per::Run || self.base.len() > 1;
        Table::of(title, columns, counts, top, |count| {
            let expected = format!("{:.1} +- {:.1}", count.expected, count.noise);
            vec![
                count.program.clone(),
                number::known(count.service.clone()),
                count.measure.to_string(),
                count
                    .base
                    .iter()
                    .map(u64::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
                if is_scaled { expected } else { String::new() },
                count.new.to_string(),
                count.direction.name().to_owned(),
            ]
        })
        .without_empty_columns()
    }
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::More => "more",
            Self::Fewer => "fewer",
            Self::Same => "same",
        }
    }
}

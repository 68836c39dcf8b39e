//! Checked budgets for people, for a CI's test view (JUnit XML), and as GitHub's annotations.

use anyhow::Context as _;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::{Checked, Outcome, Verdict, budget::What};
use crate::document::text::printable;

impl Checked {
    /// `all: retransmits <= 0`.
    #[must_use]
    pub fn name(&self) -> String {
        let budget = &self.budget;
        format!(
            "{}: {} <= {}",
            budget.scope,
            budget.what,
            amount(&budget.what, budget.limit)
        )
    }

    /// What it is, and where that comes from.
    #[must_use]
    pub fn finding(&self) -> String {
        match self.value {
            Some(value) => format!("is {} ({})", amount(&self.budget.what, value), self.source),
            None => format!("is not known ({})", self.source),
        }
    }
}

/// A number with its unit, and the digits that matter.
fn amount(what: &What, value: f64) -> String {
    let unit = if matches!(what, What::Latency(..)) {
        " us"
    } else {
        ""
    };
    let digits = format!("{value:.6}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{unit}")
}

/// A line for each, what was violated first, and what they come to.
#[must_use]
pub fn text(checked: &[Checked]) -> String {
    let mut checked: Vec<&Checked> = checked.iter().collect();
    checked.sort_by_key(|one| match one.verdict {
        Verdict::Violated => 0,
        Verdict::Inconclusive(_) => 1,
        Verdict::Held => 2,
    });
    let mut to = String::new();
    for one in &checked {
        let (mark, why) = match &one.verdict {
            Verdict::Held => ("held", String::new()),
            Verdict::Violated => ("VIOLATED", String::new()),
            Verdict::Inconclusive(why) => ("INCONCLUSIVE", format!("; {why}")),
        };
        to.push_str(&printable(&format!(
            "{mark:<12}  {}: {}{why}",
            one.name(),
            one.finding()
        )));
        to.push('\n');
    }
    let number =
        |wanted: fn(&Verdict) -> bool| checked.iter().filter(|one| wanted(&one.verdict)).count();
    to.push_str(&format!(
        "{} held, {} violated, {} inconclusive\n",
        number(|verdict| *verdict == Verdict::Held),
        number(|verdict| *verdict == Verdict::Violated),
        number(|verdict| matches!(verdict, Verdict::Inconclusive(_))),
    ));
    to
}

/// A test case for each.
///
/// # Errors
///
/// When the XML can't be made.
pub fn junit(checked: &[Checked]) -> anyhow::Result<String> {
    let mut suite = TestSuite::new("tcptrace check");
    for one in checked {
        let failed = |kind, message: String| {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(XmlString::new(message));
            status
        };
        let status = match &one.verdict {
            Verdict::Held => TestCaseStatus::success(),
            Verdict::Violated => failed(NonSuccessKind::Failure, one.finding()),
            Verdict::Inconclusive(why) => failed(
                NonSuccessKind::Error,
                format!("inconclusive: {}; {why}", one.finding()),
            ),
        };
        let mut case = TestCase::new(one.name(), status);
        case.set_classname(format!("tcptrace.{}", one.budget.scope));
        case.set_system_out(one.finding());
        suite.add_test_case(case);
    }
    let mut report = Report::new("tcptrace");
    report.add_test_suite(suite);
    report.to_string().context("cannot make JUnit XML")
}

/// A workflow command for each that did not hold, at its line of the budget file; a notice when all did.
#[must_use]
pub fn github(checked: &[Checked], file: Option<&str>) -> String {
    let mut to = String::new();
    for one in checked {
        let (command, why) = match &one.verdict {
            Verdict::Held => continue,
            Verdict::Violated => ("error", String::new()),
            // It fails the step as well.
            Verdict::Inconclusive(why) => ("error", format!("; inconclusive: {why}")),
        };
        let place = match (file, one.budget.line) {
            (Some(file), Some(line)) => format!("file={},line={line},", property(file)),
            _ => String::new(),
        };
        let message = format!("{}: {}{why}", one.name(), one.finding());
        to.push_str(&format!(
            "::{command} {place}title={}::{}\n",
            property("tcptrace: budget"),
            data(&message)
        ));
    }
    if Outcome::of(checked) == Outcome::Held {
        to.push_str(&format!(
            "::notice title={}::{} held\n",
            property("tcptrace: budget"),
            checked.len()
        ));
    }
    to
}

/// As GitHub's own toolkit escapes a command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// As it escapes a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{
        aggregate::sample::sample,
        check::{Checker, budget},
    };

    fn checked() -> Vec<Checked> {
        let mut sample = sample();
        sample.process(3, "100%<&>\nx");
        sample.skip(2);
        let aggregate = sample.end(10);
        let checker = Checker {
            aggregate: &aggregate,
            truncated: None,
            allow_lost: false,
        };
        let file = "[max]\nfd_exhausted = 0\nretransmits = 14\n[max_per_connection]\nconnect_failed = 0.05\n\
                    [program.redis-server.latency.connect_us]\np50 = 4000\n\
                    [program.\"100%<&>\\nx\".latency.connect_us]\np99 = 5";
        let budgets = budget::parse(file).unwrap();
        budgets
            .into_iter()
            .map(|budget| checker.check(budget))
            .collect()
    }

    #[test]
    fn for_people() {
        assert_snapshot!(text(&checked()));
    }

    #[test]
    fn for_a_test_view() {
        let xml = junit(&checked()).unwrap();
        let read = Report::deserialize_from_str(&xml).unwrap();
        assert_eq!((read.tests, read.failures, read.errors), (5, 1, 2));
        assert_snapshot!(xml);
    }

    #[test]
    fn for_github() {
        assert_snapshot!(github(&checked(), Some("ci/budget,1.toml")));
        assert_eq!(
            github(&[], None),
            "::notice title=tcptrace%3A budget::0 held\n"
        );
    }
}

//! Findings as text for a terminal, as Markdown for a ticket, and as JSON.

use std::fmt::{self, Write as _};

use super::{Finding, Seen, Severity, phrase};

/// Said where there is none.
const NONE: &str = "Nothing found.\n";

/// For a person who reads them in an incident.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    written(findings, |to, finding| {
        writeln!(
            to,
            "{:<8} {}",
            finding.severity.name().to_uppercase(),
            finding.name
        )?;
        writeln!(to, "  {}", harmless(&finding.sentence))?;
        writeln!(to, "  {}", when(finding))?;
        writeln!(to, "  Evidence:")?;
        let widest = |width: fn(&super::Evidence) -> usize| {
            finding.evidence.iter().map(width).max().unwrap_or(0)
        };
        let name = widest(|it| it.name.len());
        let value = widest(|it| it.value.len()).min(24);
        for it in &finding.evidence {
            let (label, shown) = (harmless(&it.name), harmless(&it.value));
            writeln!(to, "    {label:name$}  {shown:value$}  {}", it.source)?;
        }
        writeln!(to, "  What to do:")?;
        for (place, step) in finding.remedy.iter().enumerate() {
            writeln!(to, "    {}. {}", place + 1, harmless(step))?;
        }
        writeln!(to, "  More: {}", finding.page)
    })
}

/// A line each, below a trace's summary; nothing where there is none.
#[must_use]
pub fn brief(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let severity = finding.severity.name().to_uppercase();
        let sentence = harmless(&finding.sentence);
        format!("{severity:<8} {}: {sentence}\n", finding.name)
    };
    findings.iter().map(line).collect()
}

/// For a ticket.
#[must_use]
pub fn markdown(findings: &[Finding]) -> String {
    written(findings, |to, finding| {
        let mark = match finding.severity {
            Severity::Critical => "**critical**",
            Severity::Warning => "**warning**",
            Severity::Notice => "notice",
        };
        writeln!(to, "## {} ({mark})\n", finding.name)?;
        writeln!(to, "{}\n\n{}\n", harmless(&finding.sentence), when(finding))?;
        writeln!(to, "| evidence | value | source |\n| --- | --- | --- |")?;
        for it in &finding.evidence {
            let cell = |text: &str| harmless(text).replace('|', "\\|");
            writeln!(
                to,
                "| {} | {} | {} |",
                cell(&it.name),
                cell(&it.value),
                cell(&it.source)
            )?;
        }
        writeln!(to)?;
        for (place, step) in finding.remedy.iter().enumerate() {
            writeln!(to, "{}. {}", place + 1, harmless(step))?;
        }
        writeln!(to, "\nMore: `{}`", finding.page)
    })
}

/// For a program: one finding a line.
///
/// # Errors
///
/// When one can't be written as JSON.
pub fn json(findings: &[Finding]) -> serde_json::Result<String> {
    let mut to = String::new();
    for finding in findings {
        to += &serde_json::to_string(finding)?;
        to.push('\n');
    }
    Ok(to)
}

/// All of them, with an empty line between.
#[expect(clippy::expect_used, reason = "writing to a String does not fail")]
fn written(findings: &[Finding], one: impl Fn(&mut String, &Finding) -> fmt::Result) -> String {
    if findings.is_empty() {
        return NONE.to_owned();
    }
    let mut to = String::new();
    for (place, finding) in findings.iter().enumerate() {
        if place > 0 {
            to.push('\n');
        }
        one(&mut to, finding).expect("a String takes all");
    }
    to
}

/// A process may choose its name: no control sequence of it reaches a terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// When it was seen.
#[must_use]
pub fn when(finding: &Finding) -> String {
    let (first, last) = (finding.first, finding.last);
    match finding.seen {
        Seen::LongAgo(ago) => {
            let ago = phrase::duration(ago);
            format!("First seen {first}, last {last}, and not in the {ago} since.")
        }
        Seen::Lately | Seen::Lasting => format!("First seen {first}, last {last}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::synthetic::{Synthetic, process};

    fn findings() -> Vec<Finding> {
        let client = process("app\u{1b}[2J", 5);
        let mut trace = Synthetic::default();
        for at in 0..20 {
            trace.refused(at * 200, &client, "10.0.0.2:24224");
        }
        trace.findings()
    }

    #[test]
    fn a_finding_is_read_by_people() {
        insta::assert_snapshot!(text(&findings()));
        assert_eq!(text(&[]), "Nothing found.\n");
    }

    #[test]
    fn what_is_over_is_said_to_be() {
        let client = process("app", 5);
        let mut trace = Synthetic::default();
        for at in 0..20 {
            trace.refused(at * 200, &client, "10.0.0.2:24224");
        }
        assert!(!when(&trace.only()).contains("since"));
        trace.until(60_000);
        let said = when(&trace.only());
        assert!(said.ends_with("and not in the 56 s since."), "{said}");
    }

    #[test]
    fn a_finding_is_a_line_of_json_and_has_all_its_fields() {
        let lines = json(&findings()).unwrap();
        let value: serde_json::Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!(lines.lines().count(), 1);
        assert_eq!(value["finding"], "connect-refused");
        assert_eq!(value["process"]["pid"], 5);
        let page = include_str!("../../../docs/schema.md");
        let section = page.split("\n## findings\n").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let documented: std::collections::BTreeSet<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .filter(|name| !name.contains('.'))
            .collect();
        let printed: std::collections::BTreeSet<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(printed, documented);
    }
}

//! Findings as text for a terminal, as Markdown for a ticket, and as JSON.

use std::io::{self, Write};

use super::{Finding, Severity};

/// Writes findings for a person who reads them in an incident.
///
/// # Errors
///
/// When the output can't be written.
pub fn text(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    if findings.is_empty() {
        return writeln!(out, "Nothing found.");
    }
    for (place, finding) in findings.iter().enumerate() {
        if place > 0 {
            writeln!(out)?;
        }
        writeln!(
            out,
            "{:<8} {}",
            finding.severity.name().to_uppercase(),
            finding.name
        )?;
        writeln!(out, "  {}", finding.sentence)?;
        writeln!(out, "  {}", when(finding))?;
        writeln!(out, "  Evidence:")?;
        let name = finding
            .evidence
            .iter()
            .map(|it| it.name.len())
            .max()
            .unwrap_or(0);
        let value = finding
            .evidence
            .iter()
            .map(|it| it.value.len())
            .max()
            .unwrap_or(0)
            .min(24);
        for it in &finding.evidence {
            writeln!(
                out,
                "    {:name$}  {:value$}  {}",
                it.name, it.value, it.source
            )?;
        }
        writeln!(out, "  What to do:")?;
        for (place, step) in finding.remedy.iter().enumerate() {
            writeln!(out, "    {}. {step}", place + 1)?;
        }
        writeln!(out, "  More: {}", finding.page)?;
    }
    Ok(())
}

/// Writes findings for a ticket.
///
/// # Errors
///
/// When the output can't be written.
pub fn markdown(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    if findings.is_empty() {
        return writeln!(out, "Nothing found.");
    }
    for finding in findings {
        let mark = match finding.severity {
            Severity::Critical => "**critical**",
            Severity::Warning => "**warning**",
            Severity::Notice => "notice",
        };
        writeln!(out, "## {} ({mark})\n", finding.name)?;
        writeln!(out, "{}\n\n{}\n", finding.sentence, when(finding))?;
        writeln!(out, "| evidence | value | source |\n| --- | --- | --- |")?;
        for it in &finding.evidence {
            let cell = |text: &str| text.replace('|', "\\|");
            writeln!(
                out,
                "| {} | {} | {} |",
                cell(&it.name),
                cell(&it.value),
                cell(&it.source)
            )?;
        }
        writeln!(out)?;
        for (place, step) in finding.remedy.iter().enumerate() {
            writeln!(out, "{}. {step}", place + 1)?;
        }
        writeln!(out, "\nMore: `{}`\n", finding.page)?;
    }
    Ok(())
}

/// Writes one finding a line.
///
/// # Errors
///
/// When the output can't be written.
pub fn json(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        serde_json::to_writer(&mut *out, finding)?;
        writeln!(out)?;
    }
    Ok(())
}

fn when(finding: &Finding) -> String {
    format!("First seen {}, last {}.", finding.first, finding.last)
}

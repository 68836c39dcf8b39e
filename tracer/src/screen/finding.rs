//! What the panel shows of a finding.

use crate::time::Time;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests fail.
    Critical,
    /// They will, or are slow.
    Warning,
    /// Worth knowing.
    Notice,
}

/// A number and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What it is.
    pub name: String,
    /// The number.
    pub value: String,
    /// Where it is from.
    pub source: String,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// When it was first seen.
    pub first: Time,
    /// When it was last seen.
    pub last: Time,
    /// What is wrong, in plain English.
    pub sentence: String,
    /// Numbers that show it.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub remedy: Vec<String>,
    /// Its page in the documentation.
    pub page: &'static str,
}

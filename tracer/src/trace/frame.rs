//! The first and the last line of a trace.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{aggregate::ProcessRow, kernel::counters::HookRow};

/// The first line of a trace.
#[derive(Clone, Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "docs/schema.md documents the fields, and a test compares the two"
)]
pub struct Start {
    pub event: &'static str,
    pub schema: u32,
    pub ts: String,
    pub host: String,
    pub kernel: String,
    pub version: &'static str,
    pub hooks: Vec<HookStart>,
    pub filters: Vec<String>,
}

/// A hook and its rung.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct HookStart {
    pub hook: &'static str,
    pub rung: &'static str,
}

/// The last line of a trace.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct End {
    pub event: &'static str,
    pub ts: String,
    pub duration_us: u64,
    pub events: BTreeMap<&'static str, u64>,
    pub hooks: Vec<HookRow>,
    pub processes: Vec<ProcessRow>,
}

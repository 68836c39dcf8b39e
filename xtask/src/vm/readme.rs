//! README's table of supported kernels, from the results of a run.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::rung::Rung;
use crate::page;

/// Puts the table of a run's results into README.md.
pub(super) fn write(results: &Path) -> Result<()> {
    let text = fs::read_to_string(results).with_context(|| {
        format!(
            "reading {}: it is the result of a run of `cargo xtask vm`",
            results.display()
        )
    })?;
    let results: Value = serde_json::from_str(&text).context("the results are not JSON")?;
    page::put("README.md", "kernels", &markdown(&results)?)
}

/// A line for each kernel, a column for each rung: how many tests passed of how many.
fn markdown(results: &Value) -> Result<String> {
    let rows = results["rows"]
        .as_array()
        .context("the results have no rows")?;
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let rungs: Vec<String> = Rung::ALL
        .iter()
        .map(ToString::to_string)
        .filter(|rung| rows.iter().any(|row| row["rung"] == rung.as_str()))
        .collect();
    let mut kernels: Vec<(String, String)> = rows
        .iter()
        .map(|row| (text(row, "kernel"), text(row, "release")))
        .collect();
    kernels.dedup();
    ensure!(!kernels.is_empty(), "the results have no rows");

    let covers = results["covers"].as_str().unwrap_or_default();
    let mut table = format!("Tests that passed, on each kernel and rung: {covers}.\n\n");
    table += &format!("| Linux | kernel | {} |\n", rungs.join(" | "));
    table += &format!("| --- | --- |{}\n", " --- |".repeat(rungs.len()));
    for (kernel, release) in kernels {
        let cells: Vec<String> = rungs
            .iter()
            .map(|rung| {
                let row = rows
                    .iter()
                    .find(|row| row["release"] == release.as_str() && row["rung"] == rung.as_str());
                row.map_or_else(|| "not to be had".to_owned(), cell)
            })
            .collect();
        table += &format!("| {kernel} | {release} | {} |\n", cells.join(" | "));
    }
    if let Some(sum) = results["tcptrace_sha256"].as_str() {
        table += &format!("\nThe same file ran on all of them, SHA-256 `{sum}`.\n");
    }
    Ok(table)
}

fn cell(row: &Value) -> String {
    let result = row["result"].as_str().unwrap_or_default();
    let counts = format!("{} of {}", row["passed"], row["planned"]);
    let left_out = row["left_out"].as_array().map_or(0, Vec::len);
    match (result, left_out) {
        ("passed", 0) => counts,
        ("passed", left_out) => format!("{counts}, {left_out} left out"),
        (other, _) => format!("**{other}**, {counts}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(kernel: &str, rung: &str, result: &str) -> Value {
        json!({
            "kernel": kernel, "release": format!("{kernel}.1"), "rung": rung, "result": result,
            "planned": 9, "passed": 8, "left_out": if result == "passed" { vec!["one"] } else { vec![] },
        })
    }

    #[test]
    fn a_line_for_each_kernel_and_a_column_for_each_rung() {
        let results = json!({"covers": "all of it", "tcptrace_sha256": "5c5c", "rows": [
            row("5.10", "auto", "passed"), row("5.10", "kprobe", "FAILED"), row("6.1", "auto", "passed"),
        ]});
        assert_eq!(
            markdown(&results).unwrap(),
            "\
Tests that passed, on each kernel and rung: all of it.

| Linux | kernel | auto | kprobe |
| --- | --- | --- | --- |
| 5.10 | 5.10.1 | 8 of 9, 1 left out | **FAILED**, 8 of 9 |
| 6.1 | 6.1.1 | 8 of 9, 1 left out | not to be had |

The same file ran on all of them, SHA-256 `5c5c`.
"
        );
        assert!(markdown(&json!({"rows": []})).is_err());
    }
}

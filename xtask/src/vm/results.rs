//! A run's results as a file, for README's table.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Writes them. Kernels that the run had none of keep their rows where these are of the same tests and the same tcptrace: so a line that
/// failed is run again alone.
pub(super) fn write(path: &Path, mut results: Value) -> Result<()> {
    let before = fs::read_to_string(path).ok();
    if let Some(before) = before.and_then(|text| serde_json::from_str(&text).ok()) {
        keep(&mut results, before);
    }
    fs::write(path, format!("{results:#}\n")).with_context(|| format!("writing {}", path.display()))
}

fn keep(results: &mut Value, mut before: Value) {
    let is_alike = |field: &str| results[field] == before[field];
    if !is_alike("covers") || !is_alike("tcptrace_sha256") {
        return;
    }
    let (Value::Array(rows), Value::Array(older)) = (&mut results["rows"], before["rows"].take())
    else {
        return;
    };
    let kernel = |row: &Value| (row["kernel"].clone(), row["release"].clone());
    let run: Vec<_> = rows.iter().map(kernel).collect();
    rows.extend(older.into_iter().filter(|row| !run.contains(&kernel(row))));
    rows.sort_by_cached_key(|row| {
        let series = row["kernel"].as_str().unwrap_or_default();
        let numbers: Vec<u32> = series.split('.').flat_map(str::parse).collect();
        (numbers, row["release"].to_string())
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(sum: &str, rows: &[(&str, &str, u32)]) -> Value {
        let row = |(kernel, rung, passed): &(&str, &str, u32)| json!({"kernel": kernel, "release": format!("{kernel}.1"), "rung": rung, "passed": passed});
        json!({"covers": "all", "tcptrace_sha256": sum, "rows": rows.iter().map(row).collect::<Value>()})
    }

    #[test]
    fn a_kernel_that_is_run_again_replaces_its_rows_alone() {
        let before = || {
            let rows = [
                ("5.10", "auto", 1),
                ("6.1", "auto", 2),
                ("6.1", "kprobe", 3),
                ("6.12", "auto", 4),
            ];
            results("a", &rows)
        };
        let again = [("6.1", "auto", 5)];
        let mut now = results("a", &again);
        keep(&mut now, before());
        let rows = [("5.10", "auto", 1), ("6.1", "auto", 5), ("6.12", "auto", 4)];
        assert_eq!(now, results("a", &rows));

        let mut other = results("b", &again);
        keep(&mut other, before());
        assert_eq!(other, results("b", &again));
    }
}

//! `docs/schema.md`, to be compared with what the tool prints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const SCHEMA: &str = include_str!("../../docs/schema.md");

/// Objects whose keys are data: a state's, an event's, a program's, a rung's, a field's or an error's name.
const KEYED_BY_DATA: [&str; 9] = [
    "us_in_state",
    "events",
    "programs",
    "refused",
    "prototypes",
    "fields_missing",
    "ends",
    "errnos",
    "causes",
];

/// Lists whose items have a section of their own.
const ELSEWHERE: [&str; 3] = ["peers", "listeners", "findings"];

/// Names of fields.
pub type Names = BTreeSet<String>;

/// Fields by section: each `## name` with the first column of its tables. A field of a nested object is `outer.inner`, of an
/// object in a list `outer[].inner`.
pub fn documented() -> BTreeMap<String, Names> {
    let mut sections = BTreeMap::<_, Names>::new();
    let mut section = String::new();
    for line in SCHEMA.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.trim_matches('`').to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            let field = row.split('`').next().expect("a first part").to_owned();
            assert!(
                sections.entry(section.clone()).or_default().insert(field),
                "twice: {line}"
            );
        }
    }
    sections
}

/// The names in `value`, as the page writes them.
pub fn printed(value: &Value) -> Names {
    let mut found = Names::new();
    names(value, "", &mut found);
    found
}

fn names(value: &Value, prefix: &str, found: &mut Names) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{prefix}{name}");
                found.insert(path.clone());
                let is_data = KEYED_BY_DATA.contains(&name.as_str()) && value.is_object();
                if !is_data && !ELSEWHERE.contains(&name.as_str()) {
                    names(value, &format!("{path}."), found);
                }
            }
        }
        Value::Array(items) => {
            let prefix = format!("{}[].", prefix.trim_end_matches('.'));
            items.iter().for_each(|item| names(item, &prefix, found));
        }
        _ => {}
    }
}

//! A document as Markdown, for tickets and pull requests.

use super::{Block, Document, Table};

/// The document as GitHub's Markdown.
#[must_use]
pub fn render(document: &Document) -> String {
    let mut to = format!("# {}\n", escaped(&document.title));
    for block in &document.blocks {
        to.push('\n');
        match block {
            Block::Section(title) => to.push_str(&format!("## {}\n", escaped(title))),
            Block::Text(text) => to.push_str(&format!("{}\n", escaped(text))),
            Block::Callout(callout) => {
                let heading = escaped(&callout.heading());
                to.push_str(&format!("> **{heading}:** {}\n", escaped(&callout.text)));
            }
            Block::Steps(steps) => {
                for (place, step) in steps.iter().enumerate() {
                    to.push_str(&format!("{}. {}\n", place + 1, escaped(step)));
                }
            }
            Block::Table(table) => to.push_str(&rendered(table)),
            Block::Chart(_) => {
                to.pop();
            }
        }
    }
    to
}

fn rendered(table: &Table) -> String {
    let mut to = String::new();
    if !table.title.is_empty() {
        to.push_str(&format!("{}:\n\n", escaped(&table.title)));
    }
    let mut line = |cells: Vec<String>| to.push_str(&format!("| {} |\n", cells.join(" | ")));
    line(
        table
            .columns
            .iter()
            .map(|column| column.name.to_lowercase())
            .collect(),
    );
    line(
        table
            .columns
            .iter()
            .map(|column| if column.is_number { "---:" } else { "---" }.to_owned())
            .collect(),
    );
    for row in &table.rows {
        line(row.iter().map(|cell| escaped(cell)).collect());
    }
    if let Some(more) = table.and_more() {
        to.push_str(&format!("\n{more}\n"));
    }
    to
}

/// A text that Markdown shows as it is: a process may choose its name.
fn escaped(text: &str) -> String {
    let mut to = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '#' | '~' => {
                to.push('\\');
                to.push(c);
            }
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '&' => to.push_str("&amp;"),
            c if c.is_control() => to.push('?'),
            c => to.push(c),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    #[test]
    fn names_are_shown_as_they_are() {
        insta::assert_snapshot!(render(&sample()));
    }
}

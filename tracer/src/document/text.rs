//! A document on a terminal.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, presets};

use super::{Block, Document, Table};

/// The document as text, tables at most `width` columns wide; `None` for as wide as they are.
#[must_use]
pub fn render(document: &Document, width: Option<u16>) -> String {
    let mut to = printable(&document.title);
    to.push('\n');
    for block in &document.blocks {
        match block {
            Block::Section(title) => {
                let title = printable(title);
                let line = "=".repeat(title.chars().count());
                to.push_str(&format!("\n{title}\n{line}\n"));
            }
            Block::Text(text) => to.push_str(&format!("{}\n", wrapped(&printable(text), width))),
            Block::Callout(callout) => {
                let level = callout.level.to_uppercase();
                let space = if callout.title.is_empty() { "" } else { " " };
                let text = format!("{level}{space}{}: {}", callout.title, callout.text);
                to.push_str(&format!("{}\n", wrapped(&printable(&text), width)));
            }
            Block::Steps(steps) => {
                for (place, step) in steps.iter().enumerate() {
                    let step = format!("{}. {}", place + 1, printable(step));
                    to.push_str(&format!("{}\n", wrapped(&step, width)));
                }
            }
            Block::Table(table) => to.push_str(&format!("\n{}\n", rendered(table, width))),
            Block::Chart(_) => {}
        }
    }
    to
}

fn rendered(table: &Table, width: Option<u16>) -> String {
    let mut shown = comfy_table::Table::new();
    shown.load_style(presets::NOTHING);
    shown.set_header(
        table
            .columns
            .iter()
            .map(|column| cell(column.name, column.is_number)),
    );
    for row in &table.rows {
        let cells = row.iter().zip(&table.columns);
        shown.add_row(cells.map(|(text, column)| cell(&printable(text), column.is_number)));
    }
    match width {
        Some(width) => {
            shown.set_width(width);
            shown.set_content_arrangement(ContentArrangement::Dynamic)
        }
        None => shown.set_content_arrangement(ContentArrangement::Disabled),
    };
    for (at, column) in shown.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        // What a row is about is not broken into lines, unless there is no room for anything else.
        if at == 0 && width.is_none_or(|width| width >= 60) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let mut lines = Vec::new();
    if !table.title.is_empty() {
        lines.push(format!("{}:", printable(&table.title)));
    }
    lines.extend(shown.lines().map(|line| line.trim_end().to_owned()));
    lines.extend(table.and_more());
    lines.join("\n")
}

fn cell(text: &str, is_number: bool) -> Cell {
    let alignment = if is_number {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(text).set_alignment(alignment)
}

/// A text without what a terminal would obey.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// A text with line breaks between words.
fn wrapped(text: &str, width: Option<u16>) -> String {
    let width = width.map_or(usize::MAX, usize::from);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    #[test]
    fn as_wide_as_it_is() {
        insta::assert_snapshot!(render(&sample(), None));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let text = render(&sample(), Some(24));
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(24), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

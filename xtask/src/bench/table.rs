//! A table that is readable as text and as Markdown.

use std::fmt::Write as _;

/// Rows below a row of names; all are as long as that.
pub(crate) fn markdown(names: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([names[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: &[&str], fill: char| {
        for (place, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let space = fill.to_string().repeat(width - cell.chars().count());
            // Numbers to the right, names to the left. Writing to a string does not fail.
            let _ = match place {
                0 => write!(text, "| {cell}{space} |"),
                _ => write!(text, " {space}{cell} |"),
            };
        }
        text.push('\n');
    };
    line(names, ' ');
    let rules: Vec<&str> = names
        .iter()
        .enumerate()
        .map(|(place, _)| if place == 0 { "-" } else { ":" })
        .collect();
    line(&rules, '-');
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        line(&cells, ' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_numbers_right() {
        let rows = [
            vec!["a".to_owned(), "10".to_owned()],
            vec!["long".to_owned(), "7".to_owned()],
        ];
        let expected = "\
| x    |  n |
| ---- | -: |
| a    | 10 |
| long |  7 |
";
        assert_eq!(markdown(&["x", "n"], &rows), expected);
    }
}

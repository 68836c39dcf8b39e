//! A document of headings, sentences, tables and charts, for people: what a view of a trace says, before
//! it is text, Markdown or a page.

pub mod chart;
pub mod html;
pub mod markdown;
pub mod number;
pub mod text;

use chart::Chart;

/// A document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What it is about.
    pub title: String,
    /// What it says, in order.
    pub blocks: Vec<Block>,
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Begins a section.
    Section(String),
    /// Sentences.
    Text(String),
    /// What nobody may miss.
    Callout(Callout),
    /// Steps, in order.
    Steps(Vec<String>),
    /// A table.
    Table(Table),
    /// A chart, only on a page.
    Chart(Chart),
}

/// What nobody may miss: something that is wrong, or not to be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// How bad it is: `critical`, `warning` or `notice`.
    pub level: &'static str,
    /// What it is about; empty where the text says so.
    pub title: String,
    /// Sentences.
    pub text: String,
}

/// A table. Texts are as they came (a process may choose its name): each format makes them harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows; empty where the section says so.
    pub title: String,
    /// Headers.
    pub columns: Vec<Column>,
    /// Cells, a row as long as there are columns.
    pub rows: Vec<Vec<String>>,
    /// Rows that were left out.
    pub more: usize,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Header.
    pub name: &'static str,
    /// Numbers are set flush right.
    pub is_number: bool,
}

/// A column of text.
#[must_use]
pub const fn words(name: &'static str) -> Column {
    Column {
        name,
        is_number: false,
    }
}

/// A column of numbers.
#[must_use]
pub const fn numbers(name: &'static str) -> Column {
    Column {
        name,
        is_number: true,
    }
}

impl Document {
    /// An empty one.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            blocks: Vec::new(),
        }
    }

    /// Begins a section.
    pub fn section(&mut self, title: impl Into<String>) {
        self.blocks.push(Block::Section(title.into()));
    }

    /// Adds sentences.
    pub fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    /// Adds what nobody may miss.
    pub fn warning(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Callout(Callout {
            level: "warning",
            title: String::new(),
            text: text.into(),
        }));
    }

    /// Adds a table, unless it has no rows.
    pub fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    /// Adds a chart, unless it shows nothing.
    pub fn chart(&mut self, chart: Chart) {
        if !chart.is_empty() {
            self.blocks.push(Block::Chart(chart));
        }
    }
}

impl Callout {
    /// `Warning`, or `Critical, fd-limit`.
    #[must_use]
    pub fn heading(&self) -> String {
        let mut heading = self.level.to_owned();
        if let Some(first) = heading.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        if !self.title.is_empty() {
            heading.push_str(", ");
            heading.push_str(&self.title);
        }
        heading
    }
}

impl Table {
    /// The first `top` rows of something.
    #[must_use]
    pub fn of<T>(
        title: impl Into<String>,
        columns: Vec<Column>,
        rows: &[T],
        top: usize,
        row: impl Fn(&T) -> Vec<String>,
    ) -> Self {
        Self {
            title: title.into(),
            columns,
            rows: rows.iter().take(top).map(row).collect(),
            more: rows.len().saturating_sub(top),
        }
    }

    /// Leaves out the columns that say nothing: those in which every cell is empty or a dash.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        let is_used: Vec<bool> = (0..self.columns.len())
            .map(|at| {
                self.rows
                    .iter()
                    .any(|row| row.get(at).is_some_and(|cell| !is_nothing(cell)))
            })
            .collect();
        let keep = |at: &usize| is_used.get(*at).copied().unwrap_or(true);
        self.columns = self
            .columns
            .into_iter()
            .enumerate()
            .filter(|(at, _)| keep(at))
            .map(|(_, column)| column)
            .collect();
        for row in &mut self.rows {
            *row = std::mem::take(row)
                .into_iter()
                .enumerate()
                .filter(|(at, _)| keep(at))
                .map(|(_, cell)| cell)
                .collect();
        }
        self
    }

    /// What is said below it about the rows that were left out.
    #[must_use]
    pub fn and_more(&self) -> Option<String> {
        (self.more > 0).then(|| format!("and {} more", self.more))
    }
}

fn is_nothing(cell: &str) -> bool {
    matches!(cell, "" | "-" | "0")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each, with texts that want to do harm.
    pub(crate) fn sample() -> Document {
        let mut document = Document::new("a <title>");
        document.warning("3 events were lost");
        document.section("Retransmits");
        document.text("A sentence with a | in it, and *stars*.");
        document.table(
            Table {
                title: String::from("by process"),
                columns: vec![words("PROCESS"), numbers("SEGS"), numbers("UNUSED")],
                rows: vec![
                    vec![
                        String::from("redis[1]"),
                        String::from("12"),
                        String::from("0"),
                    ],
                    vec![
                        String::from("<script>\u{1b}[2J|`x`[2]"),
                        String::from("7"),
                        String::from("-"),
                    ],
                ],
                more: 4,
            }
            .without_empty_columns(),
        );
        document.table(Table::default());
        document
    }

    #[test]
    fn an_empty_table_is_left_out() {
        assert_eq!(sample().blocks.len(), 4);
    }
}

//! A document as one page that needs nothing else: no script, no font, no picture from anywhere.

mod svg;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Block, Document, Table, chart::Chart};

const STYLE: &str = include_str!("page.css");

/// What a browser is allowed to fetch for it: nothing. Should a text ever break out of its element, it
/// still cannot run or load anything.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The document as a page.
#[must_use]
pub fn render(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                link rel="icon" href="data:,";
                title { (document.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (document.title) }
                    (sections(&document.blocks))
                }
            }
        }
    };
    page.into_string()
}

/// Blocks up to a section's title belong together.
fn sections(blocks: &[Block]) -> Markup {
    let mut groups: Vec<(Option<&str>, Vec<&Block>)> = vec![(None, Vec::new())];
    for block in blocks {
        match block {
            Block::Section(title) => groups.push((Some(title), Vec::new())),
            block => {
                if let Some((_, group)) = groups.last_mut() {
                    group.push(block);
                }
            }
        }
    }
    html! {
        @for (title, blocks) in groups {
            section {
                @if let Some(title) = title { h2 { (title) } }
                @for group in blocks.chunk_by(|one, next| is_chart(one) && is_chart(next)) {
                    @if group.iter().any(|block| is_chart(block)) {
                        div.charts { @for shown in group { (block(shown)) } }
                    } @else {
                        @for shown in group { (block(shown)) }
                    }
                }
            }
        }
    }
}

const fn is_chart(block: &Block) -> bool {
    matches!(block, Block::Chart(Chart::Lines(_) | Chart::Bars(_)))
}

fn block(block: &Block) -> Markup {
    match block {
        // Sections were told apart before.
        Block::Section(_) => html! {},
        Block::Text(text) => html! { p { (text) } },
        Block::Callout(callout) => html! {
            p class=(format!("callout {}", callout.level)) role="alert" {
                strong { (callout.heading()) ":" } " " (callout.text)
            }
        },
        Block::Steps(steps) => html! { ol { @for step in steps { li { (step) } } } },
        Block::Table(table) => self::table(table),
        Block::Chart(chart) => svg::chart(chart),
    }
}

fn table(table: &Table) -> Markup {
    html! {
        figure.table {
            @if !table.title.is_empty() { figcaption { (table.title) } }
            div.scroll {
                table {
                    thead {
                        tr {
                            @for column in &table.columns {
                                th scope="col" class=[column.is_number.then_some("number")] { (column.name.to_lowercase()) }
                            }
                        }
                    }
                    tbody {
                        @for row in &table.rows {
                            tr {
                                @for (cell, column) in row.iter().zip(&table.columns) {
                                    td class=[column.is_number.then_some("number")] { (cell) }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(more) = table.and_more() { p.more { (more) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::sample, *};

    #[test]
    fn a_name_stays_a_text() {
        let page = render(&sample());
        assert!(page.contains("a &lt;title&gt;"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn nothing_is_fetched() {
        let page = render(&sample());
        for word in ["http://", "https://", "src=", "url(", "@import", "//"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
    }
}

//! Pages of the repository, in which a run's results stand between two marks.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace;

/// Puts `text` between the marks `<!-- NAME: written by ... -->` and `<!-- NAME: end -->` of a page.
///
/// # Errors
///
/// When the page cannot be read or written, or lacks the marks.
pub(crate) fn put(page: &str, name: &str, text: &str) -> Result<()> {
    let path = workspace().join(page);
    let old = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let new = replaced(&old, name, text)
        .with_context(|| format!("{page} lacks the marks of `{name}`"))?;
    fs::write(&path, new).with_context(|| format!("writing {}", path.display()))
}

fn replaced(page: &str, name: &str, text: &str) -> Option<String> {
    let begin = page.find(&format!("<!-- {name}: written by "))?;
    let begin = begin + page[begin..].find('\n')? + 1;
    let end = begin + page[begin..].find(&format!("<!-- {name}: end -->"))?;
    Some(format!("{}{text}{}", &page[..begin], &page[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_changes() {
        let page = |text| format!("a\n<!-- x: written by y -->\n{text}<!-- x: end -->\nb\n");
        assert_eq!(replaced(&page("old\n"), "x", "new\n"), Some(page("new\n")));
        assert_eq!(replaced("a\nb\n", "x", "new\n"), None);
    }
}

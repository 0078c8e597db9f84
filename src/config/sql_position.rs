//! Finds a character of a query's SQL in the query file. PostgreSQL counts characters of the SQL that was
//! sent; in the file the SQL is indented, folded or quoted.

use std::iter::Peekable;

use saphyr_parser::{ScalarStyle, Span};

use super::yaml::{Documents, Node};

/// A place in a query file, for its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlPosition {
    /// The file, as it was named to the exporter.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Counted from 1. `None` if only the line is known on which the SQL begins.
    pub(crate) column: Option<usize>,
}

impl SqlPosition {
    /// The place of the character of `sql` that has `before` characters before it. `sql` was read from the entry `key`
    /// of `namespace` in one of `files`, each a name and its text. `None` if an alias or a merge key brought it there.
    pub(crate) fn find(
        files: &[(String, String)],
        (namespace, key): (&str, &str),
        sql: &str,
        before: usize,
    ) -> Option<Self> {
        // The last definition counts.
        files.iter().rev().find_map(|(file, text)| {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let documents = Documents::structure(text)?.nodes;
            let find = |document: &Node| document.get(namespace)?.get(key)?.source();
            let (span, style) = documents.iter().rev().find_map(find)?;
            let mut source = Source::new(text, &span, style);
            let (line, column) = match source.skip(sql, before) {
                Some((line, column)) => (line, Some(column)),
                None => (span.start.line(), None),
            };
            Some(Self { file: file.clone(), line, column })
        })
    }
}

/// The characters of a scalar as the file has them, each with its line and column.
struct Source<I: Iterator<Item = (char, usize, usize)>> {
    characters: Peekable<I>,
    style: ScalarStyle,
}

impl Source<std::vec::IntoIter<(char, usize, usize)>> {
    fn new(text: &str, span: &Span, style: ScalarStyle) -> Self {
        let (mut line, mut column) = (1, 1);
        let placed = text.chars().map(|c| {
            let place = (c, line, column);
            (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            place
        });
        let length = span.end.index().saturating_sub(span.start.index());
        let mut characters: Vec<_> = placed.skip(span.start.index()).take(length).collect();
        match style {
            // The indicator and what else is on its line.
            ScalarStyle::Literal | ScalarStyle::Folded if characters.first().is_some_and(is_indicator) => {
                let end = characters.iter().position(|(c, ..)| *c == '\n').unwrap_or(characters.len());
                characters.drain(..end);
            }
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                characters.drain(..1.min(characters.len()));
            }
            _ => {}
        }
        Self { characters: characters.into_iter().peekable(), style }
    }
}

fn is_indicator((c, ..): &(char, usize, usize)) -> bool {
    matches!(c, '|' | '>')
}

impl<I: Iterator<Item = (char, usize, usize)>> Source<I> {
    /// The place of the character of `sql` behind the first `count`. White space differs, and nothing else.
    fn skip(&mut self, sql: &str, count: usize) -> Option<(usize, usize)> {
        let mut sql = sql.chars().enumerate().filter(|(_, c)| !c.is_whitespace()).peekable();
        while let Some((index, c)) = sql.next() {
            let (found, line, column) = self.next()?;
            if found == c {
                if index >= count {
                    return Some((line, column));
                }
                continue;
            }
            // A plain SET was changed to SET LOCAL.
            let mut local = "LOCAL".chars();
            let mut inserted = Some(c);
            while let (Some(expected), Some(c)) = (local.next(), inserted) {
                if expected != c {
                    return None;
                }
                inserted = sql.next().map(|(_, c)| c);
            }
            if inserted != Some(found) {
                return None;
            }
        }
        None
    }

    /// The next character that is not white space, as the scalar's value has it.
    fn next(&mut self) -> Option<(char, usize, usize)> {
        loop {
            let (c, line, column) = self.characters.next()?;
            match (c, self.style) {
                (c, _) if c.is_whitespace() => {}
                ('\'', ScalarStyle::SingleQuoted) => {
                    // Two quotes in the file are one in the value.
                    self.characters.next_if(|(c, ..)| *c == '\'')?;
                    return Some((c, line, column));
                }
                ('\\', ScalarStyle::DoubleQuoted) => match self.characters.next()?.0 {
                    'n' | 't' | 'r' | '\n' | '\r' | ' ' => {}
                    c @ ('"' | '\\' | '/') => return Some((c, line, column)),
                    _ => return None,
                },
                _ => return Some((c, line, column)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the first `@` of the SQL in the file.
    fn place(yaml: &str, sql: &str) -> Option<(usize, Option<usize>)> {
        let before = sql.chars().position(|c| c == '@').unwrap();
        let files = [("queries.yml".to_owned(), yaml.to_owned())];
        SqlPosition::find(&files, ("a", "query"), sql, before).map(|place| (place.line, place.column))
    }

    #[test]
    fn each_style_of_a_scalar_has_its_lines_and_columns() {
        for (yaml, sql, expected) in [
            ("a: {query: SELECT @}", "SELECT @", (1, 19)),
            ("\u{feff}# ä\na:\n  query: SELECT é @", "SELECT é @", (3, 19)),
            ("a:\n  query: SELECT\n    1,\n    @", "SELECT 1, @", (4, 5)),
            ("a:\n  query: | # text\n    SELECT\n\n      @\n  metrics: []\n", "SELECT\n\n  @\n", (5, 7)),
            ("a:\r\n  query: |-\r\n    SELECT\r\n      @\r\n", "SELECT\n  @", (4, 7)),
            ("a:\n  query: >\n    SELECT 1,\n    2, @\n", "SELECT 1, 2, @\n", (4, 8)),
            ("a:\n  query: 'SELECT ''x'',\n    @'", "SELECT 'x', @", (3, 5)),
            ("a:\n  query: \"SELECT \\\"x\\\",\\n @\\\n   1\"", "SELECT \"x\",\n @1", (2, 27)),
            ("a: {query: 1}\n---\nb: {query: '@'}\na: {query: SELECT @}", "SELECT @", (4, 19)),
            ("a: {query: SET x = 1; SELECT @}", "SET LOCAL x = 1; SELECT @", (1, 30)),
            ("a: {query: SET LOCAL x = 1; SELECT @}", "SET LOCAL x = 1; SELECT @", (1, 36)),
        ] {
            let (line, column) = expected;
            assert_eq!(place(yaml, sql), Some((line, Some(column))), "{yaml}");
        }
    }

    #[test]
    fn without_a_certain_place_there_is_the_first_line_or_none() {
        assert_eq!(place("a: {query: \"SELECT \\x41 @\"}", "SELECT A @"), Some((1, None)));
        assert_eq!(place("a:\n  query: SELECT 1", "SELECT 2 @"), Some((2, None)));
        assert_eq!(place("b: &b {query: SELECT @}\na: {<<: *b}\n", "SELECT @"), None);
        assert_eq!(place("b: &b SELECT @\na: {query: *b}\n", "SELECT @"), None);
        assert_eq!(place("a: [", "@"), None);
    }
}

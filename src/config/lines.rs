//! Finds the lines of problems in a file. The tree of the queries has no lines, so the file is parsed a
//! second time, but only if there are problems. A problem has no line if the line is not certain: in an
//! alias, a merge key, or a key that appears twice.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use super::Problem;
use super::report::{item_place, key_place};

/// Deeper than YAML can be read.
const DEPTH_LIMIT: usize = 200;

/// Adds lines to the problems of a file.
pub(super) fn locate<'p>(text: &str, problems: impl Iterator<Item = &'p mut Problem>) {
    let mut problems: Vec<_> =
        problems.filter(|problem| problem.line.is_none() && !problem.place.is_empty()).collect();
    if problems.is_empty() {
        return;
    }
    let Some(root) = root(text.strip_prefix('\u{feff}').unwrap_or(text)) else { return };
    let wanted: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
    let mut lines = HashMap::new();
    find("", &root, &wanted, &mut lines);
    let lines: Vec<_> = wanted.iter().map(|place| lines.get(*place).copied().flatten()).collect();
    for (problem, line) in problems.iter_mut().zip(lines) {
        problem.line = line;
    }
}

/// A node and its lines, counted from 1.
enum Node {
    Leaf,
    List(Vec<(Option<usize>, Self)>),
    Map(Vec<Entry>),
}

struct Entry {
    /// `None` if it is not a scalar.
    key: Option<String>,
    line: usize,
    value: Node,
}

/// The entries of all documents, as one document.
fn root(text: &str) -> Option<Node> {
    let mut events = Events(Parser::new_from_str(text));
    let mut entries = Vec::new();
    loop {
        match events.next()? {
            (Event::StreamStart | Event::DocumentEnd, _) => {}
            (Event::StreamEnd, _) => return Some(Node::Map(entries)),
            (Event::DocumentStart(_), _) => {
                let (event, _) = events.next()?;
                if let Node::Map(further) = events.node(&event, 0)? {
                    // A merge may define keys of an earlier document again.
                    if further.iter().any(Entry::merges) {
                        entries.clear();
                    }
                    entries.extend(further);
                }
            }
            _ => return None,
        }
    }
}

impl Entry {
    fn merges(&self) -> bool {
        self.key.as_deref() == Some("<<")
    }
}

struct Events<'t>(Parser<'t, StrInput<'t>>);

impl<'t> Events<'t> {
    /// An event and its line. `None` if this parser refuses the text.
    fn next(&mut self) -> Option<(Event<'t>, usize)> {
        let (event, span) = self.0.next_event()?.ok()?;
        Some((event, span.start.line()))
    }

    fn node(&mut self, event: &Event<'_>, depth: usize) -> Option<Node> {
        if depth > DEPTH_LIMIT {
            return None;
        }
        match event {
            Event::Scalar(..) | Event::Alias(_) => Some(Node::Leaf),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Some(Node::List(items));
                    }
                    // The parser reports an empty value at the line of the next token.
                    let is_nothing = |text: &str| text.is_empty() || text == "~";
                    let is_written =
                        !matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if is_nothing(text));
                    items.push((is_written.then_some(line), self.node(&event, depth + 1)?));
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if event == Event::MappingEnd {
                        return Some(Node::Map(entries));
                    }
                    self.node(&event, depth + 1)?;
                    let key = match event {
                        Event::Scalar(text, ..) => Some(text.into_owned()),
                        _ => None,
                    };
                    let (event, _) = self.next()?;
                    let value = self.node(&event, depth + 1)?;
                    entries.push(Entry { key, line, value });
                }
            }
            _ => None,
        }
    }
}

/// Finds the lines of the wanted places at and below `place`, whose node is `node`.
fn find(place: &str, node: &Node, wanted: &[&str], lines: &mut HashMap<String, Option<usize>>) {
    let mut found = |place: String, line: Option<usize>, node: &Node| {
        let wanted: Vec<_> = wanted.iter().copied().filter(|wanted| wanted.starts_with(&place)).collect();
        if wanted.is_empty() {
            return;
        }
        find(&place, node, &wanted, lines);
        lines.entry(place).and_modify(|known| *known = None).or_insert(line);
    };
    match node {
        Node::Leaf => {}
        Node::List(items) => {
            for (index, (line, item)) in items.iter().enumerate() {
                found(item_place(place, index), *line, item);
            }
        }
        Node::Map(entries) => {
            // The last of several equal keys counts.
            let mut last = HashMap::new();
            for entry in entries {
                let Some(key) = &entry.key else { return };
                last.insert(key, entry);
            }
            for entry in last.into_values() {
                let key = entry.key.as_deref().unwrap_or_default();
                found(key_place(place, key), Some(entry.line), &entry.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    fn line(text: &str, place: &str) -> Option<usize> {
        let (message, hint) = (String::new(), String::new());
        let (file, place) = (String::new(), place.to_owned());
        let mut problems = [Problem { severity: Severity::Error, file, place, line: None, message, hint }];
        locate(text, problems.iter_mut());
        problems[0].line
    }

    #[test]
    fn each_entry_and_item_has_its_line() {
        let text = "# head\na:\n  query: |\n    SELECT\n\n    1\n  metrics:\n    - v: {usage: GAUGE,\n          x: 1}\n\n    - \"w\\n\":\n        buckets:\n          - 1\n          -\n          - [2,\n             3]\n";
        for (place, expected) in [
            ("a", Some(2)),
            ("a.query", Some(3)),
            ("a.metrics", Some(7)),
            ("a.metrics[0]", Some(8)),
            ("a.metrics[0].v", Some(8)),
            ("a.metrics[0].v.x", Some(9)),
            ("a.metrics[1].\"w\\n\"", Some(11)),
            ("a.metrics[1].\"w\\n\".buckets", Some(12)),
            ("a.metrics[1].\"w\\n\".buckets[0]", Some(13)),
            ("a.metrics[1].\"w\\n\".buckets[1]", None),
            ("a.metrics[1].\"w\\n\".buckets[2]", Some(15)),
            ("a.metrics[1].\"w\\n\".buckets[2][1]", Some(16)),
            ("a.metrics[2]", None),
            ("a.labels", None),
            ("", None),
        ] {
            assert_eq!(line(text, place), expected, "{place}");
            assert_eq!(line(&format!("\u{feff}{}", text.replace('\n', "\r\n")), place), expected, "{place}");
        }
    }

    #[test]
    fn of_equal_keys_the_last_is_meant() {
        assert_eq!(line("a: {x: 1}\na:\n  y: 1", "a"), Some(2));
        assert_eq!(line("a: {x: 1}\na:\n  y: 1", "a.x"), None);
        assert_eq!(line("a: {x: 1}\n---\nb: 1\n---\n\na: {x: 1}", "a.x"), Some(6));
        assert_eq!(line("a: {x: 1}\n---\n\n---\nb: 1", "a.x"), Some(1));
    }

    #[test]
    fn what_is_not_certain_has_no_line() {
        let merged = "base: &b {x: 1, y: {z: 1}}\na:\n  <<: *b\n  k: *b\n";
        assert_eq!(line(merged, "a.x"), None);
        assert_eq!(line(merged, "a.y.z"), None);
        assert_eq!(line(merged, "a.k"), Some(4));
        assert_eq!(line(merged, "a.k.x"), None);
        assert_eq!(line(merged, "base.y.z"), Some(1));
        assert_eq!(line("a: 1\n---\n<<: {a: 2}\nb: 1", "a"), None);
        assert_eq!(line("a: 1\n---\n<<: {a: 2}\nb: 1", "b"), Some(4));
        assert_eq!(line("a.b: 1\na:\n  b: 1", "a.b"), None);
        assert_eq!(line("k: &k x\nx: 1\n*k : 2", "x"), None);
        assert_eq!(line("a: 1\nb: [", "a"), None);
    }
}

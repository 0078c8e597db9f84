//! YAML as a tree that keeps more than the usual types: the order of a map's entries, repeated keys, and
//! scalars as they are written (`1.10`, `on`, `0x1F`). This module does not interpret the tree.

mod visit;

use std::cell::Cell;
use std::collections::HashSet;

use serde::de::DeserializeSeed;

use visit::ShapeSeed;

/// A value in a YAML document. Aliases and merge keys (`<<`) are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// `null`, `~`, or nothing at all.
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// A value with a tag such as `!include`: the tag's name. YAML's own tags (`!!str`) are left out.
    Tagged(String),
}

/// Why a file cannot be read as a tree.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) hint: &'static str,
    /// Counted from 1.
    pub(super) line: Option<usize>,
}

/// The maximum weight of all nodes of a file, in bytes. Aliases can turn a small text into a large tree.
const WEIGHT_LIMIT: usize = 16 << 20;

const TOO_LARGE: &str = "aliases make it too large";

/// The parser's words for a key that is not text, as in `invalid type: map, expected a name`.
const NOT_TEXT: &str = "expected a name";

/// The maximum number of open brackets at any place. The parser's time grows with the square of the number,
/// and the parser checks its own limit of 128 only afterwards.
const BRACKET_LIMIT: usize = 1000;

impl Node {
    /// The documents of a file, without empty ones.
    ///
    /// # Errors
    /// The mistake in the YAML.
    pub(super) fn documents(text: &str) -> Result<Vec<Self>, Unreadable> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if open_brackets(text) > BRACKET_LIMIT {
            return Err(Unreadable {
                message: "not readable as YAML: too many brackets are open at once".to_owned(),
                hint: "close them",
                line: None,
            });
        }
        let budget = Cell::new(WEIGHT_LIMIT);
        let mut nodes = Vec::new();
        let documents = serde_yaml::Deserializer::from_str(text);
        for (first, second) in documents.zip(serde_yaml::Deserializer::from_str(text)) {
            let node = ShapeSeed { budget: &budget }
                .deserialize(first)
                .and_then(|shape| (&shape).deserialize(second))
                .map_err(|error| unreadable(&error))?;
            if node != Self::Null {
                nodes.push(node);
            }
        }
        Ok(nodes)
    }
}

fn unreadable(error: &serde_yaml::Error) -> Unreadable {
    let mut message = error.to_string();
    let location = error.location();
    if let Some(location) = &location {
        // The line is part of the problem.
        let at = format!(" at line {} column {}", location.line(), location.column());
        message = message.replacen(&at, &format!(" at column {}", location.column()), 1);
    }
    let hint = match message.as_str() {
        m if m.contains("found character that cannot start any token") => {
            "indent with spaces, not tabs, and quote text that begins with @, ` or %"
        }
        m if m.contains("mapping values are not allowed") => {
            "check this line's indentation, look for a missing ':' in the line above, and quote text that contains ': '"
        }
        m if m.contains("did not find expected ',' or") => {
            "close the bracket, and quote text within it that contains ',', ': ', a quote or a bracket"
        }
        m if m.contains("did not find expected key") || m.contains("did not find expected '-'") => {
            "check the indentation of this block, and for quotes within quoted text write the text below `query: |`"
        }
        m if m.contains("could not find expected ':'") => {
            "look for a missing ':', and quote text that begins with a bracket; render templates first"
        }
        m if m.contains("while scanning a quoted scalar") => "close the quote",
        m if m.contains(NOT_TEXT) => {
            "quote text that begins with {; render templates, such as {{ … }}, first"
        }
        m if m.contains("unknown anchor") => "define the anchor above, and quote text that begins with *",
        m if m.contains("recursion limit") => "nest it less deeply",
        m if m.contains("repetition limit") || m.contains(TOO_LARGE) => "use fewer aliases",
        _ => "",
    };
    Unreadable {
        message: format!("not readable as YAML: {message}"),
        hint,
        line: location.map(|location| location.line()),
    }
}

/// The maximum number of open brackets, if every `[`, `{`, `]` and `}` counts as a bracket.
fn open_brackets(text: &str) -> usize {
    let mut most = 0;
    let mut open = 0_usize;
    for c in text.bytes() {
        match c {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Inserts the entries that `<<` refers to, unless the map has the key itself (YAML's "Merge Key
/// Language-Independent Type"). A `<<` that does not refer to a map stays, and is reported as an unknown key
/// later.
fn merge(entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
    if entries.iter().all(|(key, _)| key != MERGE) {
        return entries;
    }
    let mut known: HashSet<String> = entries.iter().map(|(key, _)| key.clone()).collect();
    let mut merged = Vec::new();
    for (key, node) in entries {
        match node {
            Node::Map(map) if key == MERGE => add(map, &mut merged, &mut known),
            Node::List(maps) if key == MERGE && maps.iter().all(|map| matches!(map, Node::Map(_))) => {
                for map in maps {
                    if let Node::Map(map) = map {
                        add(map, &mut merged, &mut known);
                    }
                }
            }
            node => merged.push((key, node)),
        }
    }
    merged
}

pub(super) const MERGE: &str = "<<";

fn add(map: Vec<(String, Node)>, merged: &mut Vec<(String, Node)>, known: &mut HashSet<String>) {
    let added: Vec<_> = map.into_iter().filter(|(key, _)| !known.contains(key)).collect();
    known.extend(added.iter().map(|(key, _)| key.clone()));
    merged.extend(added);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let mut documents = Node::documents(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn scalar(text: &str) -> Node {
        Node::Scalar(text.to_owned())
    }

    fn map<const N: usize>(entries: [(&str, Node); N]) -> Node {
        Node::Map(entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect())
    }

    #[test]
    fn scalars_keep_their_text() {
        for text in
            ["1.10", "0x1F", "1e3", "007", "on", "y", "True", "-.inf", "2024-01-01", "99999999999999999999"]
        {
            assert_eq!(one(&format!("{text}: {text}")), map([(text, scalar(text))]));
        }
        assert_eq!(one("null: ~"), map([("null", Node::Null)]));
        assert_eq!(
            one("a: 'null'\nb: \"\"\nc:"),
            map([("a", scalar("null")), ("b", scalar("")), ("c", Node::Null)])
        );
        let tagged = |tag: &str| Node::Tagged(tag.to_owned());
        assert_eq!(
            one("a: !!str 1.0\nb: !Sub 1.0\nc: !x [1, {a: b}]\nd: ! 2\ne: !include\nf: 3"),
            map([
                ("a", scalar("1.0")),
                ("b", tagged("Sub")),
                ("c", tagged("x")),
                ("d", scalar("2")),
                ("e", tagged("include")),
                ("f", scalar("3"))
            ])
        );
    }

    #[test]
    fn entries_keep_their_order_and_may_repeat() {
        assert_eq!(
            one("b: 1\na: 2\nb: 3"),
            map([("b", scalar("1")), ("a", scalar("2")), ("b", scalar("3"))])
        );
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved() {
        let list = one("- &a {x: 1, y: 2}\n- {<<: *a, y: 3}\n- {z: 0, <<: [*a, {x: 5, w: 6}]}\n- *a");
        let plain = map([("x", scalar("1")), ("y", scalar("2"))]);
        let overridden = map([("x", scalar("1")), ("y", scalar("3"))]);
        let several = [("z", scalar("0")), ("x", scalar("1")), ("y", scalar("2")), ("w", scalar("6"))];
        assert_eq!(list, Node::List(vec![plain.clone(), overridden, map(several), plain]));
        assert_eq!(one("<<: 1"), map([("<<", scalar("1"))]));
        assert_eq!(one("- &k a\n- {*k : *k }"), Node::List(vec![scalar("a"), map([("a", scalar("a"))])]));
    }

    #[test]
    fn documents_line_ends_and_byte_order_marks() {
        let a = map([("a", scalar("1\n2"))]);
        let b = map([("b", Node::List(vec![]))]);
        assert_eq!(
            Node::documents("\u{feff}a: |-\r\n  1\r\n  2\r\n---\r\n---\r\nb: []\r\n").unwrap(),
            [a, b]
        );
        assert_eq!(Node::documents("# nothing\n").unwrap(), []);
        assert_eq!(Node::documents("").unwrap(), []);
    }

    #[test]
    fn mistakes_have_a_line() {
        let line = |text: &str| Node::documents(text).unwrap_err().line;
        assert_eq!(line("a: 1\nb: {c: ]\nd: 2\n"), Some(2));
        assert_eq!(line("a: 1\nb: *nowhere\n"), Some(2));
        assert_eq!(line("a: 1\n---\nb: 1\n\tc: 2\n"), Some(4));
        assert_eq!(line("a: 1\n[b]: 1\n"), Some(2));
    }

    #[test]
    fn small_texts_do_not_become_large_trees() {
        let bomb: String = (0..30).map(|i| format!("a{}: &a{} [*a{i}, *a{i}]\n", i + 1, i + 1)).collect();
        let wide = format!("a: &a [{}]\nb: [{}]", "x, ".repeat(20_000), "*a, ".repeat(20_000));
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(1000));
        for text in [
            format!("a0: &a0 x\n{bomb}"),
            wide,
            long,
            "a: &a [*a]".to_owned(),
            "- ".repeat(10_000),
            "[".repeat(500),
            "{a: ".repeat(1_000_000),
        ] {
            let found = Node::documents(&text);
            assert!(found.is_err(), "{}", text.chars().take(60).collect::<String>());
        }
        let sound = format!("a: &a [{}]\nb: [{}]", "x, ".repeat(100), "*a, ".repeat(100));
        assert!(Node::documents(&sound).is_ok());
    }
}

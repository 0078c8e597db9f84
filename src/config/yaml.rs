//! YAML as a tree with lines. The tree keeps more than the usual types: the order of a map's entries, repeated keys,
//! and scalars as they are written (`1.10`, `on`, `0x1F`). This module does not interpret the tree.
//!
//! One pass of saphyr-parser gives the structure and the lines. One pass of yaml_serde fills in the texts, and finds the
//! mistakes: it is libyaml, as the parsers of other exporters are. It reads texts that saphyr-parser refuses, such as a quoted
//! text whose second line is not indented. Then it gives the structure too, without lines (`shape`).

mod shape;
mod structure;

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

pub(super) use structure::{Documents, Source, locate};

/// A value in a YAML document. Aliases and merge keys (`<<`) are resolved.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) content: Content,
    /// The line of the key or of the item in the list, counted from 1. `None` if it is not certain.
    line: Option<usize>,
    /// Where a scalar is written. `None` below an alias.
    source: Option<Source>,
    anchor: Option<usize>,
    /// The anchor that an alias refers to.
    alias: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Content {
    /// `null`, `~`, or nothing at all.
    #[default]
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    /// A value with a tag such as `!include`: the tag's name. YAML's own tags (`!!str`) are left out.
    Tagged(String),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

/// Why a file cannot be read as a tree.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) hint: &'static str,
    /// Counted from 1.
    pub(super) line: Option<usize>,
}

/// The parser's words for a key that is not text, as in `invalid type: map, expected a name`.
const NOT_TEXT: &str = "expected a name";

/// The maximum number of open brackets at any place. The parser's time grows with the square of the number,
/// and the parser checks its own limit of 128 only afterwards.
const BRACKET_LIMIT: usize = 1000;

impl Documents {
    /// The documents of a file, without empty ones.
    ///
    /// # Errors
    /// The mistake in the YAML.
    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if open_brackets(text) > BRACKET_LIMIT {
            return Err(Unreadable {
                message: "not readable as YAML: too many brackets are open at once".to_owned(),
                hint: "close them",
                line: None,
            });
        }
        let mut documents = match Self::structure(text) {
            Some(documents) => documents,
            None => Self::shape(text).map_err(|error| unreadable(&error))?,
        };
        let mut nodes = documents.nodes.iter_mut();
        for document in serde_yaml::Deserializer::from_str(text) {
            match nodes.next() {
                Some(node) => node.deserialize(document),
                None => IgnoredAny::deserialize(document).map(|_| ()),
            }
            .map_err(|error| unreadable(&error))?;
        }
        documents.nodes.retain(|node| node.content != Content::Null);
        documents.nodes.iter_mut().for_each(Node::merge);
        Ok(documents)
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
        m if m.contains("repetition limit") => "use fewer aliases",
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

impl Node {
    pub(super) fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    /// Forgets what is only true of the place where the node is written.
    fn forget_place(&mut self) {
        *self = Self { content: std::mem::take(&mut self.content), ..Self::default() };
        match &mut self.content {
            Content::List(items) => items.iter_mut().for_each(Self::forget_place),
            Content::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.forget_place()),
            Content::Null | Content::Scalar(_) | Content::Tagged(_) => {}
        }
    }

    /// Inserts the entries that each `<<` refers to, unless the map has the key itself (YAML's "Merge Key
    /// Language-Independent Type"). A `<<` that does not refer to a map stays, and is reported as an unknown key
    /// later.
    fn merge(&mut self) {
        match &mut self.content {
            Content::List(items) => items.iter_mut().for_each(Self::merge),
            Content::Map(entries) => {
                entries.iter_mut().for_each(|(_, node)| node.merge());
                if entries.iter().any(|(key, _)| key == MERGE) {
                    *entries = merged(std::mem::take(entries));
                }
            }
            Content::Null | Content::Scalar(_) | Content::Tagged(_) => {}
        }
    }
}

pub(super) const MERGE: &str = "<<";

fn merged(entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let mut known: HashSet<String> = entries.iter().map(|(key, _)| key.clone()).collect();
    let mut merged = Vec::new();
    for (key, node) in entries {
        let maps = match node.content {
            Content::Map(_) if key == MERGE => vec![node],
            Content::List(maps) if key == MERGE && maps.iter().all(Node::is_map) => maps,
            content => {
                merged.push((key, Node { content, ..node }));
                continue;
            }
        };
        for mut map in maps {
            map.forget_place();
            let Content::Map(mut map) = map.content else { continue };
            map.retain(|(key, _)| !known.contains(key));
            known.extend(map.iter().map(|(key, _)| key.clone()));
            merged.extend(map);
        }
    }
    merged
}

/// Reads the texts of a node whose structure is known. The deserializer only gives the text of a scalar if it is asked
/// for text.
impl<'de> DeserializeSeed<'de> for &mut Node {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.content {
            Content::Null | Content::Tagged(_) => {
                deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ())
            }
            Content::Scalar(_) => deserializer.deserialize_str(self),
            Content::List(_) => deserializer.deserialize_seq(self),
            Content::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for &mut Node {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.content {
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
            Content::Null | Content::Scalar(_) | Content::Tagged(_) => "a name",
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.content = Content::Scalar(text.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Content::List(items) = &mut self.content else { return Ok(()) };
        items.iter_mut().try_for_each(|item| list.next_element_seed(item).map(|_| ()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Content::Map(entries) = &mut self.content else { return Ok(()) };
        for (key, node) in entries {
            let mut text = Node { content: Content::Scalar(String::new()), ..Node::default() };
            map.next_key_seed(&mut text)?;
            if let Content::Scalar(text) = text.content {
                *key = text;
            }
            map.next_value_seed(node)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let mut documents = Documents::parse(text).unwrap().nodes;
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn node(content: Content) -> Node {
        Node { content, ..Node::default() }
    }

    fn scalar(text: &str) -> Node {
        node(Content::Scalar(text.to_owned()))
    }

    fn map<const N: usize>(entries: [(&str, Node); N]) -> Node {
        node(Content::Map(entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect()))
    }

    #[test]
    fn scalars_keep_their_text() {
        for text in
            ["1.10", "0x1F", "1e3", "007", "on", "y", "True", "-.inf", "2024-01-01", "99999999999999999999"]
        {
            assert_eq!(one(&format!("{text}: {text}")), map([(text, scalar(text))]));
        }
        assert_eq!(one("null: ~"), map([("null", Node::default())]));
        assert_eq!(
            one("a: 'null'\nb: \"\"\nc:"),
            map([("a", scalar("null")), ("b", scalar("")), ("c", Node::default())])
        );
        let tagged = |tag: &str| node(Content::Tagged(tag.to_owned()));
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
        assert_eq!(list, node(Content::List(vec![plain.clone(), overridden, map(several), plain])));
        assert_eq!(one("<<: 1"), map([("<<", scalar("1"))]));
        assert_eq!(
            one("- &k a\n- {*k : *k }"),
            node(Content::List(vec![scalar("a"), map([("a", scalar("a"))])]))
        );
    }

    #[test]
    fn documents_line_ends_and_byte_order_marks() {
        let a = map([("a", scalar("1\n2"))]);
        let b = map([("b", node(Content::List(vec![])))]);
        assert_eq!(
            Documents::parse("\u{feff}a: |-\r\n  1\r\n  2\r\n---\r\n---\r\nb: []\r\n").unwrap().nodes,
            [a, b]
        );
        assert_eq!(Documents::parse("# nothing\n").unwrap().nodes, []);
        assert_eq!(Documents::parse("").unwrap().nodes, []);
    }

    #[test]
    fn what_only_libyaml_reads_has_no_lines() {
        let list = node(Content::List(vec![scalar("1"), map([("x", scalar("2"))])]));
        let tagged = node(Content::Tagged("Sub".to_owned()));
        for (text, value) in [
            ("a:\n  b: 'x\n y'\n", scalar("x y")),
            ("a:\n  b: \"x\ny\"\n---\n", scalar("x y")),
            ("a:\n  b: [1,\n{x: 2}]\n", list),
            (
                "a:\n  b: {\nx: 1.10, y: ~, z: !Sub 1\n}\n",
                map([("x", scalar("1.10")), ("y", Node::default()), ("z", tagged)]),
            ),
        ] {
            let document = one(text);
            assert_eq!(document, map([("a", map([("b", value)]))]), "{text}");
            assert_eq!(document.get("a").unwrap().get("b").unwrap().line, None, "{text}");
        }
        let b = map([("c", scalar("1"))]);
        let repeated = map([("a", scalar("x y")), ("b", b.clone()), ("a", b.clone()), ("d", b)]);
        assert_eq!(one("a: 'x\ny'\nb: &b {c: 1}\na: *b\nd: {<<: *b}\n"), repeated);
    }

    #[test]
    fn mistakes_have_a_line() {
        let line = |text: &str| Documents::parse(text).unwrap_err().line;
        assert_eq!(line("a: 1\nb: {c: ]\nd: 2\n"), Some(2));
        assert_eq!(line("a: 1\nb: *nowhere\n"), Some(2));
        assert_eq!(line("a: 1\n---\nb: 1\n\tc: 2\n"), Some(4));
        assert_eq!(line("a: 1\n[b]: 1\n"), Some(2));
        let deep = Documents::parse(&format!("a: {}{}", "[".repeat(200), "]".repeat(200))).unwrap_err();
        assert_eq!(deep.message, "not readable as YAML: recursion limit exceeded at column 131");
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
            let found = Documents::parse(&text);
            assert!(found.is_err(), "{}", text.chars().take(60).collect::<String>());
        }
        let sound = format!("a: &a [{}]\nb: [{}]", "x, ".repeat(100), "*a, ".repeat(100));
        assert!(Documents::parse(&sound).is_ok());
    }
}

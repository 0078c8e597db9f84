//! The structure of YAML documents: maps, lists, aliases, tags and lines, by saphyr-parser.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{Content, Node};
use crate::config::report::{item_place, key_place};
use crate::problem::Problem;

/// The documents of a file.
#[derive(Debug, Default)]
pub(in crate::config) struct Documents {
    pub(in crate::config) nodes: Vec<Node>,
    /// The keys of top-level entries that other entries use and that hold nothing else: either the whole entry
    /// has an anchor, or each value in it contains one.
    pub(in crate::config) holders: HashSet<String>,
}

/// Where a scalar is written.
pub(in crate::config) type Source = (Span, ScalarStyle);

/// The maximum weight of all nodes of a file, in bytes. Aliases can turn a small text into a large tree.
pub(super) const WEIGHT_LIMIT: usize = 16 << 20;
/// The weight of a node besides its text.
pub(super) const NODE_WEIGHT: usize = 64;
/// The depth that yaml_serde reads.
const DEPTH_LIMIT: usize = 128;

impl Documents {
    /// The documents as they are written, with empty ones, or `None` if the parser refuses them or the tree is too large.
    /// `text` has no byte order mark.
    pub(in crate::config) fn structure(text: &str) -> Option<Self> {
        let parser = Parser::new_from_str(text);
        let mut builder = Builder { parser, anchors: HashMap::new(), weight: 0 };
        let mut nodes = Vec::new();
        loop {
            let (event, span) = builder.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => nodes.push(builder.node(event, span, 0)?),
            }
        }
        let holders = if builder.anchors.is_empty() { HashSet::new() } else { holders(&nodes) };
        Some(Self { nodes, holders })
    }
}

impl Node {
    /// The value of the last entry `key`.
    pub(in crate::config) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub(in crate::config) fn source(&self) -> Option<Source> {
        self.source
    }

    fn children(&self) -> Vec<&Self> {
        match &self.content {
            Content::List(items) => items.iter().collect(),
            Content::Map(entries) => entries.iter().map(|(_, node)| node).collect(),
            Content::Null | Content::Scalar(_) | Content::Tagged(_) => Vec::new(),
        }
    }

    /// The results of `part` for this node and the nodes below.
    fn all(&self, part: fn(&Self) -> Option<usize>) -> Vec<usize> {
        part(self).into_iter().chain(self.children().into_iter().flat_map(|child| child.all(part))).collect()
    }
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// The nodes with anchors, and their weights.
    anchors: HashMap<usize, (Node, usize)>,
    /// The weight of all nodes so far.
    weight: usize,
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.parser.next_event().map_or(Some((Event::StreamEnd, Span::default())), Result::ok)
    }

    fn spend(&mut self, weight: usize) -> Option<()> {
        self.weight += weight;
        (self.weight <= WEIGHT_LIMIT).then_some(())
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Option<Node> {
        if depth >= DEPTH_LIMIT && matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) {
            return None;
        }
        let begun = self.weight;
        self.spend(NODE_WEIGHT)?;
        let mut node = Node::default();
        let (anchor, tag) = match event {
            Event::Alias(id) => {
                let (target, weight) = self.anchors.get(&id)?;
                let weight = *weight;
                node = target.clone();
                node.forget_place();
                node.alias = Some(id);
                self.spend(weight)?;
                (0, None)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(text.len())?;
                let is_null = style == ScalarStyle::Plain && tag.is_none() && is_null(&text);
                if !is_null {
                    node.content = Content::Scalar(text.into_owned());
                }
                node.source = Some((span, style));
                (anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => {
                node.content = Content::List(self.items(depth)?);
                (anchor, tag)
            }
            Event::MappingStart(anchor, tag) => {
                node.content = Content::Map(self.entries(depth)?);
                (anchor, tag)
            }
            _ => return None,
        };
        if let Some(name) = tag.and_then(|tag| custom(&tag)) {
            node.content = Content::Tagged(name);
        }
        if anchor > 0 {
            node.anchor = Some(anchor);
            self.anchors.insert(anchor, (node.clone(), self.weight - begun));
        }
        Some(node)
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Some(items);
            }
            // The parser reports an empty value at the line of the next token.
            let is_written = !matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() || text == "~");
            let item = self.node(event, span, depth + 1)?;
            items.push(Node { line: is_written.then_some(span.start.line()), ..item });
        }
    }

    fn entries(&mut self, depth: usize) -> Option<Vec<(String, Node)>> {
        let mut entries = Vec::new();
        loop {
            let (event, key) = self.next()?;
            if event == Event::MappingEnd {
                return Some(entries);
            }
            // The other parser refuses a key that is not text.
            let name = match self.node(event, key, depth + 1)?.content {
                Content::Scalar(text) => text,
                _ => String::new(),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push((name, Node { line: Some(key.start.line()), ..node }));
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The name of a tag that is not YAML's own. `! x` only means that x is text.
fn custom(tag: &Tag) -> Option<String> {
    let name = format!("{}{}", tag.handle.trim_start_matches('!'), tag.suffix);
    (!tag.is_yaml_core_schema() && !name.is_empty() && name != "!").then_some(name)
}

fn holders(documents: &[Node]) -> HashSet<String> {
    let maps = documents.iter().filter_map(|document| match &document.content {
        Content::Map(entries) => Some(entries),
        _ => None,
    });
    let entries: Vec<_> = maps.flatten().collect();
    let mut users: HashMap<usize, HashSet<usize>> = HashMap::new();
    for (entry, (_, node)) in entries.iter().enumerate() {
        for anchor in node.all(|node| node.alias) {
            users.entry(anchor).or_default().insert(entry);
        }
    }
    let holds = |(entry, (_, node)): &(usize, &(String, Node))| {
        let is_used = |anchor: &usize| users.get(anchor).is_some_and(|by| by.iter().any(|by| by != entry));
        let is_shelf = node.children().iter().all(|child| !child.all(|node| node.anchor).is_empty());
        node.anchor.is_some_and(|anchor| is_used(&anchor))
            || is_shelf && node.all(|node| node.anchor).iter().any(is_used)
    };
    entries.into_iter().enumerate().filter(holds).map(|(_, (key, _))| key.clone()).collect()
}

/// Adds lines to the problems of a file that has these top-level entries.
pub(in crate::config) fn locate<'p>(
    entries: &[(String, Node)],
    problems: impl Iterator<Item = &'p mut Problem>,
) {
    let mut problems: Vec<_> =
        problems.filter(|problem| problem.line.is_none() && !problem.place.is_empty()).collect();
    let wanted: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
    let mut lines = HashMap::new();
    find_entries("", entries, &wanted, &mut lines);
    let lines: Vec<_> = wanted.iter().map(|place| lines.get(*place).copied().flatten()).collect();
    for (problem, line) in problems.iter_mut().zip(lines) {
        problem.line = line;
    }
}

type Lines = HashMap<String, Option<usize>>;

/// Finds the lines of the wanted places at and below `place`, whose node is `node`. A place that two nodes have is not
/// certain.
fn find(place: String, node: &Node, wanted: &[&str], lines: &mut Lines) {
    let wanted: Vec<_> = wanted.iter().copied().filter(|wanted| wanted.starts_with(&place)).collect();
    if wanted.is_empty() {
        return;
    }
    match &node.content {
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                find(item_place(&place, index), item, &wanted, lines);
            }
        }
        Content::Map(entries) => find_entries(&place, entries, &wanted, lines),
        Content::Null | Content::Scalar(_) | Content::Tagged(_) => {}
    }
    lines.entry(place).and_modify(|known| *known = None).or_insert(node.line);
}

/// The last of several equal keys counts.
fn find_entries(place: &str, entries: &[(String, Node)], wanted: &[&str], lines: &mut Lines) {
    let last: HashMap<_, _> = entries.iter().map(|(key, node)| (key, node)).collect();
    for (key, node) in last {
        find(key_place(place, key), node, wanted, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Origin;

    fn line(text: &str, place: &str) -> Option<usize> {
        let mut problems = [Problem::at(Origin::File(String::new()), place, "")];
        let documents = Documents::parse(text).unwrap().nodes;
        let entries: Vec<_> = documents
            .into_iter()
            .flat_map(|document| match document.content {
                Content::Map(entries) => entries,
                _ => vec![],
            })
            .collect();
        locate(&entries, problems.iter_mut());
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
        assert_eq!(line("k: &k x\nx: 1\n*k : 2", "x"), Some(3));
    }

    #[test]
    fn an_entry_holds_what_others_take_from_it() {
        for (text, expected) in [
            ("a: &a {x: 1}\nb: {<<: *a}", &["a"][..]),
            ("a: {x: &a {y: 1}, z: [&b 1, &unused 2]}\nb: {<<: *a, x: *b}", &["a"]),
            ("a: &a 1\nb: &b [*a]\nc: *b", &["a", "b"]),
            ("a: [&a {x: 1}, &b {y: 1}]\nb: {<<: [*a, *b]}", &["a"]),
            ("a: &a {b: {query: x}}\n<<: *a", &["a"]),
            ("a: &a {x: 1}\nb: &a {x: 2}\nc: *a", &["b"]),
            ("\u{feff}a: &a {x: 1}\r\nb: {<<: *a}\r\n---\nc: &c 1\nd: *c", &["a", "c"]),
            ("- &a 1\n---\na: &a {x: 1}\nb: {<<: *a}", &["a"]),
            ("a: &a {x: &x 1, y: *x}\nb: {x: &b 1, y: *b}", &[]),
            ("a: {x: &a {y: 1}, z: 1}\nb: {<<: *a}", &[]),
            ("a: &a {x: 1}\nb: {x: 1}", &[]),
            ("a: &a {x: 1}\nb: [*a", &[]),
            ("a: &a {x: 1}\n? [b, *a]\n: *a", &["a"]),
            ("", &[]),
        ] {
            let mut found: Vec<_> = Documents::structure(text.trim_start_matches('\u{feff}'))
                .unwrap_or_default()
                .holders
                .into_iter()
                .collect();
            found.sort();
            assert_eq!(found, expected, "{text}");
        }
    }
}

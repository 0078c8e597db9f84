//! Finds entries that only hold anchors for others. The tree of the queries has no anchors, so the file is
//! parsed a second time, but only if an entry has no query.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, StrInput};

/// Deeper than YAML can be read.
const DEPTH_LIMIT: usize = 200;

/// The keys of top-level entries that other entries use and that hold nothing else: either the whole entry
/// has an anchor, or each value in it contains one.
pub(super) fn holders(text: &str) -> HashSet<String> {
    let mut events = Events(Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)));
    let Some(entries) = events.entries() else { return HashSet::new() };
    let mut users: HashMap<usize, HashSet<usize>> = HashMap::new();
    for (entry, (_, node)) in entries.iter().enumerate() {
        for anchor in node.all(|node| node.alias) {
            users.entry(anchor).or_default().insert(entry);
        }
    }
    let holds = |(entry, (_, node)): &(usize, (String, Node))| {
        let is_used = |anchor: &usize| users.get(anchor).is_some_and(|by| by.iter().any(|by| by != entry));
        let is_shelf = node.children.iter().all(|child| !child.all(|node| node.anchor).is_empty());
        node.anchor.is_some_and(|anchor| is_used(&anchor))
            || is_shelf && node.all(|node| node.anchor).iter().any(is_used)
    };
    entries.into_iter().enumerate().filter(holds).map(|(_, (key, _))| key).collect()
}

/// A node without its content.
#[derive(Default)]
struct Node {
    anchor: Option<usize>,
    /// The anchor that an alias refers to.
    alias: Option<usize>,
    /// The items of a list or the values of a map.
    children: Vec<Self>,
}

impl Node {
    /// The results of `part` for this node and the nodes below.
    fn all(&self, part: fn(&Self) -> Option<usize>) -> Vec<usize> {
        part(self).into_iter().chain(self.children.iter().flat_map(|child| child.all(part))).collect()
    }
}

struct Events<'t>(Parser<'t, StrInput<'t>>);

impl<'t> Events<'t> {
    /// `None` if this parser refuses the text.
    fn next(&mut self) -> Option<Event<'t>> {
        self.0.next_event()?.ok().map(|(event, _)| event)
    }

    /// The entries of all documents that are maps.
    fn entries(&mut self) -> Option<Vec<(String, Node)>> {
        let mut entries = Vec::new();
        loop {
            match self.next()? {
                Event::StreamEnd => return Some(entries),
                Event::MappingStart(..) => loop {
                    let key = match self.next()? {
                        Event::MappingEnd => break,
                        Event::Scalar(text, ..) => text.into_owned(),
                        event => self.node(&event, 0).map(|_| String::new())?,
                    };
                    let event = self.next()?;
                    entries.push((key, self.node(&event, 0)?));
                },
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => self.node(&event, 0).map(|_| ())?,
            }
        }
    }

    fn node(&mut self, event: &Event<'_>, depth: usize) -> Option<Node> {
        if depth > DEPTH_LIMIT {
            return None;
        }
        let mut node = Node::default();
        // 0 means no anchor.
        let anchor = |id: usize| Some(id).filter(|&id| id > 0);
        match *event {
            Event::Alias(id) => node.alias = anchor(id),
            Event::Scalar(_, _, id, _) => node.anchor = anchor(id),
            Event::SequenceStart(id, _) => {
                node.anchor = anchor(id);
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => node.children.push(self.node(&event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(id, _) => {
                node.anchor = anchor(id);
                loop {
                    match self.next()? {
                        Event::MappingEnd => break,
                        key => self.node(&key, depth + 1)?,
                    };
                    let event = self.next()?;
                    node.children.push(self.node(&event, depth + 1)?);
                }
            }
            _ => return None,
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut found: Vec<_> = holders(text).into_iter().collect();
            found.sort();
            assert_eq!(found, expected, "{text}");
        }
    }
}

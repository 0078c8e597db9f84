//! The position of a reader in a file, and the problems that it reports there.

use std::collections::HashMap;

use super::yaml::{Content, MERGE, Node, Unreadable};
use crate::problem::{Origin, Problem, Severity};

/// A place in a file, and the list of its problems.
pub(super) struct At<'p> {
    file: &'p str,
    place: String,
    problems: &'p mut Vec<Problem>,
}

impl<'p> At<'p> {
    pub(super) fn new(file: &'p str, place: String, problems: &'p mut Vec<Problem>) -> Self {
        Self { file, place, problems }
    }

    /// The entry `key` of the map here.
    pub(super) fn key(&mut self, key: &str) -> At<'_> {
        At::new(self.file, key_place(&self.place, key), self.problems)
    }

    /// An item of the list here, counted from 0.
    pub(super) fn item(&mut self, index: usize) -> At<'_> {
        At::new(self.file, item_place(&self.place, index), self.problems)
    }

    /// The place that [`Self::place`] returned earlier.
    pub(super) fn elsewhere(&mut self, place: &str) -> At<'_> {
        At::new(self.file, place.to_owned(), self.problems)
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn error(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.report(Severity::Error, message.into(), hint.into(), None);
    }

    pub(super) fn ignored(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.report(Severity::Ignored, message.into(), hint.into(), None);
    }

    pub(super) fn warning(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.report(Severity::Warning, message.into(), hint.into(), None);
    }

    pub(super) fn unreadable(&mut self, why: Unreadable) {
        self.report(Severity::Error, why.message, why.hint.to_owned(), why.line);
    }

    fn report(&mut self, severity: Severity, message: String, hint: String, line: Option<usize>) {
        let (origin, place) = (Origin::File(self.file.to_owned()), self.place.clone());
        self.problems.push(Problem { severity, origin, place, line, message, hint });
    }

    /// The text of a scalar. An empty value, `null` and `~` are the empty text.
    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.content {
            Content::Null => Some(""),
            Content::Scalar(text) => Some(text),
            Content::List(_) => self.unexpected("text", "a list", ""),
            Content::Map(_) => {
                self.unexpected("text", "a map", "quote text that contains ': ' or begins with {")
            }
            Content::Tagged(tag) => self.tagged(tag),
        }
    }

    /// The entries of a map. An empty value is an empty map.
    pub(super) fn map<'n>(&mut self, node: &'n Node) -> Option<&'n [(String, Node)]> {
        match &node.content {
            Content::Null => Some(&[]),
            Content::Map(entries) => Some(entries),
            Content::Scalar(_) => self.unexpected("a map", "text", "check the indentation and the colons"),
            Content::List(_) => self.unexpected("a map", "a list", "remove `- ` before the keys"),
            Content::Tagged(tag) => self.tagged(tag),
        }
    }

    /// The entries of the map here. Among equal keys, only the last is returned.
    pub(super) fn unique<'n>(&mut self, entries: &'n [(String, Node)]) -> Vec<(&'n str, &'n Node)> {
        let repeats = repeats(entries.iter().map(|(name, _)| name.as_str()));
        let mut unique = Vec::new();
        for ((name, node), is_repeated) in entries.iter().zip(repeats) {
            let Some(is_repeated) = is_repeated else { continue };
            if is_repeated {
                self.key(name).warning("appears more than once", "the last one counts");
            }
            unique.push((name.as_str(), node));
        }
        unique
    }

    /// The items of a list. An empty value is an empty list.
    pub(super) fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.content {
            Content::Null => Some(&[]),
            Content::List(items) => Some(items),
            Content::Scalar(_) => self.unexpected("a list", "text", "write `- ` before each item"),
            Content::Map(_) => self.unexpected("a list", "a map", "write `- ` before each item"),
            Content::Tagged(tag) => self.tagged(tag),
        }
    }

    /// Whether `text` begins with a typographic quote, which YAML and SQL read as a letter. Reports it.
    pub(super) fn is_in_curly_quotes(&mut self, text: &str) -> bool {
        let is_curly = text.trim_start().starts_with(['“', '”', '„', '‘', '’']);
        if is_curly {
            self.error("the text begins with a typographic quote", "write straight quotes, \" or '");
        }
        is_curly
    }

    /// Only another program knows the meaning of the tag.
    fn tagged<T>(&mut self, tag: &str) -> Option<T> {
        self.error(
            format!("the YAML tag !{tag} is not supported"),
            "write the value itself; to split a file, set QUERIES_FILE to a folder, whose files are merged",
        );
        None
    }

    fn unexpected<T>(&mut self, expected: &str, found: &str, hint: &str) -> Option<T> {
        self.error(format!("must be {expected}, not {found}"), hint);
        None
    }
}

/// The place of an entry of the map at `place`.
pub(super) fn key_place(place: &str, key: &str) -> String {
    let plain = !key.is_empty() && !key.contains(char::is_control);
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if place.is_empty() { key } else { format!("{place}.{key}") }
}

/// The place of an item of the list at `place`.
pub(super) fn item_place(place: &str, index: usize) -> String {
    format!("{place}[{index}]")
}

/// A key of a map, and a function that reads its value into `T`.
pub(super) struct Key<T> {
    pub(super) name: &'static str,
    pub(super) read: fn(&mut T, &Node, &mut At<'_>),
}

/// Reads the entries of a map by their keys, and returns the keys that have a value. Unknown keys are reported and
/// ignored; among equal keys, the last one counts. A key without a value is ignored, but an empty `query` switches the
/// namespace off.
pub(super) fn read_keys<T>(
    entries: &[(String, Node)],
    keys: &[Key<T>],
    into: &mut T,
    at: &mut At<'_>,
) -> Vec<&'static str> {
    let mut given = Vec::new();
    for (name, node) in at.unique(entries) {
        let mut at = at.key(name);
        match keys.iter().find(|key| key.name == name) {
            Some(key) if node.content == Content::Null && key.name != "query" => {}
            Some(key) => {
                given.push(key.name);
                (key.read)(into, node, &mut at);
            }
            None => match &node.content {
                Content::Tagged(tag) if name == MERGE => at.tagged::<()>(tag).unwrap_or_default(),
                _ => at.ignored("unknown key", key_meant_by(name, keys, entries)),
            },
        }
    }
    given
}

/// For each name whether it repeats an earlier one, or `None` if a later one repeats it: the last one counts.
pub(super) fn repeats<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Vec<Option<bool>> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (index, name) in names.clone().enumerate() {
        let (count, last) = counts.entry(name).or_default();
        (*count, *last) = (*count + 1, index);
    }
    let repeats =
        |(index, name)| counts.get(name).filter(|(_, last)| *last == index).map(|(count, _)| *count > 1);
    names.enumerate().map(repeats).collect()
}

/// Keys of other programs' files, and words that authors may use, for the keys here.
const OTHER_WORDS: [(&str, &str); 18] = [
    ("sql", "query"),
    ("statement", "query"),
    ("columns", "metrics"),
    ("static_labels", "labels"),
    ("ttl", "cache_seconds"),
    ("interval", "cache_seconds"),
    ("min_interval", "cache_seconds"),
    ("type", "usage"),
    ("help", "description"),
    ("desc", "description"),
    ("rename", "name"),
    ("mapping", "metric_mapping"),
    ("bucket", "buckets"),
    ("dbname", "database"),
    ("username", "user"),
    ("role", "user"),
    ("secret_id", "secret"),
    ("arn", "secret"),
];

/// A hint for an unknown key.
fn key_meant_by<T>(word: &str, keys: &[Key<T>], entries: &[(String, Node)]) -> String {
    let is_key = |name: &str| keys.iter().any(|key| key.name == name);
    let is_given = |name: &str| entries.iter().any(|(key, _)| key == name);
    match OTHER_WORDS.iter().find(|(other, key)| *other == word && is_key(key) && !is_given(key)) {
        Some((_, key)) => format!("did you mean {key}?"),
        None => did_you_mean(word, keys.iter().map(|key| key.name)),
    }
}

/// `did you mean usage?`, or an empty text if no name is similar.
pub(super) fn did_you_mean<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    /// Longer words are not misspelt keys, and comparing them takes memory.
    const LONGEST: usize = 32;
    if word.len() > LONGEST {
        return String::new();
    }
    let word = word.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&word, &name.to_lowercase());
    let nearest = names.map(|name| (distance(name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= (name.len() / 3).max(1) => format!("did you mean {name}?"),
        _ => String::new(),
    }
}

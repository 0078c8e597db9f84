//! Reads `targets.yml`: the targets in their order, and every problem with its place. The file has no passwords: a
//! target's secret has its password.

use super::namespace::read_labels;
use super::report::{At, Key, read_keys};
use super::yaml::{Content, Documents, Node, locate};
use super::{is_anchor, report};
use crate::connect_options::{Access, Part, Parts};
use crate::metric::LabelName;
use crate::problem::{Problem, Severity};

/// The content of a targets file.
#[derive(Debug, Clone, Default)]
pub struct TargetsFile {
    /// The targets, in the order of the file.
    pub targets: Vec<TargetEntry>,
    /// All mistakes and warnings, in the order of the file.
    pub problems: Vec<Problem>,
}

/// One target of the file.
#[derive(Debug, Clone)]
pub struct TargetEntry {
    /// Its name.
    pub name: String,
    /// Its labels in service discovery.
    pub labels: Vec<(LabelName, String)>,
    /// How it is found. Absent if a mistake disables it.
    pub access: Option<Access>,
}

impl TargetsFile {
    /// Reads the file `name` with this text. A mistake in a target disables the target; a file that is not YAML has no
    /// targets. All problems are reported at once. `defaults` complete the targets.
    pub fn parse(name: &str, text: &str, defaults: &Parts) -> Self {
        let mut found = Self::default();
        let mut at = At::new(name, String::new(), &mut found.problems);
        let Documents { nodes, holders } = match Documents::parse(text) {
            Ok(documents) => documents,
            Err(unreadable) => {
                at.unreadable(unreadable);
                return found;
            }
        };
        let mut entries = Vec::new();
        for document in nodes {
            match document.content {
                Content::Map(more) => entries.extend(more),
                _ => drop(at.map(&document)),
            }
        }
        entries.retain(|(name, node)| {
            !is_anchor(name)
                && (KEYS.iter().any(|key| node.get(key.name).is_some()) || !holders.contains(name))
        });
        if entries.is_empty() && found.problems.is_empty() {
            let mut at = At::new(name, String::new(), &mut found.problems);
            at.error("the file has no target", "see docs/targets.md for the format");
        }
        let mut at = At::new(name, String::new(), &mut found.problems);
        let unique: Vec<_> =
            at.unique(&entries).into_iter().map(|(name, node)| (name, node.clone())).collect();
        for (target, node) in unique {
            let mut problems = Vec::new();
            let mut at = At::new(name, String::new(), &mut problems);
            let entry = entry(target, &node, defaults, &mut at.key(target));
            let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
            found.targets.extend(entry.map(|entry| match failed {
                true => TargetEntry { access: None, ..entry },
                false => entry,
            }));
            found.problems.extend(problems);
        }
        locate(&entries, found.problems.iter_mut());
        found
    }
}

/// Whether `text` is a targets file and no query file: an entry has the place of a target, and none has a query.
pub(crate) fn is_targets_file(text: &str) -> bool {
    let Ok(Documents { nodes, .. }) = Documents::parse(text) else { return false };
    let entries = || {
        nodes.iter().filter_map(|document| match &document.content {
            Content::Map(entries) => Some(entries.iter().map(|(_, entry)| entry)),
            _ => None,
        })
    };
    let some_has = |key| entries().flatten().any(|entry| entry.get(key).is_some());
    !some_has("query") && (some_has("secret") || some_has("host"))
}

/// The values of a target's keys.
#[derive(Default)]
struct Draft {
    secret: Option<String>,
    parts: Parts,
    is_by_token: Option<bool>,
    labels: Vec<(LabelName, String)>,
}

const KEYS: &[Key<Draft>] = &[
    Key { name: "secret", read: |draft, node, at| draft.secret = secret(node, at) },
    Key { name: "host", read: |draft, node, at| part(Part::Host, "host", draft, node, at) },
    Key { name: "port", read: |draft, node, at| part(Part::Port, "port", draft, node, at) },
    Key { name: "database", read: |draft, node, at| part(Part::Database, "database", draft, node, at) },
    Key { name: "user", read: |draft, node, at| part(Part::User, "user", draft, node, at) },
    Key { name: "auth", read: auth },
    Key { name: "sslmode", read: |draft, node, at| part(Part::SslMode, "sslmode", draft, node, at) },
    Key {
        name: "sslrootcert",
        read: |draft, node, at| part(Part::RootCertificates, "sslrootcert", draft, node, at),
    },
    Key { name: "labels", read: |draft, node, at| draft.labels = labels(node, at) },
    Key {
        name: "password",
        read: |_, _, at| {
            at.error(
                "passwords are not read from this file",
                "put it into a secret, and name the secret with `secret`",
            )
        },
    },
];

/// A target has no entry if its name cannot be used.
fn entry(name: &str, node: &Node, defaults: &Parts, at: &mut At<'_>) -> Option<TargetEntry> {
    if let Err(message) = check_name(name) {
        at.error(message, "give it another name");
        return None;
    }
    let mut draft = Draft::default();
    let given = at.map(node).map(|entries| read_keys(entries, KEYS, &mut draft, at)).unwrap_or_default();
    // Whatever the order of the keys, a token needs a strict `sslmode`.
    match draft.is_by_token {
        Some(true) => draft.parts.log_in_by_token(),
        Some(false) => draft.parts.log_in_by_password(),
        None => {}
    }
    let labels = std::mem::take(&mut draft.labels);
    let access = match given.contains(&"secret") {
        true => {
            let problems = draft.parts.take_problems();
            // A mistake in the name of the secret is reported.
            let id = draft.secret.unwrap_or_default();
            let access = Access::Secret { id, own: draft.parts.into(), defaults: defaults.clone().into() };
            if problems.is_empty() { Ok(access) } else { Err(problems) }
        }
        false => draft.parts.or(defaults).complete().map(Access::Known),
    };
    let access = match access {
        Ok(access) => Some(access),
        Err(problems) => {
            for problem in problems.into_iter().filter(|_| node.is_map() || node.content == Content::Null) {
                let hint = match problem.place.as_str() {
                    "host" | "user" if problem.message.starts_with("missing") => "add it, or `secret`",
                    _ => "",
                };
                let key = KEYS.iter().find(|key| problem.place == key.name && node.get(key.name).is_some());
                match key {
                    Some(key) => at.key(key.name).error(problem.message, hint),
                    None => at.error(format!("{}: {}", problem.place, problem.message), hint),
                }
            }
            None
        }
    };
    Some(TargetEntry { name: name.to_owned(), labels, access })
}

/// A name is a value of a label and of a URL's parameter. The name of a secret has 512 characters at most.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("a target without a name"),
        name if name.len() > NAME_BYTES_MAX => Err("the name is longer than 512 bytes"),
        name if name.contains(char::is_control) || name.trim() != name => {
            Err("a name must have no control characters, and no spaces around it")
        }
        _ => Ok(()),
    }
}

const NAME_BYTES_MAX: usize = 512;

fn secret(node: &Node, at: &mut At<'_>) -> Option<String> {
    let text = at.text(node)?;
    if text.is_empty() {
        at.error("a secret without a name", "write its name or ARN");
    }
    Some(text.to_owned())
}

fn part(part: Part, key: &str, draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    if let Some(text) = at.text(node) {
        draft.parts.read(part, key, text);
    }
}

fn auth(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    match at.text(node) {
        Some("iam") => draft.is_by_token = Some(true),
        Some("password") => draft.is_by_token = Some(false),
        Some(word) => {
            let hint = report::did_you_mean(word, ["iam", "password"].into_iter());
            at.error("must be password or iam", hint);
        }
        None => {}
    }
}

/// The labels that only Prometheus or the exporter may set.
const RESERVED: [&str; 7] = ["job", "instance", "target", "datname", "database", "query", "reason"];

fn labels(node: &Node, at: &mut At<'_>) -> Vec<(LabelName, String)> {
    let labels = read_labels(node, at);
    for (name, _) in &labels {
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("__") {
            at.key(name.as_str()).error("Prometheus or the exporter sets this label", "give it another name");
        }
    }
    labels
}

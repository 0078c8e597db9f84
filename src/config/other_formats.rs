//! Valid YAML files that are not query files: those of other exporters and programs, and queries at a wrong depth.
//! Read as namespaces, each of their keys would be a separate mistake.

use super::is_anchor;
use super::report::did_you_mean;
use super::yaml::{Content, Node};

/// The kind of another document, and a hint for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherFormat {
    pub(super) message: String,
    pub(super) hint: String,
}

impl OtherFormat {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Option<Self> {
        Some(Self { message: message.into(), hint: hint.into() })
    }

    /// A file of another exporter, which has a section in docs/migration.md.
    fn of_exporter(what: &str, anchor: &str) -> Option<Self> {
        Self::new(
            format!("this is {what}, not a query file"),
            format!("to convert it, see docs/migration.md#{anchor}"),
        )
    }

    /// The kind of `document`, if it is not a query file.
    pub(super) fn of(document: &Node) -> Option<Self> {
        let Content::Map(entries) = &document.content else { return of_no_map(document) };
        let root = Entries(entries);
        if let Some(kubernetes) = of_kubernetes(root) {
            return Some(kubernetes);
        }
        match root.queries().count() {
            0 => of_another_exporter(root)
                .or_else(|| of_another_program(root))
                .or_else(|| of_wrong_depth(root)),
            queries => of_pg_exporter(root, queries),
        }
    }
}

/// The entries of a map.
#[derive(Clone, Copy)]
struct Entries<'n>(&'n [(String, Node)]);

impl<'n> Entries<'n> {
    fn of(node: &'n Node) -> Option<Self> {
        match &node.content {
            Content::Map(entries) => Some(Self(entries)),
            _ => None,
        }
    }

    fn get(self, key: &str) -> Option<&'n Node> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn map(self, key: &str) -> Option<Self> {
        self.get(key).and_then(Self::of)
    }

    fn has_list(self, key: &str) -> bool {
        self.get(key).is_some_and(|node| matches!(node.content, Content::List(_)))
    }

    fn has_text(self, key: &str) -> bool {
        self.get(key).is_some_and(|node| matches!(node.content, Content::Scalar(_)))
    }

    /// The entries that are queries, as those of pg_exporter are, too.
    fn queries(self) -> impl Iterator<Item = Self> {
        self.0.iter().filter_map(|(_, node)| Self::of(node)).filter(|entries| entries.is_query())
    }

    /// Whether these are the keys of a query, well spelt or nearly so.
    fn is_query(self) -> bool {
        let is_sql = |name: &str| name == "sql" || !did_you_mean(name, ["query"].into_iter()).is_empty();
        self.has_list("metrics") || self.0.iter().any(|(name, _)| is_sql(name))
    }
}

fn of_no_map(document: &Node) -> Option<OtherFormat> {
    const MESSAGE: &str = "the file must be a map from names to queries";
    match &document.content {
        Content::List(_) => OtherFormat::new(
            format!("{MESSAGE}, not a list"),
            "write the query's name and a colon in place of `- `, and indent `query` below it",
        ),
        Content::Scalar(_) => OtherFormat::new(
            format!("{MESSAGE}, not text"),
            "write a name and a colon, and below it, indented, `query: …`",
        ),
        Content::Map(_) | Content::Null | Content::Tagged(_) => None,
    }
}

fn of_kubernetes(root: Entries<'_>) -> Option<OtherFormat> {
    let (true, Some(Content::Scalar(kind))) =
        (root.has_text("apiVersion"), root.get("kind").map(|node| &node.content))
    else {
        return None;
    };
    let is_word = !kind.is_empty() && kind.len() < 64 && kind.chars().all(char::is_alphanumeric);
    let kind = if is_word { kind.as_str() } else { "object" };
    OtherFormat::new(
        format!("this is a Kubernetes {kind}, not a query file"),
        "save the text below its key `data` as the query file, see docs/migration.md#cloudnativepg",
    )
}

fn of_another_exporter(root: Entries<'_>) -> Option<OtherFormat> {
    let target = root.map("target");
    if root.has_text("collector_name")
        || root.has_list("collector_files")
        || root.has_list("collectors")
        || target.is_some_and(|target| target.has_text("data_source_name") || target.has_list("collectors"))
    {
        return OtherFormat::of_exporter(
            "a file of sql_exporter (collectors)",
            "sql_exporter-with-collectors",
        );
    }
    if root.has_list("jobs") {
        return OtherFormat::of_exporter("a file of sql_exporter (jobs)", "sql_exporter-with-jobs");
    }
    if root.map("databases").is_some() && (root.map("metrics").is_some() || root.map("queries").is_some()) {
        return OtherFormat::of_exporter("a file of query-exporter", "query-exporter");
    }
    None
}

/// Its queries look like the ones here. One unknown key may be a typo, several are not.
fn of_pg_exporter(root: Entries<'_>, queries: usize) -> Option<OtherFormat> {
    const OWN: [&str; 8] =
        ["desc", "ttl", "min_version", "max_version", "fatal", "skip", "tags", "predicate_queries"];
    let is_of_it = |query: &Entries<'_>| OWN.iter().filter(|key| query.get(key).is_some()).count() >= 2;
    if root.queries().filter(is_of_it).count() * 2 <= queries {
        return None;
    }
    OtherFormat::of_exporter("a file of pgsty's pg_exporter", "pg_exporter")
}

fn of_another_program(root: Entries<'_>) -> Option<OtherFormat> {
    const PROGRAMS: [(&str, &str); 8] = [
        ("scrape_configs", "Prometheus's configuration"),
        ("groups", "a file of Prometheus rules"),
        ("auth_modules", "the configuration of postgres_exporter"),
        ("receivers", "the configuration of an OpenTelemetry collector"),
        ("instances", "a configuration of the Datadog agent"),
        ("services", "a Compose file"),
        ("AWSTemplateFormatVersion", "a CloudFormation template"),
        ("panels", "a Grafana dashboard"),
    ];
    let (_, what) = PROGRAMS.into_iter().find(|(key, _)| root.get(key).is_some())?;
    OtherFormat::new(
        format!("this is {what}, not a query file"),
        "see docs/queries.md for the format of query files",
    )
}

/// Queries without a name above them, or below one key more than there should be.
fn of_wrong_depth(root: Entries<'_>) -> Option<OtherFormat> {
    if root.has_text("query") {
        return OtherFormat::new(
            "`query` is at the top level",
            "write the query's name and a colon above it, and indent all of its keys below the name",
        );
    }
    let holds_queries = |node: &Node| match &node.content {
        Content::Map(entries) => Entries(entries).queries().next().is_some(),
        Content::List(items) => items.iter().any(|item| Entries::of(item).is_some_and(Entries::is_query)),
        _ => false,
    };
    if let Some((key, node)) = root.0.iter().find(|(_, node)| holds_queries(node)) {
        let hint = match &node.content {
            Content::List(_) => {
                "write each query at the top level, as a name and a colon with its keys indented"
            }
            _ => "remove this key, and indent what is below it less",
        };
        return OtherFormat::new(
            format!("the queries are below the key {key:?}, not at the top level"),
            hint,
        );
    }
    // Fewer keys have their own messages, with lines.
    if root.0.iter().filter(|(name, _)| !is_anchor(name)).count() < MANY {
        return None;
    }
    OtherFormat::new(
        "none of the top-level keys has a `query` below it",
        "see docs/queries.md for the format, and docs/migration.md for the files of other exporters",
    )
}

/// With at least this many keys without a query, the file is probably another program's.
const MANY: usize = 3;

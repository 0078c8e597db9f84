//! `queries.yml` as the exporter understands it: the queries in their order, and every problem of the files
//! with its place. It knows the format and the names of metrics, and nothing of databases, scrapes or wires.

mod anchors;
mod boolean;
mod lines;
mod names;
mod namespace;
mod node;
mod other_formats;
mod report;
mod servers;
mod sql_position;

use std::fmt;
use std::time::Duration;

use crate::metric::{Kind, LabelName, MetricName};
use crate::sql::Sql;
use names::Names;
use namespace::Outcome;
use node::Node;
use other_formats::OtherFormat;
use report::{At, Standing, standings};

pub use boolean::meant;
pub use servers::{DatabasePattern, InvalidRange, VersionRange};
pub use sql_position::SqlPosition;

/// What a set of query files says.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The namespaces that can be run, in the order of the files.
    pub queries: Vec<Query>,
    /// The namespaces that a mistake disables, in the order of the files. `problems` says why.
    pub disabled: Vec<String>,
    /// All that is wrong or doubtful, in the order of the files.
    pub problems: Vec<Problem>,
}

impl Config {
    /// Reads query files, each a name and its text, as one. A mistake inside a namespace disables that
    /// namespace, and YAML that cannot be read its file; everything else counts. The problems are all that
    /// there are, found in one go.
    ///
    /// A file may hold several documents. A namespace that is defined again, there or in another file, is what
    /// its last definition says, at the place of that one; the earlier ones are not looked at. An entry that only
    /// holds anchors is no namespace.
    pub fn parse(files: &[(String, String)], naming: &Naming) -> Self {
        let files: Vec<_> =
            files.iter().map(|(name, text)| (name.as_str(), text, definitions(name, text))).collect();
        let namespaces = files.iter().flat_map(|(.., found)| &found.namespaces);
        let mut standing = standings(namespaces.map(|(namespace, _)| namespace.as_str())).into_iter();
        let mut config = Self::default();
        let mut names = Names::default();
        for (file, text, found) in files {
            let earlier = config.problems.len();
            config.problems.extend(found.problems);
            for ((namespace, node), standing) in found.namespaces.iter().zip(&mut standing) {
                let mut problems = Vec::new();
                let outcome = match standing {
                    Standing::Replaced => continue,
                    Standing::Only => {
                        namespace::read((namespace, node), file, naming, &mut names, &mut problems)
                    }
                    Standing::Replacing => {
                        let mut at = At::new(file, String::new(), &mut config.problems);
                        at.key(namespace)
                            .warning("defined more than once", "this definition, the last one, counts");
                        namespace::read((namespace, node), file, naming, &mut names, &mut problems)
                    }
                };
                match outcome {
                    Outcome::Runs(query) => config.queries.push(*query),
                    Outcome::Disabled => config.disabled.push(namespace.clone()),
                    Outcome::Off => {}
                }
                config.problems.extend(problems);
            }
            lines::locate(text, config.problems.iter_mut().skip(earlier));
        }
        config
    }
}

/// What completes the names and labels of every query's metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// What every metric's name begins with, before the query's own prefix.
    pub prefix: String,
    /// Constant labels. A label of the same name that a query has itself, wins.
    pub labels: Vec<(LabelName, String)>,
}

/// What one file defines, in its order and with repetitions.
#[derive(Default)]
struct Definitions {
    namespaces: Vec<(String, Node)>,
    problems: Vec<Problem>,
}

fn definitions(file: &str, text: &str) -> Definitions {
    let mut found = Definitions::default();
    let mut at = At::new(file, String::new(), &mut found.problems);
    match Node::documents(text) {
        Ok(documents) => {
            let are_maps = documents.iter().all(|document| matches!(document, Node::Map(_)));
            let mut others: Vec<OtherFormat> = Vec::new();
            for document in documents {
                match (OtherFormat::of(&document), document) {
                    // The documents of a file are mostly alike.
                    (Some(other), _) if others.contains(&other) => {}
                    (Some(other), _) => {
                        at.error(other.message.clone(), other.hint.clone());
                        others.push(other);
                    }
                    (None, Node::Map(entries)) => found.namespaces.extend(entries),
                    (None, document) => {
                        at.map(&document);
                    }
                }
            }
            remove_holders(&mut found.namespaces, text);
            if are_maps && others.is_empty() && found.namespaces.is_empty() {
                at.warning("the file defines no query", "see docs/queries.md for the format");
            }
        }
        Err(unreadable) => at.unreadable(unreadable),
    }
    found
}

/// Removes what is no query: entries whose names begin with `x-` or `.`, as in files of Docker Compose and GitLab CI,
/// and those that only hold anchors.
fn remove_holders(namespaces: &mut Vec<(String, Node)>, text: &str) {
    namespaces.retain(|(name, _)| !name.starts_with("x-") && !name.starts_with('.'));
    let has_query =
        |node: &Node| matches!(node, Node::Map(keys) if keys.iter().any(|(key, _)| key == "query"));
    if namespaces.iter().all(|(_, node)| has_query(node)) {
        return;
    }
    let holders = anchors::holders(text);
    namespaces.retain(|(name, node)| has_query(node) || !holders.contains(name));
}

/// One namespace of `queries.yml`.
#[derive(Debug, Clone)]
pub struct Query {
    /// The key of the document, as it names the query in self-metrics and logs.
    pub namespace: String,
    /// What is sent to the server.
    pub sql: Sql,
    /// `name` or, without it, the namespace: what the names of the metrics begin with.
    pub prefix: String,
    /// The columns that `metrics` names, in that order. Other columns of the result are untyped metrics.
    pub columns: Vec<Column>,
    /// Constant labels, on every sample.
    pub labels: Vec<(LabelName, String)>,
    /// The longest that the query may run, if the file says so.
    pub timeout: Option<Duration>,
    /// How long a good result may be served again.
    pub cache: Option<Duration>,
    /// Run first: the query runs where its first cell is true.
    pub predicate: Option<Sql>,
    /// The servers that the query is for; all where there is none.
    pub server_versions: Option<VersionRange>,
    /// Only for a server that is not in recovery.
    pub primary_only: bool,
    /// The databases that the query is for; all where there are none.
    pub databases: Vec<DatabasePattern>,
    /// What Amazon Aurora is asked instead.
    pub aurora: Option<AuroraQuery>,
}

/// What becomes of a query on Amazon Aurora.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuroraQuery {
    /// It is skipped.
    Skip,
    /// This is sent instead.
    Instead(Sql),
}

/// A column of a result and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The column's name in the result.
    pub name: String,
    /// What becomes of it.
    pub usage: Usage,
}

/// What becomes of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Usage {
    /// A label of every sample of the row.
    Label(LabelName),
    /// A metric of its own.
    Metric(MetricColumn),
    /// The time of every sample of the row.
    Timestamp,
    /// Nothing.
    Discard,
}

/// How a column is exposed.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricColumn {
    /// The name of the family: the query's prefix, `_`, and the column's name or its `name`.
    pub family: MetricName,
    /// HELP.
    pub help: String,
    /// How the column's text is read, and so the family's type.
    pub reading: Reading,
    /// The value where the column is NULL.
    pub default: Option<f64>,
    /// What a value is multiplied with.
    pub scale: Option<f64>,
    /// Constant labels, on every sample of this column.
    pub labels: Vec<(LabelName, String)>,
}

/// How the text of a metric's column is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A number that goes up and down.
    Gauge,
    /// A cumulative number.
    Counter,
    /// Upper bounds here, and the columns `C_bucket`, `C_sum` and `C_count` beside it.
    HistogramArrays,
    /// Each row is one observation.
    HistogramObservations {
        /// Upper bounds, rising and finite.
        buckets: Vec<f64>,
    },
    /// Quantiles here, and the columns `C_quantile`, `C_sum` and `C_count` beside it.
    SummaryArrays,
    /// Each row is one observation.
    SummaryObservations {
        /// From 0 to 1, rising.
        quantiles: Vec<f64>,
    },
    /// The text becomes a label; the value is always 1.
    Info {
        /// The label.
        label: LabelName,
    },
    /// One of several states.
    StateSet {
        /// Every state.
        states: Vec<String>,
        /// The label that names the state of a sample.
        label: LabelName,
    },
    /// A text for a number.
    Mapped(Vec<(String, f64)>),
    /// A length of time, in milliseconds.
    Duration,
}

impl Reading {
    /// The type of the family.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Gauge | Self::Mapped(_) | Self::Duration => Kind::Gauge,
            Self::Counter => Kind::Counter,
            Self::HistogramArrays | Self::HistogramObservations { .. } => Kind::Histogram,
            Self::SummaryArrays | Self::SummaryObservations { .. } => Kind::Summary,
            Self::Info { .. } => Kind::Info,
            Self::StateSet { .. } => Kind::StateSet,
        }
    }

    /// What the names of further columns that it reads have behind its own.
    pub fn suffixes_beside(&self) -> &'static [&'static str] {
        match self {
            Self::HistogramArrays => &HISTOGRAM_SUFFIXES,
            Self::SummaryArrays => &SUMMARY_SUFFIXES,
            _ => &[],
        }
    }

    /// The label that its metrics have beside those of their rows.
    pub fn own_label(&self) -> Option<&str> {
        match self {
            Self::HistogramArrays | Self::HistogramObservations { .. } => Some("le"),
            Self::SummaryArrays | Self::SummaryObservations { .. } => Some("quantile"),
            Self::Info { label } | Self::StateSet { label, .. } => Some(label.as_str()),
            Self::Gauge | Self::Counter | Self::Mapped(_) | Self::Duration => None,
        }
    }
}

/// Behind the column of upper bounds: those of cumulative counts, of the sum and of the count.
pub const HISTOGRAM_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Behind the column of quantiles: those of their values, of the sum and of the count.
pub const SUMMARY_SUFFIXES: [&str; 3] = ["_quantile", "_sum", "_count"];

/// Something wrong or doubtful in a query file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it disables something.
    pub severity: Severity,
    /// The file, as it was named to the exporter.
    pub file: String,
    /// Where in the document: `pg_stat_database.metrics[3].datname.usage`. Empty for the file as a whole.
    pub place: String,
    /// The line, counted from 1, where the parser can tell it.
    pub line: Option<usize>,
    /// What is wrong: lowercase, without the SQL.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The namespace (or, without a place, the file) is disabled.
    Error,
    /// Something is not understood and passed over; the rest of the namespace counts. A check of the files
    /// fails on it as on an error, a scrape does not.
    Ignored,
    /// Everything runs; the author may have meant something else.
    Warning,
}

impl fmt::Display for Problem {
    /// `queries.yml:12: pg_x.metrics[0].v.usage: unknown usage "GAGUE"; did you mean GAUGE?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

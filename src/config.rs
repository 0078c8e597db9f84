//! Reads `queries.yml`: the queries in their order, and every problem with its place. This module knows the
//! format and the names of metrics. It does not know databases, scrapes or wire formats.

mod boolean;
mod names;
mod namespace;
mod other_formats;
mod report;
mod servers;
mod sql_position;
mod targets;
mod yaml;

use std::borrow::Cow;
use std::time::Duration;

use crate::metric::{Kind, LabelName, MetricName};
use crate::problem::Problem;
use crate::sql::Sql;
use names::Names;
use namespace::Outcome;
use other_formats::OtherFormat;
use report::{At, repeats};
use yaml::{Content, Documents, Node, locate};

pub(crate) use boolean::matching_key;
pub(crate) use namespace::CACHED_COUNTER;
pub(crate) use servers::{DatabasePattern, VersionRange};
pub(crate) use sql_position::SqlPosition;
pub use targets::{TargetEntry, TargetsFile};
pub(crate) use targets::{check_name as check_target_name, is_targets_file};

/// The content of a set of query files.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The namespaces that can run, in the order of the files.
    pub queries: Vec<Query>,
    /// The namespaces with a mistake, in the order of the files. `problems` has the reasons.
    pub disabled: Vec<String>,
    /// All mistakes and warnings, in the order of the files.
    pub problems: Vec<Problem>,
}

impl Config {
    /// Reads query files, each a name and its text, as one. A mistake in a namespace disables the namespace;
    /// a file that is not YAML is disabled as a whole. All problems are reported at once.
    ///
    /// A file may have several documents. If a namespace is defined again, in the same or in another file,
    /// its last definition counts, at its place; earlier definitions are not read. An entry that only holds
    /// anchors is not a namespace.
    pub fn parse(files: &[(String, String)], naming: &Naming) -> Self {
        let files: Vec<_> =
            files.iter().map(|(name, text)| (name.as_str(), definitions(name, text))).collect();
        let namespaces = files.iter().flat_map(|(_, found)| &found.namespaces);
        let mut repeats = repeats(namespaces.map(|(namespace, _)| namespace.as_str())).into_iter();
        let mut config = Self::default();
        let mut names = Names::default();
        for (file, found) in files {
            let earlier = config.problems.len();
            config.problems.extend(found.problems);
            for ((namespace, node), is_repeated) in found.namespaces.iter().zip(&mut repeats) {
                let Some(is_repeated) = is_repeated else { continue };
                if is_repeated {
                    At::new(file, String::new(), &mut config.problems)
                        .key(namespace)
                        .warning("defined more than once", "this definition, the last one, counts");
                }
                let mut problems = Vec::new();
                let outcome = namespace::read((namespace, node), file, naming, &mut names, &mut problems);
                match outcome {
                    Outcome::Runs(query) => config.queries.push(*query),
                    Outcome::Disabled => config.disabled.push(namespace.clone()),
                    Outcome::Off => {}
                }
                config.problems.extend(problems);
            }
            locate(&found.namespaces, config.problems.iter_mut().skip(earlier));
        }
        config
    }
}

/// Completes the names and labels of every query's metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    /// The beginning of every metric name, before the query's own prefix.
    pub prefix: String,
    /// Constant labels. A query's own label of the same name overrides them.
    pub labels: Vec<(LabelName, String)>,
}

/// The definitions of one file, in their order and with repetitions.
#[derive(Default)]
struct Definitions {
    namespaces: Vec<(String, Node)>,
    problems: Vec<Problem>,
}

fn definitions(file: &str, text: &str) -> Definitions {
    let mut found = Definitions::default();
    let mut at = At::new(file, String::new(), &mut found.problems);
    let Documents { nodes, holders } = match Documents::parse(text) {
        Ok(documents) => documents,
        Err(unreadable) => {
            at.unreadable(unreadable);
            return found;
        }
    };
    let are_maps = nodes.iter().all(Node::is_map);
    let mut others: Vec<OtherFormat> = Vec::new();
    for document in nodes {
        match OtherFormat::of(&document) {
            // The documents of a file usually have the same mistake.
            Some(other) if others.contains(&other) => {}
            Some(other) => {
                at.error(other.message.clone(), other.hint.clone());
                others.push(other);
            }
            None if !document.is_map() => {
                at.map(&document);
            }
            None => {
                if let Content::Map(entries) = document.content {
                    found.namespaces.extend(entries);
                }
            }
        }
    }
    found
        .namespaces
        .retain(|(name, node)| !is_anchor(name) && (node.get("query").is_some() || !holders.contains(name)));
    if are_maps && others.is_empty() && found.namespaces.is_empty() {
        at.warning("the file defines no query", "see docs/queries.md for the format");
    }
    found
}

/// Whether a top-level key is not a query, as in files of Docker Compose and GitLab CI.
fn is_anchor(name: &str) -> bool {
    name.starts_with("x-") || name.starts_with('.')
}

/// One namespace of `queries.yml`.
#[derive(Debug, Clone)]
pub struct Query {
    /// The key in the document. It names the query in the exporter's own metrics and in logs.
    pub namespace: String,
    /// The SQL to send.
    pub sql: Sql,
    /// The beginning of the metrics' names: `name`, or the namespace without it.
    pub prefix: String,
    /// The columns in `metrics`, in that order. Other columns of the result are untyped metrics.
    pub columns: Vec<Column>,
    /// Constant labels, on every sample.
    pub labels: Vec<(LabelName, String)>,
    /// The query's own time limit.
    pub timeout: Option<Duration>,
    /// How long a successful result may be served again.
    pub cache: Option<Duration>,
    /// Runs first. The query runs if its first cell is true.
    pub predicate: Option<Sql>,
    /// The servers that the query is for. `None` means all.
    pub server_versions: Option<VersionRange>,
    /// Whether the query only runs on a server that is not in recovery.
    pub primary_only: bool,
    /// The databases of the target that the query runs in. If empty, the target's own.
    pub databases: Vec<DatabasePattern>,
    /// Replaces the SQL on Amazon Aurora.
    pub aurora: Option<AuroraQuery>,
}

impl Query {
    /// The query with a constant label, unless a column or `labels` gives its samples a label of this name.
    pub(crate) fn with_label(&self, name: &LabelName, value: &str) -> Cow<'_, Self> {
        let has_it = |column: &Column| match &column.usage {
            Usage::Label(label) => label == name,
            Usage::Metric(metric) => {
                metric.labels.iter().any(|(label, _)| label == name)
                    || metric.reading.own_label() == Some(name.as_str())
            }
            Usage::Timestamp | Usage::Discard => false,
        };
        if self.labels.iter().any(|(label, _)| label == name) || self.columns.iter().any(has_it) {
            return Cow::Borrowed(self);
        }
        let mut query = self.clone();
        query.labels.push((name.clone(), value.to_owned()));
        Cow::Owned(query)
    }
}

/// The effect of `query_aurora` on Amazon Aurora.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuroraQuery {
    /// The query is skipped.
    Skip,
    /// This SQL is sent instead.
    Instead(Sql),
}

/// A column of a result and its use.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The column's name in the result.
    pub name: String,
    /// The use of the column.
    pub usage: Usage,
}

/// The use of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Usage {
    /// A label of every sample of the row.
    Label(LabelName),
    /// A metric.
    Metric(MetricColumn),
    /// The time of every sample of the row.
    Timestamp,
    /// Not exposed.
    Discard,
}

/// How a column is exposed.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricColumn {
    /// The name of the family: the query's prefix, `_`, and the column's name or its `name`.
    pub family: MetricName,
    /// HELP.
    pub help: String,
    /// How the column's text is read, which also decides the family's type.
    pub reading: Reading,
    /// The value if the column is NULL.
    pub default: Option<f64>,
    /// The factor of the value.
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
    /// This column has upper bounds; the columns `C_bucket`, `C_sum` and `C_count` have the rest.
    HistogramArrays,
    /// Each row is one observation.
    HistogramObservations {
        /// Upper bounds, ascending and finite.
        buckets: Vec<f64>,
    },
    /// This column has quantiles; the columns `C_quantile`, `C_sum` and `C_count` have the rest.
    SummaryArrays,
    /// Each row is one observation.
    SummaryObservations {
        /// From 0 to 1, ascending.
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
    /// Texts and their numbers.
    Mapped(Vec<(String, f64)>),
    /// A duration, in milliseconds.
    Duration,
}

impl Reading {
    /// The type of the family.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Gauge | Self::Mapped(_) | Self::Duration => Kind::Gauge,
            Self::Counter => Kind::Counter,
            Self::HistogramArrays | Self::HistogramObservations { .. } => Kind::Histogram,
            Self::SummaryArrays | Self::SummaryObservations { .. } => Kind::Summary,
            Self::Info { .. } => Kind::Info,
            Self::StateSet { .. } => Kind::StateSet,
        }
    }

    /// The suffixes of the further columns that this one reads.
    pub(crate) fn suffixes_beside(&self) -> &'static [&'static str] {
        match self {
            Self::HistogramArrays => &HISTOGRAM_SUFFIXES,
            Self::SummaryArrays => &SUMMARY_SUFFIXES,
            Self::Gauge
            | Self::Counter
            | Self::HistogramObservations { .. }
            | Self::SummaryObservations { .. }
            | Self::Info { .. }
            | Self::StateSet { .. }
            | Self::Mapped(_)
            | Self::Duration => &[],
        }
    }

    /// Whether `column` is a part of the metric of the column `whole`.
    pub(crate) fn has_part(&self, whole: &str, column: &str) -> bool {
        column.strip_prefix(whole).is_some_and(|suffix| self.suffixes_beside().contains(&suffix))
    }

    /// The label that its metrics have in addition to those of their rows.
    pub(crate) fn own_label(&self) -> Option<&str> {
        match self {
            Self::HistogramArrays | Self::HistogramObservations { .. } => Some("le"),
            Self::SummaryArrays | Self::SummaryObservations { .. } => Some("quantile"),
            Self::Info { label } | Self::StateSet { label, .. } => Some(label.as_str()),
            Self::Gauge | Self::Counter | Self::Mapped(_) | Self::Duration => None,
        }
    }
}

/// The suffixes of a histogram's further columns: cumulative counts, sum and count.
pub(crate) const HISTOGRAM_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// The suffixes of a summary's further columns: values of the quantiles, sum and count.
pub(crate) const SUMMARY_SUFFIXES: [&str; 3] = ["_quantile", "_sum", "_count"];

//! The data model of an exposition: validated names, families, and the metrics in them.
//!
//! Terms are those of the OpenMetrics specification (1.0, "Data Model"): a *family* has a name, a type and
//! *metrics*; a metric is one label set with one value; a value is exposed as one *sample* or, for a histogram,
//! as several. This module knows nothing of SQL, of files or of the wire formats.

use std::fmt;
use std::sync::Arc;

/// A metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*` (Prometheus, "Metric names and labels").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricName(Arc<str>);

/// A label name: `[a-zA-Z_][a-zA-Z0-9_]*`, not beginning with `__`, which Prometheus keeps for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelName(Arc<str>);

/// Why a text is no metric or label name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// A character that the name's grammar does not have.
    #[error("{0:?} is not allowed in it, only letters, digits and _, and no digit first")]
    Character(char),
    /// A label name that begins with `__`.
    #[error("Prometheus reserves label names that begin with __")]
    Reserved,
}

impl MetricName {
    /// Checks `text` against the grammar of metric names.
    ///
    /// # Errors
    /// [`InvalidName`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text, |c| c == ':')?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `_total`, which OpenMetrics demands at the end of a counter's sample and refuses at the
    /// end of its family's name.
    pub fn without_total(&self) -> Option<&str> {
        self.without("_total")
    }

    /// The name without `_info`, which OpenMetrics demands of an info metric as it demands `_total` of a counter.
    pub fn without_info(&self) -> Option<&str> {
        self.without("_info")
    }

    fn without(&self, suffix: &str) -> Option<&str> {
        self.0.strip_suffix(suffix).filter(|base| !base.is_empty())
    }
}

/// Whether the exporter's own metrics have this name, or may have it one day.
fn is_own(name: &str) -> bool {
    name == "pg_up" || name.starts_with("pg_exporter_")
}

impl LabelName {
    /// Checks `text` against the grammar of label names.
    ///
    /// # Errors
    /// [`InvalidName`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text, |_| false)?;
        if text.starts_with("__") {
            return Err(InvalidName::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str, also: impl Fn(char) -> bool) -> Result<(), InvalidName> {
    let first = text.chars().next().ok_or(InvalidName::Empty)?;
    let wrong = text.chars().find(|&c| !(c.is_ascii_alphanumeric() || c == '_' || also(c)));
    match wrong {
        Some(c) => Err(InvalidName::Character(c)),
        None if first.is_ascii_digit() => Err(InvalidName::Character(first)),
        None => Ok(()),
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names that many label sets have in common, each once.
#[derive(Debug, Clone, Default)]
pub struct LabelNames {
    sorted: Arc<[LabelName]>,
    /// The place of each in the order that they were given in.
    places: Vec<usize>,
}

impl LabelNames {
    /// Takes the names in any order.
    ///
    /// # Errors
    /// The name that stands twice.
    pub fn new(names: Vec<LabelName>) -> Result<Self, LabelName> {
        let mut placed: Vec<(LabelName, usize)> = names.into_iter().zip(0..).collect();
        placed.sort();
        let twice = placed.iter().zip(placed.iter().skip(1)).find(|((a, _), (b, _))| a == b);
        if let Some(((name, _), _)) = twice {
            return Err(name.clone());
        }
        let (sorted, places): (Vec<_>, Vec<_>) = placed.into_iter().unzip();
        Ok(Self { sorted: sorted.into(), places })
    }

    /// The label set with these values, in the order in which the names were given. A missing value is empty.
    pub fn with(&self, values: &[&str]) -> Labels {
        let in_order = || self.places.iter().map(|&place| values.get(place).copied().unwrap_or_default());
        let mut text = String::with_capacity(in_order().map(str::len).sum());
        let ends = in_order().map(|value| {
            text.push_str(value);
            text.len()
        });
        let ends = ends.collect();
        Labels(Arc::new(LabelSet { names: self.sorted.clone(), ends, text: text.into_boxed_str() }))
    }
}

/// The label set of one metric, sorted by name, each name once. Cheap to clone: the metrics of a row share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Arc<LabelSet>);

/// Few allocations, since there may be many thousand.
#[derive(Debug, PartialEq, Eq, Hash, Default)]
struct LabelSet {
    names: Arc<[LabelName]>,
    /// The end of each value in `text`; it begins where the one before it ends.
    ends: Box<[usize]>,
    text: Box<str>,
}

impl Labels {
    /// The pairs in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelName, &str)> {
        let mut begin = 0;
        self.0.names.iter().zip(&self.0.ends).map(move |(name, &end)| {
            let value = self.0.text.get(begin..end);
            begin = end;
            (name, value.unwrap_or_default())
        })
    }

    /// The pairs that tell one series from another: to Prometheus an empty value is the same as no label.
    pub fn identity(&self) -> impl Iterator<Item = (&LabelName, &str)> {
        self.iter().filter(|(_, value)| !value.is_empty())
    }
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Cumulative, falls only when it is reset.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations counted in buckets.
    Histogram,
    /// Quantiles of observations.
    Summary,
    /// Facts that are told by labels: a gauge that is always 1 in 0.0.4.
    Info,
    /// Which of several states holds: a gauge for each state in 0.0.4.
    StateSet,
    /// Nothing is known of it: `untyped` in 0.0.4, `unknown` in OpenMetrics.
    Untyped,
}

impl Kind {
    /// Every name that a family of this type keeps from all others: its own, those of its samples, and those that
    /// OpenMetrics lets it generate (1.0, "MetricFamily", "Suffixes"). Two families that share one of them cannot be
    /// written, in OpenMetrics at least.
    pub fn claimed_names(self, name: &MetricName) -> Vec<String> {
        let suffixes: &[&str] = match self {
            Self::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
            Self::Summary => &["", "_count", "_sum", "_created"],
            Self::Counter | Self::Gauge | Self::Info | Self::StateSet | Self::Untyped => &[""],
        };
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
    }

    /// The names that OpenMetrics needs beside the [claimed](Self::claimed_names) ones to write this type as what it
    /// is. Where another family needs one of them too, [OpenMetrics shows another type](Family::is_retyped).
    pub fn names_of_type(self, name: &MetricName) -> Vec<String> {
        match (self, name.without_total(), name.without_info()) {
            (Self::Counter, Some(base), _) => vec![base.to_owned(), format!("{base}_created")],
            (Self::Info, _, Some(base)) => vec![base.to_owned()],
            _ => Vec::new(),
        }
    }

    /// Whether one of these names belongs to the exporter's own metrics.
    pub fn claims_own_name(self, name: &MetricName) -> bool {
        let mut names = self.claimed_names(name).into_iter().chain(self.names_of_type(name));
        names.any(|name| is_own(&name))
    }
}

/// All metrics of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name as it stands in `queries.yml`; suffixes of samples are the exposition's business.
    pub name: MetricName,
    /// HELP, unescaped; may be empty and may hold line breaks.
    pub help: String,
    /// The type.
    pub kind: Kind,
    /// Whether another family needs a [name of the type](Kind::names_of_type). OpenMetrics then shows a counter as
    /// `unknown` and an info metric as a gauge, both under the name that their samples have in either format.
    pub is_retyped: bool,
    /// In the order in which they are exposed.
    pub metrics: Vec<Metric>,
}

/// One label set and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What tells this metric from the others of its family.
    pub labels: Labels,
    /// What was measured.
    pub value: Value,
    /// When, in seconds since 1970; without it, the scrape's time counts.
    pub timestamp_seconds: Option<f64>,
}

/// What a metric measured. What is larger than a number is boxed, so that the many metrics that are numbers stay
/// small.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter, a gauge or an untyped metric.
    Number(f64),
    /// Of a histogram.
    Histogram(Box<Histogram>),
    /// Of a summary.
    Summary(Box<Summary>),
    /// Of an info metric: its labels say it all.
    Info,
    /// Of a state set.
    StateSet(Box<StateSet>),
}

impl Value {
    /// How many samples it is where all of them can be written, as in 0.0.4; each is a series.
    pub fn sample_count(&self) -> usize {
        match self {
            Self::Number(_) | Self::Info => 1,
            Self::StateSet(set) => set.states.len(),
            // The bucket `+Inf` and the count are always there.
            Self::Histogram(histogram) => histogram.buckets.len() + 2 + usize::from(histogram.sum.is_some()),
            Self::Summary(summary) => {
                let parts = [summary.sum, summary.count];
                summary.quantiles.len() + parts.iter().flatten().count()
            }
        }
    }
}

/// A cumulative histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Finite buckets with rising bounds and counts that do not fall. `+Inf` is `count`.
    pub buckets: Vec<Bucket>,
    /// The sum of the observations, if it is known.
    pub sum: Option<f64>,
    /// How many observations there are.
    pub count: f64,
}

/// How many observations were at most the bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Inclusive, as `le` says.
    pub upper_bound: f64,
    /// Of this bucket and all below it.
    pub cumulative_count: f64,
}

/// Quantiles of observations; each part may be unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// With rising quantiles.
    pub quantiles: Vec<Quantile>,
    /// The sum of the observations.
    pub sum: Option<f64>,
    /// How many observations there are.
    pub count: Option<f64>,
}

/// The value that a part of the observations does not exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// The part: from 0 to 1.
    pub quantile: f64,
    /// The value.
    pub value: f64,
}

/// Which of several states holds.
#[derive(Debug, Clone, PartialEq)]
pub struct StateSet {
    /// The label that names the state of a sample.
    pub label: LabelName,
    /// Every state, in the order in which they are exposed.
    pub states: Arc<[String]>,
    /// The index of the one that holds, if it is one of them.
    pub current: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_follow_the_grammar() {
        assert!(MetricName::new("pg:up_1").is_ok());
        assert_eq!(MetricName::new(""), Err(InvalidName::Empty));
        assert_eq!(MetricName::new("1up"), Err(InvalidName::Character('1')));
        assert_eq!(MetricName::new("?column?"), Err(InvalidName::Character('?')));
        assert_eq!(MetricName::new("größe"), Err(InvalidName::Character('ö')));
    }

    #[test]
    fn label_names_follow_the_grammar() {
        assert!(LabelName::new("_datname").is_ok());
        assert_eq!(LabelName::new("__name__"), Err(InvalidName::Reserved));
        assert_eq!(LabelName::new("a:b"), Err(InvalidName::Character(':')));
    }

    #[test]
    fn a_family_claims_the_names_that_openmetrics_lets_it_generate() {
        let claims = |kind: Kind, name| kind.claimed_names(&MetricName::new(name).unwrap());
        assert_eq!(claims(Kind::Gauge, "x_total"), ["x_total"]);
        assert_eq!(claims(Kind::Counter, "x"), ["x"]);
        assert_eq!(claims(Kind::Counter, "x_total"), ["x_total"]);
        assert_eq!(claims(Kind::Summary, "x"), ["x", "x_count", "x_sum", "x_created"]);
        assert_eq!(claims(Kind::Info, "x_info"), ["x_info"]);
        assert_eq!(claims(Kind::StateSet, "x"), ["x"]);
        assert_eq!(claims(Kind::Histogram, "x"), ["x", "x_bucket", "x_count", "x_sum", "x_created"]);
    }

    #[test]
    fn some_types_need_further_names_in_openmetrics() {
        let names = |kind: Kind, name| kind.names_of_type(&MetricName::new(name).unwrap());
        assert_eq!(names(Kind::Counter, "x_total"), ["x", "x_created"]);
        assert_eq!(names(Kind::Info, "x_info"), ["x"]);
        for (kind, name) in [
            (Kind::Counter, "x"),
            (Kind::Counter, "_total"),
            (Kind::Counter, "x_info"),
            (Kind::Info, "x_total"),
            (Kind::Gauge, "x_total"),
            (Kind::Untyped, "x_info"),
        ] {
            assert_eq!(names(kind, name), [""; 0], "{kind:?} {name}");
        }
    }

    #[test]
    fn names_of_the_exporter_itself_are_known() {
        let own = |kind: Kind, name| kind.claims_own_name(&MetricName::new(name).unwrap());
        assert!(
            own(Kind::Gauge, "pg_up")
                && own(Kind::Counter, "pg_up_total")
                && own(Kind::Gauge, "pg_exporter_x")
        );
        assert!(!own(Kind::Gauge, "pg_up_x") && !own(Kind::Gauge, "pg_exporter"));
    }

    #[test]
    fn labels_are_sorted_and_unique() {
        let name = |text| LabelName::new(text).unwrap();
        let names = LabelNames::new(vec![name("b"), name("c"), name("a")]).unwrap();
        let labels = names.with(&["1", "", "3"]);
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(pairs, [("a", "3"), ("b", "1"), ("c", "")]);
        assert_eq!(labels.identity().count(), 2);
        assert_eq!(names.with(&["1"]), names.with(&["1", "", ""]));
        assert_eq!(LabelNames::new(vec![name("a"), name("b"), name("a")]).unwrap_err(), name("a"));
    }
}

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
    #[error("a name may not be empty")]
    Empty,
    /// A character that the name's grammar does not have.
    #[error("{0:?} may not stand in a name here; letters, digits and _ may, and no digit at the front")]
    Character(char),
    /// A label name that begins with `__`.
    #[error("label names beginning with __ are reserved by Prometheus")]
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
        self.0.strip_suffix("_total").filter(|base| !base.is_empty())
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

/// The label set of one metric, sorted by name, each name once. Cheap to clone: the metrics of a row share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Labels(Arc<[(LabelName, Box<str>)]>);

impl Labels {
    /// Sorts the pairs by name.
    ///
    /// # Errors
    /// The name that stands twice.
    pub fn new(mut pairs: Vec<(LabelName, Box<str>)>) -> Result<Self, LabelName> {
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = pairs.iter().zip(pairs.iter().skip(1)).find(|((a, _), (b, _))| a == b);
        match twice {
            Some(((name, _), _)) => Err(name.clone()),
            None => Ok(Self(pairs.into())),
        }
    }

    /// The pairs in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelName, &str)> {
        self.0.iter().map(|(name, value)| (name, &**value))
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
    /// Nothing is known of it: `untyped` in 0.0.4, `unknown` in OpenMetrics.
    Untyped,
}

impl Kind {
    /// Every name that a family of this type keeps from all others: the family's in either format, its samples',
    /// and those that OpenMetrics lets it generate (1.0, "MetricFamily", "Suffixes"). Two families that share one
    /// of them are refused by OpenMetrics parsers.
    pub fn claimed_names(self, name: &MetricName) -> Vec<String> {
        let (base, suffixes): (&str, &[&str]) = match (self, name.without_total()) {
            (Self::Counter, Some(base)) => (base, &["", "_total", "_created"]),
            (Self::Histogram, _) => (name.as_str(), &["", "_bucket", "_count", "_sum", "_created"]),
            (Self::Counter | Self::Gauge | Self::Untyped, _) => (name.as_str(), &[""]),
        };
        suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect()
    }

    /// Whether one of the [claimed names](Self::claimed_names) belongs to the exporter's own metrics.
    pub fn claims_own_name(self, name: &MetricName) -> bool {
        self.claimed_names(name).iter().any(|claimed| is_own(claimed))
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
}

/// What a metric measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter, a gauge or an untyped metric.
    Number(f64),
    /// Of a histogram; boxed, so that the many metrics that are numbers stay small.
    Histogram(Box<Histogram>),
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
        assert_eq!(claims(Kind::Counter, "x_total"), ["x", "x_total", "x_created"]);
        assert_eq!(claims(Kind::Counter, "_total"), ["_total"]);
        assert_eq!(claims(Kind::Histogram, "x"), ["x", "x_bucket", "x_count", "x_sum", "x_created"]);
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
        let labels = Labels::new(vec![(name("b"), "1".into()), (name("a"), "".into())]).unwrap();
        assert_eq!(labels.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(labels.identity().count(), 1);
        assert_eq!(Labels::new(vec![(name("a"), "1".into()), (name("a"), "2".into())]), Err(name("a")));
    }
}

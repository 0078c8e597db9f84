//! The data model of an exposition: validated names, families, and the metrics in them.
//!
//! The terms are those of OpenMetrics (1.0, "Data Model"). A *family* has a name, a type and *metrics*. A metric has
//! one label set and one value, which is one *sample* or, for a histogram, several. The families of a result are columns, so
//! that a row allocates nothing.

mod family;
mod labels;

use std::fmt;
use std::sync::Arc;

pub use family::{Bucket, Families, Family, Histogram, Quantile, StateSet, Summary, Value, Values};
pub(crate) use labels::{LabelNames, LabelSets};

/// A metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*` (Prometheus, "Metric names and labels").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricName(Arc<str>);

/// A label name: `[a-zA-Z_][a-zA-Z0-9_]*`. Names that begin with `__` are reserved by Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelName(Arc<str>);

/// Why a text is not a metric or label name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// A character that the grammar of names does not allow.
    #[error("{0:?} is not allowed in it, only letters, digits and _, and no digit first")]
    Character(char),
    /// A label name that begins with `__`.
    #[error("Prometheus reserves label names that begin with __")]
    Reserved,
}

impl MetricName {
    /// Checks `text` against the grammar of metric names.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text, |c| c == ':')?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `_total`. In OpenMetrics, the name of a counter's sample must end in `_total`, and
    /// the name of its family must not.
    pub(crate) fn without_total(&self) -> Option<&str> {
        self.without("_total")
    }

    /// The name without `_info`, with the same rules for info metrics as `_total` has for counters.
    pub(crate) fn without_info(&self) -> Option<&str> {
        self.without("_info")
    }

    fn without(&self, suffix: &str) -> Option<&str> {
        self.0.strip_suffix(suffix).filter(|base| !base.is_empty())
    }
}

/// Whether the exporter's own metrics use this name, or may use it in a later version.
fn is_own(name: &str) -> bool {
    name == "pg_up" || name.starts_with("pg_exporter_")
}

impl LabelName {
    /// Checks `text` against the grammar of label names.
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

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A cumulative number that falls only when it is reset.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Observations counted in buckets.
    Histogram,
    /// Quantiles of observations.
    Summary,
    /// Facts as labels. In 0.0.4, a gauge with the value 1.
    Info,
    /// The current one of several states. In 0.0.4, a gauge for each state.
    StateSet,
    /// An unknown type: `untyped` in 0.0.4, `unknown` in OpenMetrics.
    Untyped,
}

impl Kind {
    /// All names that no other family may use: the name itself, the names of its samples, and the names that
    /// OpenMetrics may generate (1.0, "MetricFamily", "Suffixes"). OpenMetrics cannot express two families
    /// that share one of them.
    pub(crate) fn claimed_names(self, name: &MetricName) -> Vec<String> {
        let suffixes: &[&str] = match self {
            Self::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
            Self::Summary => &["", "_count", "_sum", "_created"],
            Self::Counter | Self::Gauge | Self::Info | Self::StateSet | Self::Untyped => &[""],
        };
        suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
    }

    /// The further names that OpenMetrics needs to show this type, in addition to the
    /// [claimed](Self::claimed_names) ones. If another family needs one of them too, OpenMetrics shows another type.
    pub(crate) fn names_of_type(self, name: &MetricName) -> Vec<String> {
        match (self, name.without_total(), name.without_info()) {
            (Self::Counter, Some(base), _) => vec![base.to_owned(), format!("{base}_created")],
            (Self::Info, _, Some(base)) => vec![base.to_owned()],
            _ => Vec::new(),
        }
    }

    /// Whether one of these names is reserved for the exporter's own metrics.
    pub(crate) fn claims_own_name(self, name: &MetricName) -> bool {
        let mut names = self.claimed_names(name).into_iter().chain(self.names_of_type(name));
        names.any(|name| is_own(&name))
    }
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
}

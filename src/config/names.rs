//! The names that families and their samples use in either format, so that no two families of an exposition
//! clash.

use std::collections::HashMap;

use super::Reading;
use crate::metric::{Kind, MetricName};

/// The used names, each with its family and namespace.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Owner>);

#[derive(Debug, Clone)]
struct Owner {
    family: MetricName,
    kind: Kind,
    namespace: String,
}

/// Two families that cannot be in one exposition.
#[derive(Debug, thiserror::Error)]
pub(super) enum Clash {
    #[error("the name {0}, or a name derived from it, is reserved for the exporter's own metrics")]
    Exporter(MetricName),
    #[error("metric {family} is {here} here and {there} in {namespace}")]
    Kind { family: MetricName, here: &'static str, there: &'static str, namespace: String },
    #[error("metrics {here} and {there} (in {namespace}) both need the name {name}")]
    Sample { here: MetricName, there: MetricName, namespace: String, name: String },
}

impl Names {
    /// Whether `family` can be exposed with the families so far. The same family with the same type can: its
    /// metrics then come from several queries.
    pub(super) fn check(&self, family: &MetricName, reading: &Reading) -> Result<(), Clash> {
        let kind = reading.kind();
        if kind.claims_own_name(family) {
            return Err(Clash::Exporter(family.clone()));
        }
        for name in kind.claimed_names(family) {
            let Some(owner) = self.0.get(&name) else { continue };
            let namespace = owner.namespace.clone();
            if owner.family != *family {
                let (here, there) = (family.clone(), owner.family.clone());
                return Err(Clash::Sample { here, there, namespace, name });
            }
            if owner.kind != kind {
                let (here, there) = (word(kind), word(owner.kind));
                return Err(Clash::Kind { family: family.clone(), here, there, namespace });
            }
        }
        Ok(())
    }

    /// Adds the names of `family` that are still free.
    pub(super) fn take(&mut self, family: &MetricName, reading: &Reading, namespace: &str) {
        let kind = reading.kind();
        for name in kind.claimed_names(family) {
            let owner = Owner { family: family.clone(), kind, namespace: namespace.to_owned() };
            self.0.entry(name).or_insert(owner);
        }
    }

    /// Adds all names of `others`.
    pub(super) fn take_all(&mut self, others: Self) {
        for (name, owner) in others.0 {
            self.0.entry(name).or_insert(owner);
        }
    }
}

/// The name of a type in a message.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "a counter",
        Kind::Gauge => "a gauge",
        Kind::Histogram => "a histogram",
        Kind::Summary => "a summary",
        Kind::Info => "an info metric",
        Kind::StateSet => "a state set",
        Kind::Untyped => "an untyped metric",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::LabelName;

    fn clash(first: &(&str, Reading), second: &(&str, Reading)) -> Option<String> {
        let mut names = Names::default();
        names.take(&MetricName::new(first.0).unwrap(), &first.1, "pg_a");
        names.check(&MetricName::new(second.0).unwrap(), &second.1).err().map(|clash| clash.to_string())
    }

    #[test]
    fn families_meet_through_their_suffixes() {
        use Reading::{Counter, Gauge, HistogramArrays as Histogram, SummaryArrays as Summary};
        let info = || Reading::Info { label: LabelName::new("x").unwrap() };
        let table = [
            (("x", Gauge), ("x", Gauge), None),
            (("x", Histogram), ("x", Histogram), None),
            (("x", Gauge), ("x_count", Gauge), None),
            (("x", Counter), ("x_total", Gauge), None),
            (("x_total", Gauge), ("x", Gauge), None),
            (("x", Histogram), ("x_info", Gauge), None),
            (("x_total", Counter), ("x", Gauge), None),
            (("x_created", Gauge), ("x_total", Counter), None),
            (("x_total", Counter), ("x", Histogram), None),
            (("x_info", info()), ("x", Gauge), None),
            (("x", Gauge), ("x_info", info()), None),
            (("x_info", info()), ("x_total", Counter), None),
            (("x", Gauge), ("x", Counter), Some("x is a counter here and a gauge in pg_a")),
            (("x_created", Gauge), ("x", Histogram), Some("both need the name x_created")),
            (
                ("x", Histogram),
                ("x_count", Gauge),
                Some("x_count and x (in pg_a) both need the name x_count"),
            ),
            (("x_sum", Counter), ("x", Histogram), Some("x and x_sum (in pg_a) both need the name x_sum")),
            (("x", Histogram), ("x_bucket", Histogram), Some("both need the name x_bucket")),
            (("x", Summary), ("x_sum", Gauge), Some("both need the name x_sum")),
            (("x", Summary), ("x_bucket", Gauge), None),
            (("x", Summary), ("x", Histogram), Some("x is a histogram here and a summary in pg_a")),
            (("x_info", info()), ("x_info", info()), None),
            (("y", Gauge), ("pg_up", Gauge), Some("the name pg_up,")),
            (("y", Gauge), ("pg_up_total", Counter), Some("the name pg_up_total,")),
            (("y", Gauge), ("pg_exporter_x", Gauge), Some("the name pg_exporter_x,")),
            (
                ("y", Gauge),
                ("pg_exporter", Histogram),
                Some("the name pg_exporter, or a name derived from it, is reserved"),
            ),
            (("y", Gauge), ("pg_exporter", Gauge), None),
        ];
        for (first, second, expected) in table {
            let found = clash(&first, &second);
            match expected {
                None => assert_eq!(found, None, "{first:?} {second:?}"),
                Some(part) => {
                    assert!(found.as_ref().is_some_and(|text| text.contains(part)), "{found:?} {part}")
                }
            }
        }
    }
}

//! What becomes of the columns of a result, in words.

use crate::config::{MetricColumn, Query, Usage};
use crate::metric::{Kind, MetricName};

/// What becomes of a result's column: `label datname`, `gauge pg_x_size`, `discarded`.
pub(super) fn fate(query: &Query, column: &str) -> String {
    if let Some(declared) = query.columns.iter().find(|declared| declared.name == column) {
        return match &declared.usage {
            Usage::Label(name) => format!("label {}", name.as_str()),
            Usage::Metric(metric) => format!("{} {}", kind(metric.reading.kind()), metric.family.as_str()),
            Usage::Timestamp => "time of the row's samples".to_owned(),
            Usage::Discard => "discarded".to_owned(),
        };
    }
    let whole = query.columns.iter().find_map(|declared| match &declared.usage {
        Usage::Metric(metric) if is_part(metric, &declared.name, column) => Some(metric),
        _ => None,
    });
    match (whole, MetricName::new(&format!("{}_{column}", query.prefix))) {
        (Some(metric), _) => format!("part of {}", metric.family.as_str()),
        (None, Ok(name)) => format!("untyped {}", name.as_str()),
        (None, Err(_)) => "dropped: not a metric's name".to_owned(),
    }
}

/// Whether the metric of column `whole` reads `column`, too.
fn is_part(metric: &MetricColumn, whole: &str, column: &str) -> bool {
    column.strip_prefix(whole).is_some_and(|suffix| metric.reading.suffixes_beside().contains(&suffix))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Summary => "summary",
        Kind::Info => "info",
        Kind::StateSet => "stateset",
        Kind::Untyped => "untyped",
    }
}

//! Describes how the columns of a result are exposed.

use crate::config::{Query, Usage};
use crate::mapping::{DeclaredNames, Mapper};
use crate::metric::{Kind, LabelName, MetricName};
use crate::table::Rows;

/// The use of each column of a result: `label datname`, `gauge pg_x_size`, `discarded`.
pub(super) fn purposes(query: &Query, columns: &[String], names: &DeclaredNames) -> Vec<String> {
    let mut mapper = Mapper::new(query, usize::MAX, usize::MAX);
    mapper.begin(columns.to_vec());
    // Without a label the whole query fails, whatever the names are.
    let exposed = mapper.finish().ok().map(|mapped| names.exposed(&mapped.families));
    let purpose = |(position, column): (usize, &String)| {
        let is_repeated = columns.iter().take(position).any(|earlier| earlier == column);
        purpose(query, column, is_repeated, exposed.as_deref())
    };
    columns.iter().enumerate().map(purpose).collect()
}

fn purpose(query: &Query, column: &str, is_repeated: bool, exposed: Option<&[(MetricName, Kind)]>) -> String {
    let in_family = |name: &MetricName, kind: Kind, labels: &[_]| match exposed
        .is_none_or(|all| all.contains(&(name.clone(), kind)))
    {
        false => format!("dropped: the name {} belongs to another metric", name.as_str()),
        // In each row, the first column with a metric stays. An INFO has its text as a label, so both may
        // stay.
        true if is_repeated && kind != Kind::Info => {
            "dropped where an earlier column has the name and a value".to_owned()
        }
        true => format!("{} {}{}", word(kind), name.as_str(), constants(labels)),
    };
    let unless_repeated = |purpose: String| match is_repeated {
        true => "dropped: an earlier column has the name".to_owned(),
        false => purpose,
    };
    if let Some(declared) = query.columns.iter().find(|declared| declared.name == column) {
        return match &declared.usage {
            Usage::Label(name) => unless_repeated(format!("label {}", name.as_str())),
            Usage::Metric(metric) => in_family(&metric.family, metric.reading.kind(), &metric.labels),
            Usage::Timestamp => unless_repeated("time of the row's samples".to_owned()),
            Usage::Discard => "discarded".to_owned(),
        };
    }
    let whole = query.columns.iter().find_map(|declared| match &declared.usage {
        Usage::Metric(metric) if metric.reading.has_part(&declared.name, column) => Some(metric),
        _ => None,
    });
    match (whole, MetricName::new(&format!("{}_{column}", query.prefix))) {
        (Some(metric), _) => unless_repeated(format!("part of {}", metric.family.as_str())),
        (None, Ok(name)) => in_family(&name, Kind::Untyped, &[]),
        (None, Err(_)) => "dropped: not a metric's name".to_owned(),
    }
}

/// `{size="small"}`, the labels that distinguish columns of one metric.
fn constants(labels: &[(LabelName, String)]) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn word(kind: Kind) -> &'static str {
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

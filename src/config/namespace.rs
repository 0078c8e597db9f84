//! One namespace: its keys, and what they come to together.

mod column;

use std::collections::HashSet;
use std::time::Duration;

use super::names::Names;
use super::node::Node;
use super::report::{At, Key, read_keys};
use super::{Column, Problem, Query, Reading, Severity, Usage};
use crate::metric::{LabelName, MetricName};
use crate::sql::Sql;
use column::Draft as ColumnDraft;

/// What becomes of a namespace.
pub(super) enum Outcome {
    Runs(Query),
    /// Its query is empty.
    Off,
    /// The problems say why.
    Disabled,
}

/// The keys of a namespace.
const KEYS: &[Key<Draft>] = &[
    Key { name: "query", read: read_query },
    Key { name: "metrics", read: |draft, node, at| draft.columns = column::read_all(node, at) },
    Key { name: "name", read: read_name },
    Key { name: "labels", read: read_labels },
    Key { name: "timeout", read: |draft, node, at| draft.timeout = read_timeout(node, at) },
    // To postgres_exporter it means its first database, of which there is one here.
    Key { name: "master", read: |_, _, _| {} },
];

/// A namespace as its keys have it.
#[derive(Default)]
struct Draft {
    query: QueryText,
    columns: Vec<ColumnDraft>,
    name: Option<String>,
    labels: Vec<(LabelName, String)>,
    timeout: Option<Duration>,
}

#[derive(Default)]
enum QueryText {
    #[default]
    Missing,
    Refused,
    Sound(Sql),
}

/// Reads the definition of `namespace`. A query that runs takes its names.
pub(super) fn read(
    namespace: &str,
    node: &Node,
    file: &str,
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Outcome {
    let mut draft = Draft::default();
    let mut at = At::new(file, String::new(), problems);
    let mut at = at.key(namespace);
    let Some(entries) = at.map(node) else { return Outcome::Disabled };
    read_keys(entries, KEYS, &mut draft, &mut at);
    if matches!(&draft.query, QueryText::Sound(sql) if sql.is_empty()) {
        problems.clear();
        return Outcome::Off;
    }
    if matches!(draft.query, QueryText::Missing) {
        at.error("the query is missing", "add `query`, or leave it empty to switch the namespace off");
    }
    check_prefix(namespace, draft.name.as_deref(), &mut at);
    let prefix = draft.name.unwrap_or_else(|| namespace.to_owned());
    let columns = column::resolve(&draft.columns, &prefix, &mut at);
    check_labels(&draft.labels, &columns, &mut at);
    let taken = check_names(namespace, &columns, names, &mut at);
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    match draft.query {
        QueryText::Sound(sql) if !failed => {
            names.take_all(taken);
            Outcome::Runs(Query {
                namespace: namespace.to_owned(),
                sql,
                prefix,
                columns: columns.into_iter().map(|(_, column)| column).collect(),
                labels: draft.labels,
                timeout: draft.timeout,
            })
        }
        _ => Outcome::Disabled,
    }
}

fn read_query(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    draft.query = QueryText::Refused;
    let Some(text) = at.text(node) else { return };
    match Sql::parse(text) {
        Ok(sql) => {
            if sql.is_localized() {
                at.warning("a plain SET is sent as SET LOCAL", "write SET LOCAL");
            }
            draft.query = QueryText::Sound(sql);
        }
        Err(problem) => at.error(problem.to_string(), problem.hint()),
    }
}

fn read_name(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    if *node != Node::Null {
        draft.name = at.text(node).map(str::to_owned);
    }
}

fn read_labels(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    let entries = at.map(node).unwrap_or_default();
    for (name, value) in at.unique(entries) {
        let mut at = at.key(name);
        let value = at.text(value);
        match (LabelName::new(name), value) {
            (Ok(name), Some(value)) => draft.labels.push((name, value.to_owned())),
            (Ok(_), None) => {}
            (Err(invalid), _) => at.error(format!("cannot be a label name: {invalid}"), ""),
        }
    }
}

fn read_timeout(node: &Node, at: &mut At<'_>) -> Option<Duration> {
    const HINT: &str = "write a duration above zero with its unit, such as 500ms, 2s or 1m30s";
    let text = at.text(node)?.trim();
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() => return Some(timeout),
        Ok(_) => at.error("zero leaves no time to run in", HINT),
        Err(_) if text.parse::<f64>().is_ok() => at.error("a duration without a unit", HINT),
        Err(_) => at.error("not a duration", HINT),
    }
    None
}

fn check_prefix(namespace: &str, name: Option<&str>, at: &mut At<'_>) {
    match (MetricName::new(name.unwrap_or(namespace)), name) {
        (Ok(_), _) => {}
        (Err(invalid), None) => {
            at.error(format!("cannot begin a metric name: {invalid}"), "give the namespace a `name`");
        }
        (Err(invalid), Some(_)) => at.key("name").error(format!("cannot begin a metric name: {invalid}"), ""),
    }
}

/// Each label once, and none that a type of metric has for itself.
fn check_labels(constant: &[(LabelName, String)], columns: &[(String, Column)], at: &mut At<'_>) {
    let histogram = columns.iter().any(|(_, column)| {
        matches!(&column.usage, Usage::Metric(metric) if metric.reading == Reading::HistogramArrays)
    });
    let constant = constant.iter().map(|(name, _)| (format!("{}.labels.{name}", at.place()), name));
    let from_columns = columns.iter().filter_map(|(place, column)| match &column.usage {
        Usage::Label(name) => Some((place.clone(), name)),
        _ => None,
    });
    let mut seen = HashSet::new();
    for (place, name) in constant.chain(from_columns).collect::<Vec<_>>() {
        let mut at = at.elsewhere(&place);
        if !seen.insert(name) {
            at.error(format!("label {name} stands twice"), RENAME);
        }
        if histogram && name.as_str() == "le" {
            at.error("a histogram has the label le for itself", RENAME);
        }
    }
}

/// The names that the columns' families take, none of which may be taken by others.
fn check_names(namespace: &str, columns: &[(String, Column)], names: &Names, at: &mut At<'_>) -> Names {
    let mut own = Names::default();
    let mut families = HashSet::new();
    for (place, column) in columns {
        let Usage::Metric(metric) = &column.usage else { continue };
        let (family, reading) = (&metric.family, metric.reading);
        let mut at = at.elsewhere(place);
        if !families.insert(family) {
            at.error(format!("metric {family} stands twice in this query"), RENAME);
        } else if let Err(clash) = own.check(family, reading).and_then(|()| names.check(family, reading)) {
            at.error(clash.to_string(), RENAME);
        } else {
            own.take(family, reading, namespace);
        }
    }
    own
}

const RENAME: &str = "give it another name";

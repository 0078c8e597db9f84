//! One namespace: its keys, and the checks across them.

mod column;
mod conditions;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::names::{self, Names};
use super::report::{At, Key, read_keys};
use super::yaml::Node;
use super::{AuroraQuery, Column, DatabasePattern, Naming, Query, Reading, Usage, VersionRange};
use crate::metric::{LabelName, MetricName};
use crate::problem::{Problem, Severity};
use crate::sql::Sql;
use column::Draft as ColumnDraft;

/// The result of reading a namespace.
pub(super) enum Outcome {
    Runs(Box<Query>),
    /// Its query is empty.
    Off,
    /// It has a mistake, which is reported.
    Disabled,
}

/// The keys of a namespace.
const KEYS: &[Key<Draft>] = &[
    Key { name: "query", read: |draft, node, at| draft.query = read_sql(node, at) },
    Key { name: "metrics", read: |draft, node, at| draft.columns = column::read_all(node, at) },
    Key { name: "name", read: |draft, node, at| draft.name = at.text(node).map(str::to_owned) },
    Key { name: "labels", read: |draft, node, at| draft.labels = read_labels(node, at) },
    Key { name: "timeout", read: |draft, node, at| draft.timeout = read_timeout(node, at) },
    Key { name: "cache_seconds", read: |draft, node, at| draft.cache = conditions::cache(node, at) },
    Key {
        name: "predicate_query",
        read: |draft, node, at| draft.predicate = conditions::predicate(node, at),
    },
    Key {
        name: "runonserver",
        read: |draft, node, at| draft.server_versions = conditions::server_versions(node, at),
    },
    Key { name: "primary", read: |draft, node, at| draft.primary_only = conditions::is_true(node, at) },
    Key {
        name: "target_databases",
        read: |draft, node, at| draft.databases = conditions::databases(node, at),
    },
    Key { name: "query_aurora", read: |draft, node, at| draft.aurora = conditions::aurora(node, at) },
    Key { name: "master", read: |_, node, at| conditions::master(node, at) },
];

/// The values of a namespace's keys.
#[derive(Default)]
struct Draft {
    query: Option<Sql>,
    columns: Vec<ColumnDraft>,
    name: Option<String>,
    labels: Vec<(LabelName, String)>,
    timeout: Option<Duration>,
    cache: Option<Duration>,
    predicate: Option<Sql>,
    server_versions: Option<VersionRange>,
    primary_only: bool,
    databases: Vec<DatabasePattern>,
    aurora: Option<AuroraQuery>,
}

/// Reads the definition of `namespace`. A query that runs reserves its names.
pub(super) fn read(
    (namespace, node): (&str, &Node),
    file: &str,
    naming: &Naming,
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Outcome {
    let mut draft = Draft::default();
    let mut at = At::new(file, String::new(), problems);
    let mut at = at.key(namespace);
    let Some(entries) = at.map(node) else { return Outcome::Disabled };
    let given = read_keys(entries, KEYS, &mut draft, &mut at);
    if draft.query.as_ref().is_some_and(Sql::is_empty) {
        problems.clear();
        return Outcome::Off;
    }
    if !given.contains(&"query") {
        let hint = "add `query`, leave it empty to switch the namespace off, or begin the name with x- if it is not a query";
        at.error("the query is missing", hint);
    }
    let prefix = format!("{}{}", naming.prefix, draft.name.as_deref().unwrap_or(namespace));
    check_prefix(&prefix, draft.name.is_some(), &mut at);
    let columns = column::resolve(&draft.columns, &prefix, &mut at);
    check_labels(&draft.labels, &columns, &mut at);
    add_extra_labels(&mut draft.labels, naming, &columns);
    warn_of_cached_counters(draft.cache, &columns, &mut at);
    let taken = check_names(namespace, &columns, names, &mut at);
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    match draft.query {
        Some(sql) if !failed => {
            names.take_all(taken);
            Outcome::Runs(Box::new(Query {
                namespace: namespace.to_owned(),
                sql,
                prefix,
                columns: columns.into_iter().map(|(_, column)| column).collect(),
                labels: draft.labels,
                timeout: draft.timeout,
                cache: draft.cache,
                predicate: draft.predicate,
                server_versions: draft.server_versions,
                primary_only: draft.primary_only,
                databases: draft.databases,
                aurora: draft.aurora,
            }))
        }
        _ => Outcome::Disabled,
    }
}

fn read_sql(node: &Node, at: &mut At<'_>) -> Option<Sql> {
    let text = at.text(node)?;
    if at.is_in_curly_quotes(text) {
        return None;
    }
    match Sql::parse(text) {
        Ok(sql) => {
            if sql.is_localized() {
                at.warning("a plain SET is sent as SET LOCAL", "write SET LOCAL");
            }
            warn_of_own_settings(&sql.prologue_settings_read(), at);
            Some(sql)
        }
        Err(problem) => {
            at.error(problem.to_string(), problem.hint());
            None
        }
    }
}

/// A query reads the values of these settings that the exporter has set for it.
fn warn_of_own_settings(settings: &[&str], at: &mut At<'_>) {
    let hint = match settings {
        [] => return,
        ["transaction_read_only"] => {
            "read pg_is_in_recovery(), or `reset_val` of default_transaction_read_only in pg_settings"
        }
        _ => "read `reset_val` of pg_settings instead",
    };
    at.warning(format!("the query reads the exporter's own value of {}", settings.join(", ")), hint);
}

pub(super) fn read_labels(node: &Node, at: &mut At<'_>) -> Vec<(LabelName, String)> {
    let mut labels = Vec::new();
    let entries = at.map(node).unwrap_or_default();
    for (name, value) in at.unique(entries) {
        let mut at = at.key(name);
        let value = at.text(value);
        match (LabelName::new(name), value) {
            (Ok(name), Some(value)) => labels.push((name, value.to_owned())),
            (Ok(_), None) => {}
            (Err(invalid), _) => at.error(format!("cannot be a label name: {invalid}"), ""),
        }
    }
    labels
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

fn check_prefix(prefix: &str, is_named: bool, at: &mut At<'_>) {
    let Err(invalid) = MetricName::new(prefix) else { return };
    let message = format!("cannot begin a metric name: {invalid}");
    match is_named {
        true => at.key("name").error(message, ""),
        false => at.error(message, "give the namespace a `name`"),
    }
}

/// A query's own label, and a label that a type of metric sets itself, is not replaced.
fn add_extra_labels(own: &mut Vec<(LabelName, String)>, naming: &Naming, columns: &[(String, Column)]) {
    let extra = naming.labels.iter().filter(|(name, _)| {
        let has_it = |column: &Column| {
            matches!(&column.usage, Usage::Label(label) if label == name)
                || own_label(column).is_some_and(|(label, _)| label == name.as_str())
                || constants(column).iter().any(|(label, _)| label == name)
        };
        !own.iter().any(|(own, _)| own == name) && !columns.iter().any(|(_, column)| has_it(column))
    });
    let extra: Vec<_> = extra.cloned().collect();
    own.extend(extra);
}

/// The message on a query with COUNTERs and a cache. `check` takes it for a mistake, unless there is one environment.
pub(crate) const CACHED_COUNTER: &str =
    "a cached COUNTER can step back where several execution environments answer in turn";

/// Each execution environment has its own cache, so values step back if an older one answers.
fn warn_of_cached_counters(cache: Option<Duration>, columns: &[(String, Column)], at: &mut At<'_>) {
    let is_counter = |column: &Column| matches!(&column.usage, Usage::Metric(metric) if metric.reading == Reading::Counter);
    if cache.is_some() && columns.iter().any(|(_, column)| is_counter(column)) {
        at.key("cache_seconds").warning(
            CACHED_COUNTER,
            "do not cache it; or reserve a concurrency of 1, and set RESERVED_CONCURRENCY=1",
        );
    }
}

/// Reports labels that appear twice, and labels that a type of metric sets itself.
fn check_labels(constant: &[(LabelName, String)], columns: &[(String, Column)], at: &mut At<'_>) {
    let own: Vec<_> = columns.iter().filter_map(|(_, column)| own_label(column)).collect();
    let constant = constant.iter().map(|(name, _)| (format!("{}.labels.{name}", at.place()), name));
    let from_columns = columns.iter().filter_map(|(place, column)| match &column.usage {
        Usage::Label(name) => Some((place.clone(), name)),
        _ => None,
    });
    let mut seen = HashSet::new();
    for (place, name) in constant.chain(from_columns).collect::<Vec<_>>() {
        let mut at = at.elsewhere(&place);
        if !seen.insert(name) {
            at.error(format!("label {name} appears twice"), RENAME);
        }
        if let Some((_, what)) = own.iter().find(|(own, _)| *own == name.as_str()) {
            at.error(format!("{what} sets the label {name} itself"), RENAME);
        }
    }
    for (place, column) in columns {
        for (name, _) in constants(column) {
            let mut at = at.elsewhere(&format!("{place}.labels.{name}"));
            if seen.contains(name) {
                let message = format!("label {name} is also a LABEL column or one of the query's `labels`");
                at.error(message, RENAME);
            }
            if let Some((_, what)) = own_label(column).filter(|(own, _)| *own == name.as_str()) {
                at.error(format!("{what} sets the label {name} itself"), RENAME);
            }
        }
    }
}

/// A column's constant labels, which its metrics have in addition to those of the row.
fn constants(column: &Column) -> &[(LabelName, String)] {
    match &column.usage {
        Usage::Metric(metric) => &metric.labels,
        Usage::Label(_) | Usage::Timestamp | Usage::Discard => &[],
    }
}

/// The label that a column's metric has in addition to those of the row, and the name of its type.
fn own_label(column: &Column) -> Option<(&str, &'static str)> {
    let Usage::Metric(metric) = &column.usage else { return None };
    Some((metric.reading.own_label()?, names::word(metric.reading.kind())))
}

/// The names that the columns' families use, if no other query uses them. Columns with one metric name are
/// one family if their constant labels distinguish their samples.
fn check_names(namespace: &str, columns: &[(String, Column)], names: &Names, at: &mut At<'_>) -> Names {
    let mut own = Names::default();
    let mut seen = HashSet::new();
    for (place, column) in columns {
        let Usage::Metric(metric) = &column.usage else { continue };
        let (family, reading) = (&metric.family, &metric.reading);
        let mut at = at.elsewhere(place);
        // To Prometheus, an empty label does not exist.
        let labels: BTreeMap<_, _> =
            metric.labels.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        if let Err(clash) = own.check(family, reading).and_then(|()| names.check(family, reading)) {
            at.error(clash.to_string(), RENAME);
        } else if !seen.insert((family, labels)) {
            let message = format!("two columns of this query are metric {family} with the same `labels`");
            at.error(message, "give one of them another name or other `labels`");
        } else {
            own.take(family, reading, namespace);
        }
    }
    own
}

const RENAME: &str = "give it another name";

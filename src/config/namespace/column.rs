//! `metrics`: the columns of a query, their keys and their usages.

mod values;

use std::collections::HashSet;

use crate::config::report::{At, Key, did_you_mean, read_keys, repeats};
use crate::config::yaml::{Content, Node};
use crate::config::{Column, MetricColumn, Reading, Usage};
use crate::metric::{InvalidName, Kind, LabelName, MetricName};

/// A usage, as it is written.
struct Word {
    name: &'static str,
    /// The keys that not every usage reads.
    keys: &'static [&'static str],
    /// How the column of a metric is read. `None` for other columns.
    reading: Option<ReadingOf>,
}

type ReadingOf = fn(&Draft, &MetricName, &mut At<'_>) -> Option<Reading>;

const NUMBER_KEYS: &[&str] = &["default", "scale", "labels"];

const USAGES: [Word; 11] = [
    Word { name: LABEL, keys: &[], reading: None },
    Word { name: "GAUGE", keys: NUMBER_KEYS, reading: Some(|_, _, _| Some(Reading::Gauge)) },
    Word { name: "COUNTER", keys: NUMBER_KEYS, reading: Some(|_, _, _| Some(Reading::Counter)) },
    Word { name: HISTOGRAM, keys: &["buckets", "scale", "labels"], reading: Some(histogram) },
    Word { name: SUMMARY, keys: &["quantiles", "scale", "labels"], reading: Some(summary) },
    Word { name: "INFO", keys: &["labels"], reading: Some(info) },
    Word { name: "STATESET", keys: &["states", "labels"], reading: Some(state_set) },
    Word {
        name: "MAPPEDMETRIC",
        keys: &["metric_mapping", "default", "scale", "labels"],
        reading: Some(mapped),
    },
    Word { name: "DURATION", keys: NUMBER_KEYS, reading: Some(|_, _, _| Some(Reading::Duration)) },
    Word { name: TIMESTAMP, keys: &[], reading: None },
    Word { name: DISCARD, keys: &[], reading: None },
];
const LABEL: &str = "LABEL";
const HISTOGRAM: &str = "HISTOGRAM";
const SUMMARY: &str = "SUMMARY";
const TIMESTAMP: &str = "TIMESTAMP";
const DISCARD: &str = "DISCARD";

/// The keys of a column.
const KEYS: &[Key<Draft>] = &[
    Key { name: "usage", read: read_usage },
    Key {
        name: "description",
        read: |draft, node, at| draft.description = at.text(node).unwrap_or_default().to_owned(),
    },
    Key { name: "name", read: |draft, node, at| draft.name = at.text(node).map(str::to_owned) },
    Key { name: "metric_mapping", read: |draft, node, at| draft.mapping = values::mapping(node, at) },
    Key { name: "buckets", read: |draft, node, at| draft.buckets = values::buckets(node, at) },
    Key { name: "quantiles", read: |draft, node, at| draft.quantiles = values::quantiles(node, at) },
    Key { name: "states", read: |draft, node, at| draft.states = values::states(node, at) },
    Key { name: "default", read: |draft, node, at| draft.default = values::number(node, at) },
    Key { name: "scale", read: |draft, node, at| draft.scale = values::scale(node, at) },
    Key { name: "labels", read: |draft, node, at| draft.labels = super::read_labels(node, at) },
    // Read for postgres_exporter, which ignores it too.
    Key { name: "pg_version", read: |_, _, _| {} },
];

/// A column's keys. A value with a mistake is reported and left out.
#[derive(Default)]
pub(super) struct Draft {
    column: String,
    place: String,
    /// The keys that have a value, even one with a mistake.
    given: Vec<&'static str>,
    usage: Option<&'static Word>,
    is_usage_wrong: bool,
    description: String,
    name: Option<String>,
    mapping: Option<Vec<(String, f64)>>,
    buckets: Option<Vec<f64>>,
    quantiles: Option<Vec<f64>>,
    states: Option<Vec<String>>,
    default: Option<f64>,
    scale: Option<f64>,
    labels: Vec<(LabelName, String)>,
}

/// Reads the list of columns. If a column is listed several times, its last item counts.
pub(super) fn read_all(node: &Node, at: &mut At<'_>) -> Vec<Draft> {
    let mut columns = Vec::new();
    for (index, item) in at.list(node).unwrap_or_default().iter().enumerate() {
        let mut at = at.item(index);
        match &item.content {
            Content::Scalar(_) => {
                at.error("must be a map from the column to its usage", "write `- column: {usage: …}`")
            }
            Content::Map(entries) if report_misindented(entries, &mut at) => {}
            _ => {
                let entries = at.map(item).unwrap_or_default();
                columns.extend(entries.iter().map(|(column, node)| (index, column, node)));
            }
        }
    }
    let repeats = repeats(columns.iter().map(|(_, column, _)| column.as_str()));
    let mut drafts = Vec::new();
    for ((index, column, node), is_repeated) in columns.into_iter().zip(repeats) {
        let Some(is_repeated) = is_repeated else { continue };
        let mut at = at.item(index);
        let mut at = at.key(column);
        if is_repeated {
            at.warning("the column is listed more than once", "the last one counts");
        }
        drafts.extend(read(column, node, &mut at));
    }
    drafts
}

/// Whether keys of a column are next to the column's name instead of below it, or have no column. All of them
/// are one mistake.
fn report_misindented(entries: &[(String, Node)], at: &mut At<'_>) -> bool {
    let is_stray = |(name, node): &&(String, Node)| {
        !matches!(node.content, Content::Map(_)) && KEYS.iter().any(|key| key.name == name)
    };
    let Some((stray, _)) = entries.iter().find(is_stray) else { return false };
    let column = entries.first().filter(|entry| !is_stray(entry));
    match column {
        Some((column, _)) => {
            let message = format!("{stray} is next to the column {column}, not below it");
            at.key(stray).error(message, "indent it further");
        }
        None => {
            let name = entries.iter().find_map(|(key, node)| match &node.content {
                Content::Scalar(name) if key == "name" => Some(name.as_str()),
                _ => None,
            });
            let hint = format!("write `- {}: {{usage: …}}`", name.unwrap_or("column"));
            at.error("the item has keys of a column, but not the column's name above them", hint);
        }
    }
    true
}

fn read(column: &str, node: &Node, at: &mut At<'_>) -> Option<Draft> {
    let mut draft = Draft { column: column.to_owned(), place: at.place().to_owned(), ..Draft::default() };
    if let Content::Scalar(_) = node.content {
        at.error("must be a map, not text", "write {usage: …}, or `usage: …` indented on the next line");
        return None;
    }
    if column.len() > NAME_BYTES_MAX {
        at.warning(
            format!(
                "a column name of {} bytes: PostgreSQL truncates names to {NAME_BYTES_MAX}",
                column.len()
            ),
            "choose a shorter name here and in the query",
        );
    }
    draft.given = read_keys(at.map(node)?, KEYS, &mut draft, at);
    if draft.usage.is_none() && !draft.is_usage_wrong {
        at.error("the usage is missing", format!("add `usage`, one of {}", words()));
    }
    Some(draft)
}

/// PostgreSQL documentation, "Identifiers and Key Words".
const NAME_BYTES_MAX: usize = 63;

fn read_usage(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    let text = at.text(node);
    if text == Some("") {
        return;
    }
    let text = text.unwrap_or_default();
    draft.usage = USAGES.iter().find(|word| word.name.eq_ignore_ascii_case(text));
    draft.is_usage_wrong = draft.usage.is_none();
    if draft.is_usage_wrong && !text.is_empty() && !at.is_in_curly_quotes(text) {
        let hint = did_you_mean(text, USAGES.iter().map(|word| word.name));
        at.error(format!("usage {text:?} is not one of {}", words()), hint);
    }
}

fn words() -> String {
    USAGES.each_ref().map(|word| word.name).join(", ")
}

/// The columns with their names and places. Columns with a mistake are reported and left out.
pub(super) fn resolve(drafts: &[Draft], prefix: &str, at: &mut At<'_>) -> Vec<(String, Column)> {
    let parts: HashSet<String> = drafts.iter().flat_map(Draft::columns_beside).collect();
    let mut columns = Vec::new();
    let mut has_timestamp = false;
    for draft in drafts {
        let Some(word) = draft.usage else { continue };
        let mut at = at.elsewhere(&draft.place);
        draft.report_misplaced_keys(word, &mut at);
        let usage = match word.name {
            DISCARD => Some(Usage::Discard),
            LABEL => label(draft, &mut at).map(Usage::Label),
            TIMESTAMP if has_timestamp => {
                at.error("a second TIMESTAMP", "a sample has one time: make one of them DISCARD");
                None
            }
            TIMESTAMP => {
                has_timestamp = true;
                Some(Usage::Timestamp)
            }
            _ if parts.contains(&draft.column) => {
                at.warning("the column is a part of another column's metric", "remove it");
                // The same applies to columns that would belong to this one.
                let discarded = draft.columns_beside();
                columns.extend(
                    discarded.map(|name| (draft.place.clone(), Column { name, usage: Usage::Discard })),
                );
                Some(Usage::Discard)
            }
            _ => metric(draft, word, prefix, &mut at).map(Usage::Metric),
        };
        columns
            .extend(usage.map(|usage| (draft.place.clone(), Column { name: draft.column.clone(), usage })));
    }
    columns
}

impl Draft {
    fn has(&self, key: &str) -> bool {
        self.given.contains(&key)
    }

    /// Reports keys that the column's usage ignores. DISCARD switches a column off, so the column may keep
    /// the keys of its former usage.
    fn report_misplaced_keys(&self, word: &Word, at: &mut At<'_>) {
        let ignored = |key: &&str| self.has(key) && !word.keys.contains(key);
        if ignored(&"labels") {
            let hint = "remove it: only the column of a metric has labels";
            at.key("labels").ignored("the key means nothing to this usage", hint);
        }
        let keys = ["metric_mapping", "buckets", "quantiles", "states", "default", "scale"];
        for key in keys.into_iter().filter(|key| word.name != DISCARD && ignored(key)) {
            at.key(key).ignored("the key means nothing to this usage", "remove it");
        }
    }

    /// The other columns that a column with arrays needs.
    fn columns_beside(&self) -> impl Iterator<Item = String> + '_ {
        let suffixes = match self.usage.map(|word| word.name) {
            Some(HISTOGRAM) if !self.has("buckets") => Reading::HistogramArrays.suffixes_beside(),
            Some(SUMMARY) if !self.has("quantiles") => Reading::SummaryArrays.suffixes_beside(),
            _ => &[],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.column))
    }
}

fn label(draft: &Draft, at: &mut At<'_>) -> Option<LabelName> {
    let name = LabelName::new(draft.name.as_ref().unwrap_or(&draft.column));
    name.map_err(|invalid| misnamed(draft, "label", &invalid, at)).ok()
}

fn metric(draft: &Draft, word: &Word, prefix: &str, at: &mut At<'_>) -> Option<MetricColumn> {
    let name = draft.name.as_ref().unwrap_or(&draft.column);
    // Mistakes in the prefix are reported once, at the prefix.
    let own = if name.is_empty() { Err(InvalidName::Empty) } else { MetricName::new(&format!("_{name}")) };
    let own_part = own.map_err(|invalid| misnamed(draft, "metric", &invalid, at)).ok()?;
    let ending = match word.name {
        // As postgres_exporter names it.
        "DURATION" => "_milliseconds",
        "INFO" if !own_part.as_str().ends_with("_info") => "_info",
        _ => "",
    };
    let family = MetricName::new(&format!("{prefix}_{name}{ending}")).ok()?;
    let reading = word.reading?(draft, &family, at)?;
    if reading == Reading::Counter && family.without_total().is_none() {
        at.warning(
            "a counter's name should end in _total",
            "without it OpenMetrics shows the metric as unknown; a new name would be a new series",
        );
    }
    let (default, scale, labels) = (draft.default, draft.scale, draft.labels.clone());
    if scale.is_some_and(|scale| scale < 0.0) && matches!(reading.kind(), Kind::Histogram | Kind::Summary) {
        at.key("scale")
            .error("a factor below zero turns the order around", "only a single number can have it");
    }
    Some(MetricColumn { family, help: draft.description.clone(), reading, default, scale, labels })
}

fn histogram(draft: &Draft, _: &MetricName, _: &mut At<'_>) -> Option<Reading> {
    match draft.has("buckets") {
        false => Some(Reading::HistogramArrays),
        true => Some(Reading::HistogramObservations { buckets: draft.buckets.clone()? }),
    }
}

fn summary(draft: &Draft, _: &MetricName, _: &mut At<'_>) -> Option<Reading> {
    match draft.has("quantiles") {
        false => Some(Reading::SummaryArrays),
        true => Some(Reading::SummaryObservations { quantiles: draft.quantiles.clone()? }),
    }
}

fn info(draft: &Draft, _: &MetricName, at: &mut At<'_>) -> Option<Reading> {
    let hint = "give the column another name in the query, with AS";
    Some(Reading::Info { label: own_label(&draft.column, hint, at)? })
}

fn state_set(draft: &Draft, family: &MetricName, at: &mut At<'_>) -> Option<Reading> {
    if !draft.has("states") {
        at.error("the states are missing", "add `states`, a list of all of them");
    }
    let states = draft.states.clone()?;
    // A metric name may contain colons, a label name may not.
    let hint = "a state set's label is named like its metric, and no label has a colon";
    Some(Reading::StateSet { states, label: own_label(family.as_str(), hint, at)? })
}

fn mapped(draft: &Draft, _: &MetricName, at: &mut At<'_>) -> Option<Reading> {
    if !draft.has("metric_mapping") {
        at.warning("without `metric_mapping` only numbers are read", "add one, from each text to its number");
        return Some(Reading::Mapped(Vec::new()));
    }
    Some(Reading::Mapped(draft.mapping.clone()?))
}

/// The label that a metric of this type has in addition to those of the row.
fn own_label(name: &str, hint: &str, at: &mut At<'_>) -> Option<LabelName> {
    let label = LabelName::new(name);
    label.map_err(|invalid| at.error(format!("cannot be a label name: {invalid}"), hint)).ok()
}

fn misnamed(draft: &Draft, what: &str, invalid: &InvalidName, at: &mut At<'_>) {
    let message = format!("cannot be a {what} name: {invalid}");
    match draft.name {
        Some(_) => at.key("name").error(message, ""),
        None => at.error(message, "give the column a `name`"),
    }
}

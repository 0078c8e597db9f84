//! `metrics`: the columns of a query, their keys and their usages.

mod values;

use std::collections::HashSet;

use crate::config::node::Node;
use crate::config::report::{At, Key, Standing, did_you_mean, read_keys, standings};
use crate::config::{Column, MetricColumn, Reading, Usage};
use crate::metric::{InvalidName, Kind, LabelName, MetricName};
use values::Values;

/// The usages, as they are written.
const USAGES: &[(&str, Word)] = &[
    ("LABEL", Word::Label),
    ("GAUGE", Word::Gauge),
    ("COUNTER", Word::Counter),
    ("HISTOGRAM", Word::Histogram),
    ("SUMMARY", Word::Summary),
    ("INFO", Word::Info),
    ("STATESET", Word::StateSet),
    ("MAPPEDMETRIC", Word::Mapped),
    ("DURATION", Word::Duration),
    ("TIMESTAMP", Word::Timestamp),
    ("DISCARD", Word::Discard),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Label,
    Gauge,
    Counter,
    Histogram,
    Summary,
    Info,
    StateSet,
    Mapped,
    Duration,
    Timestamp,
    Discard,
}

/// The keys of a column.
const KEYS: &[Key<Draft>] = &[
    Key { name: "usage", read: read_usage },
    Key { name: "description", read: read_description },
    Key { name: "name", read: read_name },
    Key {
        name: "metric_mapping",
        read: |draft, node, at| draft.values.mapping = Some(values::mapping(node, at)),
    },
    Key { name: "buckets", read: |draft, node, at| draft.values.buckets = Some(values::buckets(node, at)) },
    Key {
        name: "quantiles",
        read: |draft, node, at| draft.values.quantiles = Some(values::quantiles(node, at)),
    },
    Key { name: "states", read: |draft, node, at| draft.values.states = Some(values::states(node, at)) },
    Key { name: "default", read: |draft, node, at| draft.values.default = values::number(node, at) },
    Key { name: "scale", read: |draft, node, at| draft.values.scale = values::scale(node, at) },
    Key { name: "labels", read: |draft, node, at| draft.values.labels = Some(super::read_labels(node, at)) },
    // Read for postgres_exporter, which ignores it too.
    Key { name: "pg_version", read: |_, _, _| {} },
];

/// A column's keys.
#[derive(Default)]
pub(super) struct Draft {
    column: String,
    place: String,
    usage: WrittenUsage,
    description: String,
    name: Option<String>,
    values: Values,
}

#[derive(Default, Clone, Copy)]
enum WrittenUsage {
    #[default]
    Missing,
    Wrong,
    Known(Word),
}

/// Reads the list of columns. If a column is listed several times, its last item counts.
pub(super) fn read_all(node: &Node, at: &mut At<'_>) -> Vec<Draft> {
    let mut columns = Vec::new();
    for (index, item) in at.list(node).unwrap_or_default().iter().enumerate() {
        let mut at = at.item(index);
        match item {
            Node::Scalar(_) => {
                at.error("must be a map from the column to its usage", "write `- column: {usage: …}`")
            }
            Node::Map(entries) if report_misindented(entries, &mut at) => {}
            _ => {
                let entries = at.map(item).unwrap_or_default();
                columns.extend(entries.iter().map(|(column, node)| (index, column, node)));
            }
        }
    }
    let standings = standings(columns.iter().map(|(_, column, _)| column.as_str()));
    let mut drafts = Vec::new();
    for ((index, column, node), standing) in columns.into_iter().zip(standings) {
        if standing == Standing::Replaced {
            continue;
        }
        let mut at = at.item(index);
        let mut at = at.key(column);
        if standing == Standing::Replacing {
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
        !matches!(node, Node::Map(_)) && KEYS.iter().any(|key| key.name == name)
    };
    let Some((stray, _)) = entries.iter().find(is_stray) else { return false };
    let column = entries.first().filter(|entry| !is_stray(entry));
    match column {
        Some((column, _)) => {
            let message = format!("{stray} is next to the column {column}, not below it");
            at.key(stray).error(message, "indent it further");
        }
        None => {
            let name = entries.iter().find_map(|(key, node)| match node {
                Node::Scalar(name) if key == "name" => Some(name.as_str()),
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
    if let Node::Scalar(_) = node {
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
    read_keys(at.map(node)?, KEYS, &mut draft, at);
    if let WrittenUsage::Missing = draft.usage {
        at.error("the usage is missing", format!("add `usage`, one of {}", words()));
    }
    Some(draft)
}

/// PostgreSQL documentation, "Identifiers and Key Words".
const NAME_BYTES_MAX: usize = 63;

fn read_usage(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    let text = match at.text(node) {
        Some("") => return,
        text => text.unwrap_or_default(),
    };
    let known = USAGES.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    draft.usage = known.map_or(WrittenUsage::Wrong, |&(_, word)| WrittenUsage::Known(word));
    if known.is_none() && !text.is_empty() && !at.is_in_curly_quotes(text) {
        let hint = did_you_mean(text, USAGES.iter().map(|(word, _)| *word));
        at.error(format!("usage {text:?} is not one of {}", words()), hint);
    }
}

fn read_description(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    draft.description = at.text(node).unwrap_or_default().to_owned();
}

fn read_name(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    draft.name = at.text(node).map(str::to_owned);
}

fn words() -> String {
    USAGES.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}

/// The columns with their names and places. Columns with a mistake are reported and left out.
pub(super) fn resolve(drafts: &[Draft], prefix: &str, at: &mut At<'_>) -> Vec<(String, Column)> {
    let parts: HashSet<String> = drafts.iter().flat_map(Draft::columns_beside).collect();
    let mut columns = Vec::new();
    let mut has_timestamp = false;
    for draft in drafts {
        let WrittenUsage::Known(word) = draft.usage else { continue };
        let mut at = at.elsewhere(&draft.place);
        draft.values.report_misplaced(word, &mut at);
        let usage = match word {
            Word::Discard => Some(Usage::Discard),
            Word::Label => label(draft, &mut at).map(Usage::Label),
            Word::Timestamp if has_timestamp => {
                at.error("a second TIMESTAMP", "a sample has one time: make one of them DISCARD");
                None
            }
            Word::Timestamp => {
                has_timestamp = true;
                Some(Usage::Timestamp)
            }
            _ if parts.contains(&draft.column) => {
                at.warning("the column is a part of another column's metric", "remove it");
                // The same applies to columns that would belong to this one.
                columns.extend(
                    draft
                        .columns_beside()
                        .map(|name| (draft.place.clone(), Column { name, usage: Usage::Discard })),
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
    /// The other columns that a column with arrays needs.
    fn columns_beside(&self) -> impl Iterator<Item = String> + '_ {
        let suffixes: &[&str] = match self.usage {
            WrittenUsage::Known(Word::Histogram) if self.values.buckets.is_none() => {
                Reading::HistogramArrays.suffixes_beside()
            }
            WrittenUsage::Known(Word::Summary) if self.values.quantiles.is_none() => {
                Reading::SummaryArrays.suffixes_beside()
            }
            _ => &[],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.column))
    }
}

fn label(draft: &Draft, at: &mut At<'_>) -> Option<LabelName> {
    let name = LabelName::new(draft.name.as_ref().unwrap_or(&draft.column));
    name.map_err(|invalid| misnamed(draft, "label", &invalid, at)).ok()
}

fn metric(draft: &Draft, word: Word, prefix: &str, at: &mut At<'_>) -> Option<MetricColumn> {
    let name = draft.name.as_ref().unwrap_or(&draft.column);
    // Mistakes in the prefix are reported once, at the prefix.
    let own = if name.is_empty() { Err(InvalidName::Empty) } else { MetricName::new(&format!("_{name}")) };
    let own_part = own.map_err(|invalid| misnamed(draft, "metric", &invalid, at)).ok()?;
    let ending = match word {
        // As postgres_exporter names it.
        Word::Duration => "_milliseconds",
        Word::Info if !own_part.as_str().ends_with("_info") => "_info",
        _ => "",
    };
    let family = MetricName::new(&format!("{prefix}_{name}{ending}")).ok()?;
    let reading = reading(draft, word, &family, at)?;
    if reading == Reading::Counter && family.without_total().is_none() {
        at.warning(
            "a counter's name should end in _total",
            "without it OpenMetrics shows the metric as unknown; a new name would be a new series",
        );
    }
    let Values { default, scale, .. } = draft.values;
    let labels = draft.values.labels.clone().unwrap_or_default();
    if scale.is_some_and(|scale| scale < 0.0) && matches!(reading.kind(), Kind::Histogram | Kind::Summary) {
        at.key("scale")
            .error("a factor below zero turns the order around", "only a single number can have it");
    }
    Some(MetricColumn { family, help: draft.description.clone(), reading, default, scale, labels })
}

fn reading(draft: &Draft, word: Word, family: &MetricName, at: &mut At<'_>) -> Option<Reading> {
    let values = &draft.values;
    Some(match word {
        Word::Gauge => Reading::Gauge,
        Word::Counter => Reading::Counter,
        Word::Duration => Reading::Duration,
        Word::Histogram => match &values.buckets {
            None => Reading::HistogramArrays,
            Some(buckets) => Reading::HistogramObservations { buckets: buckets.clone()? },
        },
        Word::Summary => match &values.quantiles {
            None => Reading::SummaryArrays,
            Some(quantiles) => Reading::SummaryObservations { quantiles: quantiles.clone()? },
        },
        Word::Info => {
            let label = LabelName::new(&draft.column);
            let hint = "give the column another name in the query, with AS";
            let misnamed = |invalid| at.error(format!("cannot be a label name: {invalid}"), hint);
            Reading::Info { label: label.map_err(misnamed).ok()? }
        }
        Word::StateSet => {
            let Some(states) = &values.states else {
                at.error("the states are missing", "add `states`, a list of all of them");
                return None;
            };
            // A metric name may contain colons, a label name may not.
            let label = LabelName::new(family.as_str());
            let hint = "a state set's label is named like its metric, and no label has a colon";
            let misnamed = |invalid| at.error(format!("cannot be a label name: {invalid}"), hint);
            let label = label.map_err(misnamed).ok()?;
            Reading::StateSet { states: states.clone()?, label }
        }
        Word::Mapped => {
            let Some(mapping) = &values.mapping else {
                at.warning(
                    "without `metric_mapping` only numbers are read",
                    "add one, from each text to its number",
                );
                return Some(Reading::Mapped(Vec::new()));
            };
            Reading::Mapped(mapping.clone()?)
        }
        Word::Label | Word::Timestamp | Word::Discard => return None,
    })
}

fn misnamed(draft: &Draft, what: &str, invalid: &InvalidName, at: &mut At<'_>) {
    let message = format!("cannot be a {what} name: {invalid}");
    match draft.name {
        Some(_) => at.key("name").error(message, ""),
        None => at.error(message, "give the column a `name`"),
    }
}

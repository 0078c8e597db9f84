//! `metrics`: the columns of a query, their keys and their usages.

use std::collections::HashSet;

use crate::config::node::Node;
use crate::config::report::{At, Key, Standing, did_you_mean, read_keys, standings};
use crate::config::{Column, MetricColumn, Reading, Usage};
use crate::metric::{InvalidName, LabelName, MetricName};

/// The usages, as they are written.
const USAGES: &[(&str, Word)] = &[
    ("LABEL", Word::Label),
    ("GAUGE", Word::Metric(Reading::Gauge)),
    ("COUNTER", Word::Metric(Reading::Counter)),
    ("HISTOGRAM", Word::Metric(Reading::HistogramArrays)),
    ("DISCARD", Word::Discard),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    Label,
    Metric(Reading),
    Discard,
}

/// The keys of a column.
const KEYS: &[Key<Draft>] = &[
    Key { name: "usage", read: read_usage },
    Key { name: "description", read: read_description },
    Key { name: "name", read: read_name },
    // postgres_exporter reads it and does nothing with it.
    Key { name: "pg_version", read: |_, _, _| {} },
];

/// A column as its keys have it.
#[derive(Default)]
pub(super) struct Draft {
    column: String,
    place: String,
    usage: WrittenUsage,
    description: String,
    name: Option<String>,
}

#[derive(Default, Clone, Copy)]
enum WrittenUsage {
    #[default]
    Missing,
    Wrong,
    Known(Word),
}

/// Reads the list of columns. One that is listed again is what its last item says.
pub(super) fn read_all(node: &Node, at: &mut At<'_>) -> Vec<Draft> {
    let mut columns = Vec::new();
    for (index, item) in at.list(node).unwrap_or_default().iter().enumerate() {
        let mut at = at.item(index);
        match item {
            Node::Scalar(_) => {
                at.error("must be a map from the column to its usage", "write `- column: {usage: …}`")
            }
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

fn read(column: &str, node: &Node, at: &mut At<'_>) -> Option<Draft> {
    let mut draft = Draft { column: column.to_owned(), place: at.place().to_owned(), ..Draft::default() };
    if let Node::Scalar(_) = node {
        let hint = if KEYS.iter().any(|key| key.name == column) {
            "indent it further, so that it belongs to the column above"
        } else {
            "write {usage: …}"
        };
        at.error("must be a map, not text", hint);
        return None;
    }
    read_keys(at.map(node)?, KEYS, &mut draft, at);
    if let WrittenUsage::Missing = draft.usage {
        at.error("the usage is missing", format!("add `usage`, one of {}", words()));
    }
    Some(draft)
}

fn read_usage(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    let text = match at.text(node) {
        Some("") => return,
        text => text.unwrap_or_default(),
    };
    let known = USAGES.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    draft.usage = known.map_or(WrittenUsage::Wrong, |&(_, word)| WrittenUsage::Known(word));
    if known.is_none() && !text.is_empty() {
        let hint = did_you_mean(text, USAGES.iter().map(|(word, _)| *word));
        at.error(format!("usage {text:?} is not one of {}", words()), hint);
    }
}

fn read_description(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    draft.description = at.text(node).unwrap_or_default().to_owned();
}

fn read_name(draft: &mut Draft, node: &Node, at: &mut At<'_>) {
    if *node != Node::Null {
        draft.name = at.text(node).map(str::to_owned);
    }
}

fn words() -> String {
    USAGES.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}

/// The columns with their names and places; without those that have a mistake, which is reported.
pub(super) fn resolve(drafts: &[Draft], prefix: &str, at: &mut At<'_>) -> Vec<(String, Column)> {
    let histograms: HashSet<&str> = drafts
        .iter()
        .filter(|draft| matches!(draft.usage, WrittenUsage::Known(Word::Metric(Reading::HistogramArrays))))
        .map(|draft| draft.column.as_str())
        .collect();
    let mut columns = Vec::new();
    for draft in drafts {
        let WrittenUsage::Known(word) = draft.usage else { continue };
        let mut at = at.elsewhere(&draft.place);
        let usage = match word {
            Word::Discard => Some(Usage::Discard),
            Word::Label => label(draft, &mut at).map(Usage::Label),
            Word::Metric(_) if is_part_of_histogram(&draft.column, &histograms) => {
                at.warning("the column belongs to a histogram and is no metric of its own", "remove it");
                Some(Usage::Discard)
            }
            Word::Metric(reading) => metric(draft, prefix, reading, &mut at).map(Usage::Metric),
        };
        columns
            .extend(usage.map(|usage| (draft.place.clone(), Column { name: draft.column.clone(), usage })));
    }
    columns
}

fn is_part_of_histogram(column: &str, histograms: &HashSet<&str>) -> bool {
    ["_bucket", "_sum", "_count"]
        .iter()
        .any(|suffix| column.strip_suffix(suffix).is_some_and(|base| histograms.contains(base)))
}

fn label(draft: &Draft, at: &mut At<'_>) -> Option<LabelName> {
    let name = LabelName::new(draft.name.as_ref().unwrap_or(&draft.column));
    name.map_err(|invalid| misnamed(draft, "label", &invalid, at)).ok()
}

fn metric(draft: &Draft, prefix: &str, reading: Reading, at: &mut At<'_>) -> Option<MetricColumn> {
    let name = draft.name.as_ref().unwrap_or(&draft.column);
    // What is wrong with the prefix is reported once, at its place.
    let own = if name.is_empty() { Err(InvalidName::Empty) } else { MetricName::new(&format!("_{name}")) };
    own.map_err(|invalid| misnamed(draft, "metric", &invalid, at)).ok()?;
    let family = MetricName::new(&format!("{prefix}_{name}")).ok()?;
    Some(MetricColumn { family, help: draft.description.clone(), reading })
}

fn misnamed(draft: &Draft, what: &str, invalid: &InvalidName, at: &mut At<'_>) {
    let message = format!("cannot be a {what} name: {invalid}");
    match draft.name {
        Some(_) => at.key("name").error(message, ""),
        None => at.error(message, "give the column a `name`"),
    }
}

//! The note of the log and of `check --database` on a column from which samples were dropped. It never has a value.

use super::dropped::Dropped;

/// For text that a usage cannot read.
pub(super) const UNREADABLE: &str = "its usage does not read such text";

/// For text in a column that `metrics` does not list.
pub(super) const UNLISTED: &str = "`metrics` does not list it, and it is not a number: list it as LABEL or DISCARD, \
                                   or as GAUGE if it is a time";

/// The note, if anything other than NULL was dropped. NULL is common.
pub(super) fn note(column: &str, dropped: Dropped, unreadable: &str, demand: &str) -> Option<String> {
    let Dropped { null: _, unparsable, duplicate, label, invalid } = dropped;
    let complaints: Vec<String> = [
        ("unparsable", unparsable, unreadable),
        (
            "duplicate",
            duplicate,
            "the first of the same name and labels is kept: list as LABEL what distinguishes the rows",
        ),
        (
            "label",
            label,
            "a label appears twice, is one that the metric sets itself, or is longer than MAX_LABEL_LENGTH",
        ),
        ("invalid", invalid, demand),
    ]
    .into_iter()
    .filter(|(_, count, _)| *count > 0)
    .map(|(reason, count, why)| format!("{count} dropped as {reason} ({why})"))
    .collect();
    (!complaints.is_empty()).then(|| format!("column {column:?}: {}", complaints.join(", ")))
}

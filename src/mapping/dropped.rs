//! Counts dropped samples by reason, and says so in the log and in `check --database`, never with a value.

use std::iter::Sum;
use std::ops::AddAssign;

/// The numbers of dropped metrics by reason. A metric counts once, however many samples it has. An element or
/// a part of a histogram that is dropped alone counts once too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// NULL.
    pub null: u64,
    /// Text that its column's usage cannot read.
    pub unparsable: u64,
    /// A second metric with the same name and labels.
    pub duplicate: u64,
    /// A row or column without valid labels.
    pub label: u64,
    /// A value, a name or a clash of names that the formats do not allow.
    pub invalid: u64,
}

/// Why a metric was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    Null,
    Unparsable,
    Duplicate,
    Label,
    Invalid,
}

impl Dropped {
    /// The counts by the values of the label `reason`, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { null, unparsable, duplicate, label, invalid } = *self;
        [
            ("null", null),
            ("unparsable", unparsable),
            ("duplicate", duplicate),
            ("label", label),
            ("invalid", invalid),
        ]
        .into_iter()
    }

    pub(super) fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::Null => &mut self.null,
            Reason::Unparsable => &mut self.unparsable,
            Reason::Duplicate => &mut self.duplicate,
            Reason::Label => &mut self.label,
            Reason::Invalid => &mut self.invalid,
        } += 1;
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.null += other.null;
        self.unparsable += other.unparsable;
        self.duplicate += other.duplicate;
        self.label += other.label;
        self.invalid += other.invalid;
    }
}

impl Sum for Dropped {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        let mut sum = Self::default();
        parts.for_each(|part| sum += part);
        sum
    }
}

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

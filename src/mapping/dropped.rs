//! Counts dropped samples by reason, and says so in the log and in `check --database`, never with a value.

use std::iter::Sum;
use std::ops::AddAssign;

/// The numbers of dropped metrics by reason. A metric counts once, however many samples it has. An element or
/// a part of a histogram that is dropped alone counts once too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped([u64; REASONS.len()]);

/// Why a metric was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Null,
    /// Text that its column's usage cannot read.
    Unparsable,
    /// A second metric with the same name and labels.
    Duplicate,
    /// A row or column without valid labels.
    Label,
    /// A value, a name or a clash of names that the formats do not allow.
    Invalid,
}

/// The values of the label `reason`, in the order of [`Reason`].
const REASONS: [&str; 5] = ["null", "unparsable", "duplicate", "label", "invalid"];

impl Dropped {
    /// The counts by reason, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.0)
    }

    pub(crate) fn count(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, reason: Reason) {
        self.0.iter_mut().skip(reason as usize).take(1).for_each(|count| *count += 1);
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
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
    let why = [
        "",
        unreadable,
        "the first of the same name and labels is kept: list as LABEL what distinguishes the rows",
        "a label appears twice, is one that the metric sets itself, or is longer than MAX_LABEL_LENGTH",
        demand,
    ];
    let complaints = dropped.iter().zip(why).skip(1).filter(|((_, count), _)| *count > 0);
    let complaints: Vec<_> =
        complaints.map(|((reason, count), why)| format!("{count} dropped as {reason} ({why})")).collect();
    (!complaints.is_empty()).then(|| format!("column {column:?}: {}", complaints.join(", ")))
}

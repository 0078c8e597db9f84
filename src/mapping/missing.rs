//! Columns that a declaration needs and the result lacks, and the likely reason.

use std::fmt;

use crate::config::{MetricColumn, Reading};

/// A column that `metrics` lists, or columns that belong to it, which the result lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As `metrics` lists it.
    pub(crate) column: String,
    cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Unknown,
    /// The result has the name in another letter case.
    Case(String),
    /// The result has only the beginning of the name.
    Truncated(String),
    /// The column exists, but its usage needs further columns.
    Parts {
        usage: &'static str,
        columns: Vec<String>,
        alternative: &'static str,
    },
}

/// The longest name in bytes (PostgreSQL documentation, "Identifiers and Key Words").
const NAME_BYTES_MAX: usize = 63;

impl Missing {
    /// A listed column that is not among the `result`'s.
    pub(super) fn column(column: &str, result: &[String]) -> Self {
        let in_another_case = result.iter().find(|name| name.to_lowercase() == column.to_lowercase());
        let truncated = result.iter().filter(|_| column.len() > NAME_BYTES_MAX).find(|name| {
            // A character of several bytes is removed as a whole.
            (NAME_BYTES_MAX - 3..=NAME_BYTES_MAX).contains(&name.len())
                && column.to_lowercase().starts_with(&name.to_lowercase())
        });
        let cause = match (in_another_case, truncated) {
            (Some(name), _) => Cause::Case(name.clone()),
            (None, Some(name)) => Cause::Truncated(name.clone()),
            (None, None) => Cause::Unknown,
        };
        Self { column: column.to_owned(), cause }
    }

    /// The columns that the metric reads besides its own and that the result lacks, if any.
    pub(super) fn parts(
        column: &str,
        metric: &MetricColumn,
        is_there: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let columns: Vec<_> =
            super::columns::columns_beside(&metric.reading, column).filter(|name| !is_there(name)).collect();
        if columns.is_empty() {
            return None;
        }
        let (usage, alternative) = match metric.reading {
            Reading::SummaryArrays => ("SUMMARY", "quantiles"),
            _ => ("HISTOGRAM", "buckets"),
        };
        Some(Self { column: column.to_owned(), cause: Cause::Parts { usage, columns, alternative } })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, cause } = self;
        if !matches!(cause, Cause::Parts { .. }) {
            write!(f, "the result has no column {column:?}")?;
        }
        match cause {
            Cause::Unknown => f.write_str("; correct its name in `metrics`, or add it to the query"),
            Cause::Case(name) if *name == name.to_lowercase() => write!(
                f,
                ", but {name:?}: PostgreSQL folds names without quotes to lower case; \
                 list it as `{name}`, or write AS {column:?} in the query"
            ),
            Cause::Case(name) => {
                write!(
                    f,
                    ", but {name:?}: the case of a quoted name counts; list it as `{name}`, or write AS "
                )?;
                // Without quotes it would become lower case.
                match *column == column.to_lowercase() {
                    true => write!(f, "{column} in the query"),
                    false => write!(f, "{column:?} in the query"),
                }
            }
            Cause::Truncated(name) => write!(
                f,
                ", but {name:?}: PostgreSQL truncates names to {NAME_BYTES_MAX} bytes; \
                 choose a shorter name in `metrics` and in the query"
            ),
            Cause::Parts { usage, columns, alternative } => {
                let columns: Vec<_> = columns.iter().map(|column| format!("{column:?}")).collect();
                write!(
                    f,
                    "column {column:?}: {usage} also needs {}, which the result lacks; \
                     add them to the query, or add `{alternative}` to count each row as one observation",
                    columns.join(", ")
                )
            }
        }
    }
}

//! Turns a row's cells into the value of a metric, for each usage with one metric for each row.

use super::arrays::{HistogramColumns, SummaryColumns};
use super::dropped::{Dropped, Reason};
use super::{duration, number};
use crate::config::{self, MetricColumn, Reading};
use crate::metric::{StateSet, Value};
use crate::table::Cells;

/// The text of a column in a row; `None` is NULL.
pub(super) fn cell<'a>(cells: &Cells<'a>, column: usize) -> Option<&'a str> {
    cells.get(column).copied().flatten()
}

/// How to turn a row into a metric's value.
pub(super) enum ValueColumns<'q> {
    Gauge(NumberColumn<'q>),
    Counter(NumberColumn<'q>),
    Histogram(HistogramColumns),
    Summary(SummaryColumns),
    StateSet { column: usize, set: StateSet },
}

impl ValueColumns<'_> {
    /// The value of a row. Counts parts that are dropped alone.
    pub(super) fn read(&self, cells: &Cells<'_>, dropped: &mut Dropped) -> Result<Value, Reason> {
        Ok(match self {
            Self::Gauge(number) => Value::Number(number.read(cells)?),
            Self::Counter(number) => {
                let number = number.read(cells)?;
                if number.is_nan() || number < 0.0 {
                    return Err(Reason::Invalid);
                }
                Value::Number(number)
            }
            Self::Histogram(columns) => Value::Histogram(columns.read(cells, dropped)?),
            Self::Summary(columns) => Value::Summary(columns.read(cells, dropped)?),
            Self::StateSet { column, set } => {
                let text = cell(cells, *column).ok_or(Reason::Null)?;
                let current = config::matching_key(set.states.iter().map(String::as_str), text);
                if current.is_none() {
                    dropped.add(Reason::Unparsable);
                }
                Value::StateSet(StateSet { current, ..set.clone() })
            }
        })
    }

    /// Whether `metrics` lists the column.
    pub(super) fn is_listed(&self) -> bool {
        !matches!(self, Self::Gauge(NumberColumn { text: Text::Plain, .. }))
    }

    /// The condition for a valid value, for the log.
    pub(super) fn demand(&self) -> &'static str {
        match self {
            Self::Gauge(_) | Self::StateSet { .. } => "any value is valid",
            Self::Counter(_) => "a counter is neither negative nor NaN",
            Self::Histogram(_) => {
                "a histogram has finite bounds, as many counts, and these are whole and do not fall"
            }
            Self::Summary(_) => {
                "a summary has quantiles from 0 to 1, as many values, and its count is whole and not negative"
            }
        }
    }
}

/// A column with one number in each row.
pub(super) struct NumberColumn<'q> {
    column: usize,
    text: Text<'q>,
    /// Replaces NULL; it is not scaled.
    default: Option<f64>,
    scale: f64,
}

/// The texts that are numbers.
enum Text<'q> {
    /// All shapes of the format's values.
    Any,
    /// Plain numbers and booleans.
    Plain,
    /// The keys, and numbers.
    Mapped(&'q [(String, f64)]),
    /// Durations, as milliseconds.
    Duration,
}

impl<'q> NumberColumn<'q> {
    pub(super) fn declared(column: usize, declared: &'q MetricColumn) -> Self {
        let (text, default) = match &declared.reading {
            Reading::Mapped(mapping) => (Text::Mapped(mapping), declared.default),
            Reading::Duration => (Text::Duration, declared.default),
            // NULL is not an observation.
            Reading::HistogramObservations { .. } | Reading::SummaryObservations { .. } => (Text::Any, None),
            Reading::Gauge
            | Reading::Counter
            | Reading::HistogramArrays
            | Reading::SummaryArrays
            | Reading::Info { .. }
            | Reading::StateSet { .. } => (Text::Any, declared.default),
        };
        Self { column, text, default, scale: declared.scale.unwrap_or(1.0) }
    }

    pub(super) fn undeclared(column: usize) -> Self {
        Self { column, text: Text::Plain, default: None, scale: 1.0 }
    }

    /// # Errors
    /// [`Reason::Null`] without a default, [`Reason::Unparsable`].
    pub(super) fn read(&self, cells: &Cells<'_>) -> Result<f64, Reason> {
        let Some(text) = cell(cells, self.column) else { return self.default.ok_or(Reason::Null) };
        let number = match self.text {
            Text::Any => number::any(text),
            Text::Plain => number::plain(text),
            Text::Mapped(mapping) => {
                let matching = config::matching_key(mapping.iter().map(|(key, _)| key.as_str()), text);
                let mapped = matching.and_then(|index| mapping.get(index)).map(|(_, number)| *number);
                // Numbers are not mapped: postgres_exporter reads them as they are.
                mapped.or_else(|| number::decimal(text.trim_ascii()))
            }
            Text::Duration => duration::milliseconds(text),
        };
        number.map(|number| number * self.scale).ok_or(Reason::Unparsable)
    }
}

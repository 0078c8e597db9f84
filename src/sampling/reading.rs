//! Turns a row's cells into the value of a metric, for each usage with one metric for each row.

use super::dropped::{Dropped, Reason};
use super::{array, duration, histogram, number, summary};
use crate::config::{self, MetricColumn};
use crate::metric::{Labels, StateSet, Value};

/// One cell for each column of the result.
pub(super) type Cells<'a> = [Option<&'a str>];

/// The text of a column in a row; `None` is NULL.
pub(super) fn cell<'a>(cells: &Cells<'a>, column: usize) -> Option<&'a str> {
    cells.get(column).copied().flatten()
}

/// A row, and the parts that all its metrics share.
pub(super) struct Row<'a> {
    pub cells: &'a Cells<'a>,
    pub labels: Labels,
    /// The number of the label set.
    pub label_set: usize,
    pub timestamp_seconds: Option<f64>,
}

/// How to turn a row into a metric's value. The numbers are columns of the result.
pub(super) enum Reading<'a> {
    Gauge(NumberCell<'a>),
    Counter(NumberCell<'a>),
    Histogram(histogram::Columns),
    Summary(summary::Columns),
    StateSet { column: usize, set: StateSet },
}

impl Reading<'_> {
    /// The value of a row, and the numbers of its dropped parts.
    pub(super) fn of(&self, cells: &Cells<'_>) -> Result<(Value, Dropped), Reason> {
        let mut dropped = Dropped::default();
        let value = match self {
            Self::Gauge(number) => Value::Number(number.read(cells)?),
            Self::Counter(number) => {
                let number = number.read(cells)?;
                if number.is_nan() || number < 0.0 {
                    return Err(Reason::Invalid);
                }
                Value::Number(number)
            }
            Self::Histogram(columns) => Value::Histogram(Box::new(columns.read(cells, &mut dropped)?)),
            Self::Summary(columns) => Value::Summary(Box::new(columns.read(cells, &mut dropped)?)),
            Self::StateSet { column, set } => {
                let text = cell(cells, *column).ok_or(Reason::Null)?;
                let current = config::matching_key(set.states.iter().map(String::as_str), text);
                if current.is_none() {
                    dropped.add(Reason::Unparsable);
                }
                Value::StateSet(Box::new(StateSet { current, ..set.clone() }))
            }
        };
        Ok((value, dropped))
    }

    /// Whether `metrics` lists the column.
    pub(super) fn is_listed(&self) -> bool {
        !matches!(self, Self::Gauge(NumberCell { text: Text::Plain, .. }))
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

/// A cell with one number.
pub(super) struct NumberCell<'a> {
    column: usize,
    text: Text<'a>,
    /// Replaces NULL; it is not scaled.
    default: Option<f64>,
    scale: f64,
}

/// The texts that are numbers.
enum Text<'a> {
    /// All shapes of the format's values.
    Any,
    /// Plain numbers and booleans.
    Plain,
    /// The keys, and numbers.
    Mapped(&'a [(String, f64)]),
    /// Durations, as milliseconds.
    Duration,
}

impl<'a> NumberCell<'a> {
    /// The cell of a declared column.
    pub(super) fn declared(column: usize, declared: &'a MetricColumn) -> Self {
        let text = match &declared.reading {
            config::Reading::Mapped(mapping) => Text::Mapped(mapping),
            config::Reading::Duration => Text::Duration,
            _ => Text::Any,
        };
        // NULL is not an observation.
        let is_observation = matches!(
            declared.reading,
            config::Reading::HistogramObservations { .. } | config::Reading::SummaryObservations { .. }
        );
        let default = declared.default.filter(|_| !is_observation);
        Self { column, text, default, scale: declared.scale.unwrap_or(1.0) }
    }

    /// The cell of an undeclared column.
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

/// Any number, or [`Reason::Unparsable`].
pub(super) fn read_number(text: &str) -> Result<f64, Reason> {
    number::any(text).ok_or(Reason::Unparsable)
}

/// An array of such numbers. `None` is NULL.
pub(super) fn read_array(text: &str) -> Result<Vec<Option<f64>>, Reason> {
    let elements = array::elements(text).ok_or(Reason::Unparsable)?;
    elements.into_iter().map(|element| element.map(|text| read_number(&text)).transpose()).collect()
}

/// Sorts the parts of a metric by their key. The first of equal keys stays; the others are duplicates.
pub(super) fn sort_unique<T>(parts: &mut Vec<T>, key: impl Fn(&T) -> f64, dropped: &mut Dropped) {
    parts.sort_by(|a, b| key(a).total_cmp(&key(b)));
    parts.dedup_by(|later, first| {
        let is_duplicate = key(later) == key(first);
        if is_duplicate {
            dropped.add(Reason::Duplicate);
        }
        is_duplicate
    });
}

/// An optional part of a metric. NULL is counted and left out.
pub(super) fn read_part(
    cells: &Cells<'_>,
    column: Option<usize>,
    dropped: &mut Dropped,
) -> Result<Option<f64>, Reason> {
    let Some(column) = column else { return Ok(None) };
    let text = cell(cells, column);
    if text.is_none() {
        dropped.add(Reason::Null);
    }
    text.map(read_number).transpose()
}

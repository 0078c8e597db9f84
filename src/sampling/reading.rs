//! How a row's cells become the value of a metric: one reading for each usage that gives metrics.

use super::dropped::{Dropped, Reason};
use super::{histogram, number};
use crate::config;
use crate::metric::Value;

/// One cell for each column of the result.
pub(super) type Row<'a> = [Option<&'a str>];

/// The text of a column in a row; `None` is NULL.
pub(super) fn cell<'a>(row: &Row<'a>, column: usize) -> Option<&'a str> {
    row.get(column).copied().flatten()
}

/// How a row becomes a metric's value. The numbers are columns of the result.
pub(super) enum Reading {
    Gauge(usize),
    Counter(usize),
    Untyped(usize),
    Histogram(histogram::Columns),
}

/// The columns that a declared column needs beside it.
pub(super) fn columns_beside(declared: &config::Reading, column: &str) -> Vec<String> {
    match declared {
        config::Reading::Gauge | config::Reading::Counter => Vec::new(),
        config::Reading::HistogramArrays => histogram::Columns::names_beside(column).into(),
        _ => Vec::new(),
    }
}

impl Reading {
    /// Of a declared column; `position` finds others. `None` if one is missing that the reading cannot do without.
    pub(super) fn declared(
        declared: &config::Reading,
        name: &str,
        column: usize,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        match declared {
            config::Reading::Gauge => Some(Self::Gauge(column)),
            config::Reading::Counter => Some(Self::Counter(column)),
            config::Reading::HistogramArrays => {
                histogram::Columns::of(column, name, position).map(Self::Histogram)
            }
            _ => None,
        }
    }

    /// The value of a row, and what was dropped of it without harm to the rest.
    pub(super) fn of(&self, row: &Row<'_>) -> Result<(Value, Dropped), Reason> {
        let number = |column, read: fn(&str) -> Option<f64>| {
            read(cell(row, column).ok_or(Reason::Null)?).ok_or(Reason::Unparsable)
        };
        let number = match self {
            Self::Gauge(column) => number(*column, number::any)?,
            Self::Untyped(column) => number(*column, number::plain)?,
            Self::Counter(column) => {
                let number = number(*column, number::any)?;
                if number.is_nan() || number < 0.0 {
                    return Err(Reason::Invalid);
                }
                number
            }
            Self::Histogram(columns) => {
                let (histogram, dropped) = columns.read(row)?;
                return Ok((Value::Histogram(Box::new(histogram)), dropped));
            }
        };
        Ok((Value::Number(number), Dropped::default()))
    }

    /// What a value that was read must hold to be valid, for the log.
    pub(super) fn demand(&self) -> &'static str {
        match self {
            Self::Gauge(_) | Self::Untyped(_) => "any number is valid",
            Self::Counter(_) => "a counter is neither negative nor NaN",
            Self::Histogram(_) => {
                "a histogram has finite bounds, as many counts, and these are whole and do not fall"
            }
        }
    }
}

//! A summary in one row: an array of quantiles, one of their values, the sum and the count.

use super::dropped::{Dropped, Reason};
use super::reading::{Cells, cell, read_array, read_part, sort_unique};
use crate::config::SUMMARY_SUFFIXES;
use crate::metric::{Quantile, Summary};

/// The columns of the result that hold a summary.
pub(super) struct Columns {
    quantiles: usize,
    values: usize,
    sum: Option<usize>,
    count: Option<usize>,
    scale: f64,
}

impl Columns {
    /// `position` finds a column of the result. `None` without the values; sum and count may be unknown.
    pub(super) fn of(
        quantiles: usize,
        name: &str,
        scale: Option<f64>,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        let [values, sum, count] = SUMMARY_SUFFIXES.map(|suffix| position(&format!("{name}{suffix}")));
        Some(Self { quantiles, values: values?, sum, count, scale: scale.unwrap_or(1.0) })
    }

    /// The summary of a row.
    ///
    /// A NULL element drops its quantile, a NULL array all of them, as an aggregate over no rows gives it; a NULL
    /// sum or count only itself. Quantiles are put into their order; of two that are equal, the first stays.
    ///
    /// # Errors
    /// [`Reason::Null`] if every part is NULL; [`Reason::Unparsable`] if one is no number or no array of numbers;
    /// [`Reason::Invalid`] if the arrays differ in length, a quantile is not from 0 to 1, or the count is not whole
    /// or negative.
    pub(super) fn read(&self, cells: &Cells<'_>, dropped: &mut Dropped) -> Result<Summary, Reason> {
        let quantiles = match (cell(cells, self.quantiles), cell(cells, self.values)) {
            (Some(quantiles), Some(values)) => {
                Some(self.quantiles(&read_array(quantiles)?, &read_array(values)?, dropped)?)
            }
            _ => {
                dropped.add(Reason::Null);
                None
            }
        };
        let sum = read_part(cells, self.sum, dropped)?.map(|sum| sum * self.scale);
        let count = read_part(cells, self.count, dropped)?;
        if quantiles.is_none() && sum.is_none() && count.is_none() {
            return Err(Reason::Null);
        }
        if count.is_some_and(|count| !(count >= 0.0 && count.fract() == 0.0)) {
            return Err(Reason::Invalid);
        }
        Ok(Summary { quantiles: quantiles.unwrap_or_default(), sum, count })
    }

    fn quantiles(
        &self,
        quantiles: &[Option<f64>],
        values: &[Option<f64>],
        dropped: &mut Dropped,
    ) -> Result<Vec<Quantile>, Reason> {
        if quantiles.len() != values.len() {
            return Err(Reason::Invalid);
        }
        let mut pairs = Vec::with_capacity(quantiles.len());
        for pair in quantiles.iter().zip(values) {
            match pair {
                (Some(quantile), _) if !(0.0..=1.0).contains(quantile) => return Err(Reason::Invalid),
                // Adding 0 makes -0 the 0 that it is equal to.
                (Some(quantile), Some(value)) => {
                    pairs.push(Quantile { quantile: quantile + 0.0, value: value * self.scale });
                }
                _ => dropped.add(Reason::Null),
            }
        }
        sort_unique(&mut pairs, |pair| pair.quantile, dropped);
        Ok(pairs)
    }
}

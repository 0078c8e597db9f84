//! A summary in one row: an array of quantiles, an array of their values, the sum and the count.

use super::dropped::{Dropped, Reason};
use super::reading::{Cells, cell, read_array, read_part, sort_unique};
use crate::config::SUMMARY_SUFFIXES;
use crate::metric::{Quantile, Summary};

/// The columns of a summary.
pub(super) struct Columns {
    quantiles: usize,
    values: usize,
    sum: Option<usize>,
    count: Option<usize>,
    scale: f64,
}

impl Columns {
    /// Finds the columns with `position`. `None` without the values; sum and count are optional.
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
    /// A NULL element drops its quantile. A NULL array drops all quantiles, since an aggregate without rows
    /// returns NULL. A NULL sum or count only drops itself. Quantiles are sorted; the first of two equal ones
    /// stays.
    ///
    /// # Errors
    /// [`Reason::Null`] if every part is NULL; [`Reason::Unparsable`] if a part is not a number or an array
    /// of numbers; [`Reason::Invalid`] if the arrays differ in length, a quantile is not from 0 to 1, or the
    /// count is not whole or is negative.
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
                // Adding 0 turns -0 into 0.
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

//! A histogram in one row: an array of bounds, an array of cumulative counts, the sum and the count.

use super::dropped::{Dropped, Reason};
use super::reading::{Cells, cell, read_array, read_number, read_part, sort_unique};
use crate::config::HISTOGRAM_SUFFIXES;
use crate::metric::{Bucket, Histogram};

/// The columns of a histogram.
pub(super) struct Columns {
    bounds: usize,
    cumulative_counts: usize,
    /// If it is missing, the histogram has no sum.
    sum: Option<usize>,
    count: usize,
    /// The factor of bounds and sum.
    scale: f64,
}

impl Columns {
    /// Finds the columns with `position`. `None` if a column that a histogram requires is missing.
    pub(super) fn of(
        bounds: usize,
        name: &str,
        scale: Option<f64>,
        position: impl Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        let [cumulative_counts, sum, count] =
            HISTOGRAM_SUFFIXES.map(|suffix| position(&format!("{name}{suffix}")));
        Some(Self {
            bounds,
            cumulative_counts: cumulative_counts?,
            sum,
            count: count?,
            scale: scale.unwrap_or(1.0),
        })
    }

    /// The histogram of a row.
    ///
    /// A NULL element drops its bucket, a NULL array drops all buckets except `+Inf`, and a NULL sum only
    /// drops the sum. Buckets are sorted by bound; the first of two equal bounds stays. `+Inf` is the count.
    ///
    /// # Errors
    /// [`Reason::Null`] without a count; [`Reason::Unparsable`] if a part is not a number or an array of
    /// numbers; [`Reason::Invalid`] if the arrays differ in length, counts are not whole or fall, or a bound
    /// is NaN.
    pub(super) fn read(&self, cells: &Cells<'_>, dropped: &mut Dropped) -> Result<Histogram, Reason> {
        let count = read_number(cell(cells, self.count).ok_or(Reason::Null)?)?;
        let sum = read_part(cells, self.sum, dropped)?.map(|sum| sum * self.scale);
        let buckets = match (cell(cells, self.bounds), cell(cells, self.cumulative_counts)) {
            (Some(bounds), Some(counts)) => {
                self.buckets(&read_array(bounds)?, &read_array(counts)?, dropped)?
            }
            _ => {
                dropped.add(Reason::Null);
                Vec::new()
            }
        };
        let counts = || buckets.iter().map(|bucket| bucket.cumulative_count).chain([count]);
        let are_whole = counts().all(|count| count >= 0.0 && count.fract() == 0.0);
        let do_not_fall = counts().is_sorted();
        if !are_whole || !do_not_fall {
            return Err(Reason::Invalid);
        }
        Ok(Histogram { buckets, sum, count })
    }

    fn buckets(
        &self,
        bounds: &[Option<f64>],
        counts: &[Option<f64>],
        dropped: &mut Dropped,
    ) -> Result<Vec<Bucket>, Reason> {
        if bounds.len() != counts.len() {
            return Err(Reason::Invalid);
        }
        let mut buckets = Vec::with_capacity(bounds.len());
        for (bound, count) in bounds.iter().zip(counts) {
            match (bound.map(|bound| bound * self.scale), count) {
                (Some(f64::INFINITY), _) => {}
                // Adding 0 turns -0 into 0.
                (Some(bound), Some(count)) if bound.is_finite() => {
                    buckets.push(Bucket { upper_bound: bound + 0.0, cumulative_count: *count });
                }
                (Some(bound), _) if !bound.is_finite() => return Err(Reason::Invalid),
                _ => dropped.add(Reason::Null),
            }
        }
        sort_unique(&mut buckets, |bucket| bucket.upper_bound, dropped);
        Ok(buckets)
    }
}

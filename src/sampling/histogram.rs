//! A histogram in one row: an array of bounds, one of cumulative counts, the sum and the count.

use super::dropped::{Dropped, Reason};
use super::reading::{Cells, cell, read_array, read_number, read_part, sort_unique};
use crate::config::HISTOGRAM_SUFFIXES;
use crate::metric::{Bucket, Histogram};

/// The columns of the result that hold a histogram.
pub(super) struct Columns {
    bounds: usize,
    cumulative_counts: usize,
    /// Without it the histogram has no sum.
    sum: Option<usize>,
    count: usize,
    /// Of bounds and sum.
    scale: f64,
}

impl Columns {
    /// `position` finds a column of the result. `None` if there is no reading the histogram without one it lacks.
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
    /// A NULL element drops its bucket, a NULL array all buckets but `+Inf`, a NULL sum only the sum. Buckets are
    /// put into the order of their bounds; of two with one bound, the first stays. `+Inf` is the count.
    ///
    /// # Errors
    /// [`Reason::Null`] without a count; [`Reason::Unparsable`] if any part is no number or no array of numbers;
    /// [`Reason::Invalid`] if the arrays differ in length, counts are not whole or fall, or bounds are no numbers.
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
                // Adding 0 makes -0 the 0 that it is equal to.
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

//! A histogram in one row: an array of bounds, one of cumulative counts, the sum and the count.

use super::columns::{Row, cell};
use super::dropped::{Dropped, Reason};
use super::{array, number};
use crate::metric::{Bucket, Histogram};

/// The columns of the result that hold a histogram.
pub(super) struct Columns {
    bounds: usize,
    cumulative_counts: usize,
    /// Without it the histogram has no sum.
    sum: Option<usize>,
    count: usize,
}

impl Columns {
    /// The names of the columns beside the one of the bounds.
    pub(super) fn names_beside(bounds: &str) -> [String; 3] {
        ["_bucket", "_sum", "_count"].map(|suffix| format!("{bounds}{suffix}"))
    }

    /// `position` finds a column of the result. `None` if there is no reading the histogram without one it lacks.
    pub(super) fn of(bounds: usize, name: &str, position: impl Fn(&str) -> Option<usize>) -> Option<Self> {
        let [cumulative_counts, sum, count] = Self::names_beside(name).map(|name| position(&name));
        Some(Self { bounds, cumulative_counts: cumulative_counts?, sum, count: count? })
    }

    /// The histogram of a row, and what was dropped of it.
    ///
    /// A NULL element drops its bucket, a NULL array all buckets but `+Inf`, a NULL sum only the sum. Buckets are
    /// put into the order of their bounds; of two with one bound, the first stays. `+Inf` is the count.
    ///
    /// # Errors
    /// [`Reason::Null`] without a count; [`Reason::Unparsable`] if any part is no number or no array of numbers;
    /// [`Reason::Invalid`] if the arrays differ in length, counts are not whole or fall, or bounds are no numbers.
    pub(super) fn read(&self, row: &Row<'_>) -> Result<(Histogram, Dropped), Reason> {
        let mut dropped = Dropped::default();
        let count = read_number(cell(row, self.count).ok_or(Reason::Null)?)?;
        let sum = match self.sum.map(|index| cell(row, index)) {
            Some(Some(text)) => Some(read_number(text)?),
            Some(None) => {
                dropped.add(Reason::Null);
                None
            }
            None => None,
        };
        let buckets = match (cell(row, self.bounds), cell(row, self.cumulative_counts)) {
            (Some(bounds), Some(counts)) => {
                sorted(pairs(&read_array(bounds)?, &read_array(counts)?, &mut dropped)?, &mut dropped)?
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
        Ok((Histogram { buckets, sum, count }, dropped))
    }
}

fn pairs(
    bounds: &[Option<f64>],
    counts: &[Option<f64>],
    dropped: &mut Dropped,
) -> Result<Vec<Bucket>, Reason> {
    if bounds.len() != counts.len() {
        return Err(Reason::Invalid);
    }
    let mut buckets = Vec::with_capacity(bounds.len());
    for pair in bounds.iter().zip(counts) {
        match pair {
            (Some(bound), _) if *bound == f64::INFINITY => {}
            // Adding 0 makes -0 the 0 that it is equal to.
            (Some(bound), Some(count)) if bound.is_finite() => {
                buckets.push(Bucket { upper_bound: bound + 0.0, cumulative_count: *count });
            }
            (Some(bound), _) if !bound.is_finite() => return Err(Reason::Invalid),
            _ => dropped.add(Reason::Null),
        }
    }
    Ok(buckets)
}

fn sorted(mut buckets: Vec<Bucket>, dropped: &mut Dropped) -> Result<Vec<Bucket>, Reason> {
    buckets.sort_by(|a, b| a.upper_bound.total_cmp(&b.upper_bound));
    buckets.dedup_by(|later, first| {
        let is_duplicate = later.upper_bound == first.upper_bound;
        if is_duplicate {
            dropped.add(Reason::Duplicate);
        }
        is_duplicate
    });
    Ok(buckets)
}

fn read_number(text: &str) -> Result<f64, Reason> {
    number::any(text).ok_or(Reason::Unparsable)
}

fn read_array(text: &str) -> Result<Vec<Option<f64>>, Reason> {
    let elements = array::elements(text).ok_or(Reason::Unparsable)?;
    elements.into_iter().map(|element| element.map(|text| read_number(&text)).transpose()).collect()
}

//! Rows that are observations. The rows of one label set become one histogram or summary.

use std::collections::HashMap;

use super::dropped::Reason;
use super::values::NumberColumn;
use crate::metric::{Bucket, Histogram, Quantile, Summary, Value};
use crate::table::Cells;

/// The kind of metric that the observations of a label set become.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    /// A histogram with these upper bounds, which are finite and ascending.
    Histogram(&'a [f64]),
    /// A summary with these quantiles, which are ascending and from 0 to 1.
    Summary(&'a [f64]),
}

/// The observations of one column.
pub(super) struct Observations<'a> {
    column: NumberColumn<'a>,
    shape: Shape<'a>,
    /// In the order of their first rows.
    groups: Vec<Group>,
    /// The group of a label set, by the first one that is the same.
    places: HashMap<u32, usize>,
}

/// The observations of one label set. A group without observations is kept.
struct Group {
    /// The label set, and the first one that is the same.
    labels: (u32, u32),
    /// The latest of its rows' times.
    time: Option<f64>,
    observed: Observed,
}

enum Observed {
    Counted {
        /// The counts of the buckets, not cumulative. Observations above the last bound are in none.
        counts: Vec<u64>,
        sum: f64,
        count: u64,
    },
    Kept(Vec<f64>),
}

impl<'a> Observations<'a> {
    pub(super) fn new(column: NumberColumn<'a>, shape: Shape<'a>) -> Self {
        Self { column, shape, groups: Vec::new(), places: HashMap::new() }
    }

    /// Takes a row's observation, and adds to `bytes` the memory that it takes.
    ///
    /// # Errors
    /// [`Reason::Null`], [`Reason::Unparsable`], or [`Reason::Invalid`] if it is NaN, which has no bucket and
    /// no rank. The group continues without it.
    pub(super) fn observe(
        &mut self,
        cells: &Cells<'_>,
        labels: (u32, u32),
        time: Option<f64>,
        bytes: &mut usize,
    ) -> Result<(), Reason> {
        let place = *self.places.entry(labels.1).or_insert(self.groups.len());
        if place == self.groups.len() {
            let observed = Observed::none(self.shape);
            *bytes += size_of::<Group>() + observed.bytes();
            self.groups.push(Group { labels, time: None, observed });
        }
        let group = self.groups.get_mut(place).ok_or(Reason::Invalid)?;
        let latest = |earlier: f64| time.map_or(earlier, |time| earlier.max(time));
        group.time = group.time.map(latest).or(time);
        let observation = self.column.read(cells)?;
        if observation.is_nan() {
            return Err(Reason::Invalid);
        }
        let before = group.observed.bytes();
        group.observed.add(observation, self.shape);
        *bytes += group.observed.bytes() - before;
        Ok(())
    }

    /// Removes and returns the metrics: labels, value and time.
    pub(super) fn take_metrics(&mut self) -> impl Iterator<Item = ((u32, u32), Value, Option<f64>)> {
        let shape = self.shape;
        self.places.clear();
        std::mem::take(&mut self.groups)
            .into_iter()
            .map(move |Group { labels, time, observed }| (labels, observed.value(shape), time))
    }
}

impl Observed {
    fn none(shape: Shape<'_>) -> Self {
        match shape {
            Shape::Histogram(bounds) => Self::Counted { counts: vec![0; bounds.len()], sum: 0.0, count: 0 },
            Shape::Summary(_) => Self::Kept(Vec::new()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Counted { counts, .. } => size_of_val(&**counts),
            Self::Kept(observations) => size_of_val(&**observations),
        }
    }

    fn add(&mut self, observation: f64, shape: Shape<'_>) {
        match (self, shape) {
            (Self::Counted { counts, sum, count }, Shape::Histogram(bounds)) => {
                *sum += observation;
                *count += 1;
                let bucket = bounds.partition_point(|&bound| bound < observation);
                if let Some(of_bucket) = counts.get_mut(bucket) {
                    *of_bucket += 1;
                }
            }
            (Self::Kept(observations), _) => observations.push(observation),
            (Self::Counted { .. }, Shape::Summary(_)) => {}
        }
    }

    fn value(self, shape: Shape<'_>) -> Value {
        let (Shape::Histogram(parts) | Shape::Summary(parts)) = shape;
        match self {
            Self::Counted { counts, sum, count } => {
                let mut cumulative_count = 0.0;
                let buckets = parts.iter().zip(counts).map(|(&upper_bound, count)| {
                    cumulative_count += count as f64;
                    Bucket { upper_bound, cumulative_count }
                });
                let buckets = buckets.collect();
                Value::Histogram(Histogram { buckets, sum: Some(sum), count: count as f64 })
            }
            Self::Kept(mut observations) => {
                let sum = Some(observations.iter().fold(0.0, |sum, observation| sum + observation));
                let count = Some(observations.len() as f64);
                observations.sort_by(f64::total_cmp);
                let quantile =
                    |&quantile| Some(Quantile { quantile, value: interpolated(&observations, quantile)? });
                let quantiles = parts.iter().filter_map(quantile).collect();
                Value::Summary(Summary { quantiles, sum, count })
            }
        }
    }
}

/// The result of PostgreSQL's `percentile_cont` for the same values: linear interpolation between the two
/// nearest ranks (documentation, "Ordered-Set Aggregate Functions"), with the operations of `float8_lerp`.
/// `None` without values.
fn interpolated(sorted: &[f64], quantile: f64) -> Option<f64> {
    let rank = quantile * (sorted.len().checked_sub(1)? as f64);
    let low = *sorted.get(rank.floor() as usize)?;
    let high = *sorted.get(rank.ceil() as usize)?;
    // The difference of two infinities is NaN.
    Some(if low == high { low } else { low + (rank - rank.floor()) * (high - low) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let of = |quantile| interpolated(&sorted, quantile);
        assert_eq!([of(0.0), of(0.5), of(1.0)], [Some(1.0), Some(3.0), Some(8.0)]);
        assert_eq!(of(0.9), Some(4.0 + (0.9 * 3.0 - 2.0) * 4.0));
        assert_eq!(interpolated(&[7.0], 0.3), Some(7.0));
        assert_eq!(interpolated(&[], 0.5), None);
        assert_eq!(interpolated(&[1.0, f64::INFINITY, f64::INFINITY], 0.9), Some(f64::INFINITY));
    }
}

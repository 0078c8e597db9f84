//! Rows that are observations. The rows of one label set become one histogram or summary.

use std::collections::HashMap;

use super::dropped::Reason;
use super::reading::{NumberCell, Row};
use crate::metric::{Bucket, Histogram, Labels, Metric, Quantile, Summary, Value};

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
    cell: NumberCell<'a>,
    shape: Shape<'a>,
    /// In the order of their first rows.
    groups: Vec<Group>,
    /// The group of a label set, by its number.
    places: HashMap<usize, usize>,
}

/// The observations of one label set. A group without observations is kept.
struct Group {
    labels: Labels,
    label_set: usize,
    /// The latest of its rows' times.
    timestamp_seconds: Option<f64>,
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
    pub(super) fn new(cell: NumberCell<'a>, shape: Shape<'a>) -> Self {
        Self { cell, shape, groups: Vec::new(), places: HashMap::new() }
    }

    /// Takes a row's observation.
    ///
    /// # Errors
    /// [`Reason::Null`], [`Reason::Unparsable`], or [`Reason::Invalid`] if it is NaN, which has no bucket and
    /// no rank. The group continues without it.
    pub(super) fn observe(&mut self, row: &Row<'_>) -> Result<(), Reason> {
        let place = *self.places.entry(row.label_set).or_insert(self.groups.len());
        if place == self.groups.len() {
            self.groups.push(Group {
                labels: row.labels.clone(),
                label_set: row.label_set,
                timestamp_seconds: None,
                observed: Observed::none(self.shape),
            });
        }
        let group = self.groups.get_mut(place).ok_or(Reason::Invalid)?;
        let latest = |earlier: f64| row.timestamp_seconds.map_or(earlier, |time| earlier.max(time));
        group.timestamp_seconds = group.timestamp_seconds.map(latest).or(row.timestamp_seconds);
        let observation = self.cell.read(row.cells)?;
        if observation.is_nan() {
            return Err(Reason::Invalid);
        }
        group.observed.add(observation, self.shape);
        Ok(())
    }

    /// Removes and returns the metrics, each with the number of its label set.
    pub(super) fn take_metrics(&mut self) -> impl Iterator<Item = (usize, Metric)> {
        let shape = self.shape;
        self.places.clear();
        std::mem::take(&mut self.groups).into_iter().map(move |group| {
            let Group { labels, label_set, timestamp_seconds, observed } = group;
            (label_set, Metric { labels, value: observed.value(shape), timestamp_seconds })
        })
    }
}

impl Observed {
    fn none(shape: Shape<'_>) -> Self {
        match shape {
            Shape::Histogram(bounds) => Self::Counted { counts: vec![0; bounds.len()], sum: 0.0, count: 0 },
            Shape::Summary(_) => Self::Kept(Vec::new()),
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
                Value::Histogram(Box::new(Histogram { buckets, sum: Some(sum), count: count as f64 }))
            }
            Self::Kept(mut observations) => {
                let sum = Some(observations.iter().fold(0.0, |sum, observation| sum + observation));
                let count = Some(observations.len() as f64);
                observations.sort_by(f64::total_cmp);
                let quantile =
                    |&quantile| Some(Quantile { quantile, value: interpolated(&observations, quantile)? });
                let quantiles = parts.iter().filter_map(quantile).collect();
                Value::Summary(Box::new(Summary { quantiles, sum, count }))
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

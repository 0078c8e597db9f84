//! The part of each query in the exposition of all queries.

use std::collections::HashMap;

use crate::metric::{Family, Metric};
use crate::sampling::{self, Dropped};

/// The families of each result after [`sampling::merge`], and its dropped metrics.
pub(super) fn by_query(results: Vec<(Vec<Family>, Dropped)>) -> Vec<(Vec<Family>, Dropped)> {
    let given: Vec<_> = results.iter().map(|(families, _)| families.clone()).collect();
    let (merged, dropped) = sampling::merge(results);
    // A merged family has its metrics in the order of the queries, without duplicates.
    let name = |family: &Family| (family.name.clone(), family.kind);
    let left = merged.iter().map(|family| (name(family), family.metrics.iter().peekable()));
    let mut left: HashMap<_, _> = left.collect();
    let mut exposed = |mut family: Family| {
        let Some(left) = left.get_mut(&name(&family)) else {
            family.metrics.clear();
            return family;
        };
        let is_left = |metric: &Metric| left.next_if(|next| next.labels == metric.labels).is_some();
        family.metrics.retain(is_left);
        family
    };
    let exposed: Vec<Vec<_>> =
        given.into_iter().map(|families| families.into_iter().map(&mut exposed).collect()).collect();
    exposed.into_iter().zip(dropped).collect()
}

/// The number of series. A histogram of 2 buckets has 5: the buckets, `+Inf`, sum and count.
pub(super) fn series(families: &[Family]) -> usize {
    families.iter().flat_map(|family| &family.metrics).map(|metric| metric.value.sample_count()).sum()
}

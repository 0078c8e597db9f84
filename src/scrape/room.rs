//! Limits on the results of all queries of a scrape.

use crate::exposition;
use crate::metric::Family;

/// The maximum size of the results of one scrape, as exposition. A larger answer could not be sent even
/// compressed.
const EXPOSED_BYTES_MAX: usize = 16 << 20;

/// The results so far, and the limits.
#[derive(Debug)]
pub(super) struct Room {
    series_max: usize,
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// The place of the query in the files.
    position: usize,
    series: usize,
    bytes: usize,
}

/// The limit that a result exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    /// `MAX_SERIES`.
    #[error("its result would exceed the {0} series of a scrape; raise MAX_SERIES, or return fewer rows")]
    Series(usize),
    #[error("its result would exceed the {} MiB of a scrape; return fewer rows", EXPOSED_BYTES_MAX >> 20)]
    Bytes,
}

impl Room {
    /// With the limit `MAX_SERIES`.
    pub(super) fn new(series_max: usize) -> Self {
        Self { series_max, taken: vec![] }
    }

    /// Adds the result of the query at `position`. Returns the queries to omit so that the rest fits: the
    /// largest, which may include this one. Among equal ones, the last in the files is omitted. So a query
    /// that just fits does not displace all others.
    pub(super) fn take(&mut self, position: usize, families: &[Family]) -> Vec<(usize, NoRoom)> {
        let samples = families.iter().flat_map(|family| &family.metrics);
        let series = samples.map(|metric| metric.value.sample_count()).sum();
        self.taken.push(Taken { position, series, bytes: exposition::estimated_bytes(families) });
        let mut left_out = vec![];
        loop {
            let sum = |size: fn(&Taken) -> usize| self.taken.iter().map(size).sum::<usize>();
            let (size, why): (fn(&Taken) -> usize, _) = if sum(|taken| taken.series) > self.series_max {
                (|taken| taken.series, NoRoom::Series(self.series_max))
            } else if sum(|taken| taken.bytes) > EXPOSED_BYTES_MAX {
                (|taken| taken.bytes, NoRoom::Bytes)
            } else {
                return left_out;
            };
            let indexed = self.taken.iter().enumerate();
            let largest = indexed.max_by_key(|(_, taken)| (size(taken), taken.position));
            let Some((index, _)) = largest else { return left_out };
            left_out.push((self.taken.swap_remove(index).position, why));
        }
    }
}

//! How much the queries of a scrape may still give.

use crate::exposition;
use crate::metric::Family;

/// What the queries of one scrape may give together, as it would be exposed: what is beyond could be sent in no answer,
/// even compressed, and would take the memory and the time of what can.
const EXPOSED_BYTES_MAX: usize = 16 << 20;

/// What the queries of one scrape gave so far, and how much of it fits.
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

/// Why something does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    /// `MAX_SERIES`.
    #[error("result left out: the scrape would exceed MAX_SERIES, {0} series")]
    Series(usize),
    #[error("result left out: the scrape would exceed {} MiB", EXPOSED_BYTES_MAX >> 20)]
    Bytes,
}

impl Room {
    /// For `series_max` samples.
    pub(super) fn new(series_max: usize) -> Self {
        Self { series_max, taken: vec![] }
    }

    /// Takes what the query at `position` gave. The queries to leave out come back, the largest ones, which may be this
    /// one, until the rest fits; of equal ones, the last of the files. So a query that just fits does not take the room
    /// of all others.
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

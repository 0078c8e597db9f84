//! How much the queries of a scrape may still give.

use crate::exposition;
use crate::metric::Family;

/// What the queries of one scrape may give together, as it would be exposed: what is beyond could be sent in no answer,
/// even compressed, and would take the memory and the time of what can.
const EXPOSED_BYTES_MAX: usize = 16 << 20;

/// What is left for the queries that come.
#[derive(Debug)]
pub(super) struct Room {
    series_max: usize,
    series: usize,
    bytes: usize,
}

/// Why something does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoom {
    /// `MAX_SERIES`.
    #[error("dropped, or the scrape would give more than {0} series, which is MAX_SERIES")]
    Series(usize),
    #[error("dropped, or the scrape would give more than {} MiB", EXPOSED_BYTES_MAX >> 20)]
    Bytes,
}

impl Room {
    /// For `series_max` samples.
    pub(super) fn new(series_max: usize) -> Self {
        Self { series_max, series: series_max, bytes: EXPOSED_BYTES_MAX }
    }

    /// Takes what a query gave, if it fits; else the room stays as it is for those that come.
    pub(super) fn take(&mut self, families: &[Family]) -> Result<(), NoRoom> {
        let samples = families.iter().flat_map(|family| &family.metrics);
        let samples: usize = samples.map(|metric| metric.value.sample_count()).sum();
        let series = self.series.checked_sub(samples).ok_or(NoRoom::Series(self.series_max))?;
        let bytes = self.bytes.checked_sub(exposition::estimated_bytes(families)).ok_or(NoRoom::Bytes)?;
        (self.series, self.bytes) = (series, bytes);
        Ok(())
    }
}

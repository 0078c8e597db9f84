//! Limits on the results of all queries of a scrape.

use crate::metric::Families;
use crate::settings::Limits;

/// The results so far, and the limits.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    used: Vec<Used>,
}

#[derive(Debug)]
struct Used {
    /// The place of the query in the files.
    position: usize,
    series: usize,
    bytes: usize,
    text_bytes: usize,
}

/// The limit that a result exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("its result would exceed the {0} series of a scrape; raise MAX_SERIES, or return fewer rows")]
    Series(usize),
    #[error(
        "its result would exceed the {0} bytes of a scrape; raise MAX_RESULT_BYTES, or return fewer rows"
    )]
    Bytes(usize),
    #[error(
        "its result would exceed the {0} bytes of text of a scrape, which is twice MAX_RESULT_BYTES; raise it, or return \
         fewer rows or shorter labels"
    )]
    Text(usize),
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, used: vec![] }
    }

    /// Adds the result of the query at `position`. Returns the queries to omit so that the rest fits: the
    /// largest, which may include this one. Among equal ones, the last in the files is omitted. So a query
    /// that just fits does not displace all others.
    pub(super) fn add(&mut self, position: usize, families: &Families) -> Vec<(usize, Exceeded)> {
        self.used.push(Used {
            position,
            series: families.series(),
            bytes: families.bytes(),
            text_bytes: families.text_bytes(),
        });
        // Samples share label sets in memory, but not as text, so a small result may be a large answer.
        let text_bytes_max = self.limits.result_bytes.saturating_mul(2);
        let mut left_out = vec![];
        loop {
            let sum = |size: fn(&Used) -> usize| self.used.iter().map(size).sum::<usize>();
            let (size, why): (fn(&Used) -> usize, _) = if sum(|used| used.series) > self.limits.series {
                (|used| used.series, Exceeded::Series(self.limits.series))
            } else if sum(|used| used.bytes) > self.limits.result_bytes {
                (|used| used.bytes, Exceeded::Bytes(self.limits.result_bytes))
            } else if sum(|used| used.text_bytes) > text_bytes_max {
                (|used| used.text_bytes, Exceeded::Text(text_bytes_max))
            } else {
                return left_out;
            };
            let indexed = self.used.iter().enumerate();
            let largest = indexed.max_by_key(|(_, used)| (size(used), used.position));
            let Some((index, _)) = largest else { return left_out };
            left_out.push((self.used.swap_remove(index).position, why));
        }
    }
}

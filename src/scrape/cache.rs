//! The last successful results of queries with `cache_seconds`, while they are young enough.
//!
//! The cache keeps families, not tables: aggregated and discarded values are not kept, and its size is
//! limited like an answer's. Label sets are shared with the scrape.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::age::Moment;
use crate::config::Query;
use crate::metric::Family;
use crate::sampling::Dropped;

/// The results, by namespace.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<String, Good>);

/// The result of a query that succeeded.
#[derive(Debug, Clone)]
pub(super) struct Good {
    pub(super) families: Arc<Vec<Family>>,
    pub(super) rows: usize,
    pub(super) dropped: Dropped,
    pub(super) at: Moment,
}

impl Cache {
    /// The result of `query` and its age, if it is young enough.
    pub(super) fn young(&mut self, query: &Query, now: Moment) -> Option<(Good, Duration)> {
        let age = self.0.get(&query.namespace)?.at.age(now);
        match age.filter(|&age| query.cache.is_some_and(|longest| age < longest)) {
            Some(age) => Some((self.0.get(&query.namespace)?.clone(), age)),
            None => {
                self.0.remove(&query.namespace);
                None
            }
        }
    }

    /// Keeps a result, which replaces an earlier one.
    pub(super) fn keep(&mut self, query: &Query, good: Good) {
        self.0.insert(query.namespace.clone(), good);
    }

    /// Forgets the result of `query`.
    pub(super) fn forget(&mut self, query: &Query) {
        self.0.remove(&query.namespace);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

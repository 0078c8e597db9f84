//! The last successful results of queries with `cache_seconds`, while they are young enough.
//!
//! The cache keeps metrics, not rows: aggregated and discarded values are not kept, and its size is
//! limited like an answer's. The scrape shares them.

use std::collections::HashMap;

use super::databases::Key;
use crate::config::Query;
use crate::freshness::Moment;
use crate::outcome::QueryOutcome;

/// The outcomes, by namespace and database, and when they were made.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<Key, (QueryOutcome, Moment)>);

impl Cache {
    /// The kept outcome of `query` under `key`, if it is young enough.
    pub(super) fn young(&mut self, query: &Query, key: &Key, now: Moment) -> Option<QueryOutcome> {
        query.cache?;
        let (outcome, at) = self.0.get(key)?;
        match at.age(now).filter(|&age| query.cache.is_some_and(|longest| age < longest)) {
            Some(age) => Some(QueryOutcome { age: Some(age), duration: None, ..outcome.clone() }),
            None => {
                self.0.remove(key);
                None
            }
        }
    }

    /// Keeps an outcome, which replaces an earlier one.
    pub(super) fn keep(&mut self, key: Key, outcome: &QueryOutcome) {
        self.0.insert(key, (outcome.clone(), Moment::now()));
    }

    /// Forgets the outcome of a query.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Forgets the outcomes that `is_known` does not know.
    pub(super) fn retain(&mut self, is_known: impl Fn(&Key) -> bool) {
        self.0.retain(|key, _| is_known(key));
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

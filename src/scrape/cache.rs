//! The last good results of queries with `cache_seconds`, for as long as they are young enough.
//!
//! Families are kept and not tables: what a query aggregates or discards is not kept at all, values are read once,
//! and what is kept cannot be much more than an answer may have. Their label sets are shared with the scrape.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Query;
use crate::metric::Family;
use crate::sampling::Dropped;

/// The results, by namespace.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<String, Good>);

/// What a query gave when it succeeded.
#[derive(Debug, Clone)]
pub(super) struct Good {
    pub(super) families: Arc<Vec<Family>>,
    pub(super) rows: usize,
    pub(super) dropped: Dropped,
    pub(super) at: Moment,
}

impl Cache {
    /// The result of `query`, if there is one that is young enough, and its age.
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

    /// Keeps a result in place of an earlier one.
    pub(super) fn keep(&mut self, query: &Query, good: Good) {
        self.0.insert(query.namespace.clone(), good);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A point in time from which the time since is known also where the process was frozen in between. Then
/// `CLOCK_MONOTONIC`, which is what `Instant` reads, may have stood still: it does not count while a machine is
/// suspended (clock_gettime(2)). The wall clock runs on, but may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago this was: the more that one of the clocks says. Unknown where the wall clock was set back.
    pub(crate) fn age(self, now: Self) -> Option<Duration> {
        let wall = now.wall.duration_since(self.wall).ok()?;
        Some(wall.max(now.monotonic.saturating_duration_since(self.monotonic)))
    }

    /// The moment after `duration` by both clocks.
    #[cfg(test)]
    pub(crate) fn later(self, duration: Duration) -> Self {
        Self { monotonic: self.monotonic + duration, wall: self.wall + duration }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_ran_on_tells_the_age() {
        let then = Moment::now();
        let seconds = Duration::from_secs;
        let now =
            |monotonic, wall: SystemTime| Moment { monotonic: then.monotonic + seconds(monotonic), wall };
        assert_eq!(then.age(then), Some(Duration::ZERO));
        // Frozen for an hour.
        assert_eq!(then.age(now(1, then.wall + seconds(3600))), Some(seconds(3600)));
        // The wall clock was set back, by less than the time since, and by more.
        assert_eq!(then.age(now(60, then.wall + seconds(50))), Some(seconds(60)));
        assert_eq!(then.age(now(60, then.wall - seconds(1))), None);
    }
}

//! How old something is that is kept between scrapes, in a process that may be frozen in between, and when it is
//! fetched anew. It knows neither what is kept nor who fetches it.

use std::time::{Duration, Instant, SystemTime};

/// Between two attempts to renew something that works, so that a service that hangs does not take its time of every
/// scrape.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// A point in time from which the time since is known also where the process was frozen in between. Then
/// `CLOCK_MONOTONIC`, which is what `Instant` reads, may have stood still: it does not count while a machine is
/// suspended (clock_gettime(2)). The wall clock runs on, but may be set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago this was: the more that one of the clocks says. Unknown where the wall clock was set back.
    pub fn age(self, now: Self) -> Option<Duration> {
        let wall = now.wall.duration_since(self.wall).ok()?;
        Some(wall.max(now.monotonic.saturating_duration_since(self.monotonic)))
    }

    /// The moment after `duration` by both clocks.
    #[cfg(test)]
    pub(crate) fn later(self, duration: Duration) -> Self {
        Self { monotonic: self.monotonic + duration, wall: self.wall + duration }
    }
}

/// When something that is fetched is fetched anew.
#[derive(Debug)]
pub struct Renewal {
    max_age: Duration,
    fetched: Option<Moment>,
    failed: Option<Moment>,
}

impl Renewal {
    /// Something is fetched anew when it is `max_age` old or, by chance, up to a fifth younger, so that many
    /// environments that were started together do not all fetch at once.
    pub fn every(max_age: Duration) -> Self {
        Self { max_age: max_age.mul_f64(1.0 - 0.2 * fastrand::f64()), fetched: None, failed: None }
    }

    /// Whether what was fetched is to be fetched anew. Not before the first fetch, nor just after a failed one.
    pub fn is_due(&self, now: Moment) -> bool {
        let Some(fetched) = self.fetched else { return false };
        // Where the clock was set back, nobody knows how old it is.
        let is_old = fetched.age(now).is_none_or(|age| age >= self.max_age);
        let pause = self.failed.and_then(|failed| failed.age(now));
        is_old && pause.is_none_or(|pause| pause >= RENEWAL_PAUSE)
    }

    /// It was fetched.
    pub fn succeeded(&mut self, now: Moment) {
        self.fetched = Some(now);
        self.failed = None;
    }

    /// It could not be fetched.
    pub fn failed(&mut self, now: Moment) {
        self.failed = Some(now);
    }

    /// How long ago it was fetched.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.fetched?.age(now)
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

    #[test]
    fn what_is_kept_is_renewed_at_its_age_and_a_minute_after_that_failed() {
        let then = Moment::now();
        let after = |seconds| then.later(Duration::from_secs(seconds));
        let mut renewal = Renewal::every(Duration::from_secs(300));
        assert!(!renewal.is_due(after(1000)));
        renewal.succeeded(then);
        assert!(!renewal.is_due(after(239)) && renewal.is_due(after(300)));
        renewal.failed(after(300));
        assert!(!renewal.is_due(after(359)) && renewal.is_due(after(360)));
        // The clock was set back to before it was fetched.
        renewal.succeeded(after(400));
        assert!(renewal.is_due(Moment { wall: then.wall, ..after(401) }));
    }

    #[test]
    fn ages_are_spread_over_a_fifth() {
        let longest = Duration::from_secs(300);
        let ages: Vec<_> = (0..1000).map(|_| Renewal::every(longest).max_age).collect();
        assert!(ages.iter().all(|age| (longest * 4 / 5..=longest).contains(age)));
        assert!(ages.iter().min().unwrap().as_secs() < 250 && ages.iter().max().unwrap().as_secs() > 290);
    }
}

//! The age of kept values in a process that may be frozen between scrapes, and when to fetch a value again.
//! This module knows neither the values nor how they are fetched.

use std::time::{Duration, Instant, SystemTime};

/// Pause between two attempts to renew a value that still works. Without it, a service that hangs would take
/// time from every scrape.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// A point in time that survives a freeze of the process. `Instant` reads `CLOCK_MONOTONIC`, which does not
/// count while a machine is suspended (clock_gettime(2)). The wall clock goes on, but may be set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// The current moment.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// The time since this moment: the larger of what the two clocks show. Unknown if the wall clock was set
    /// back.
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

/// The age of a fetched value, and when to fetch it again.
#[derive(Debug)]
pub struct Renewal {
    max_age: Duration,
    fetched: Option<Moment>,
    failed: Option<Moment>,
}

impl Renewal {
    /// A value is due when it is `max_age` old or, at random, up to a fifth younger. So many environments
    /// that started together do not all fetch at once.
    pub fn every(max_age: Duration) -> Self {
        Self { max_age: max_age.mul_f64(1.0 - 0.2 * fastrand::f64()), fetched: None, failed: None }
    }

    /// Whether to fetch the value again. False before the first fetch and just after a failed one.
    pub fn is_due(&self, now: Moment) -> bool {
        let Some(fetched) = self.fetched else { return false };
        // If the clock was set back, the age is unknown.
        let is_old = fetched.age(now).is_none_or(|age| age >= self.max_age);
        let pause = self.failed.and_then(|failed| failed.age(now));
        is_old && pause.is_none_or(|pause| pause >= RENEWAL_PAUSE)
    }

    /// The value was fetched.
    pub fn succeeded(&mut self, now: Moment) {
        self.fetched = Some(now);
        self.failed = None;
    }

    /// The fetch failed.
    pub fn failed(&mut self, now: Moment) {
        self.failed = Some(now);
    }

    /// The time since the last successful fetch.
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

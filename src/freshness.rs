//! The age of kept values in a process that may be frozen between scrapes.

use std::time::{Duration, Instant, SystemTime};

/// A point in time that survives a freeze of the process. `Instant` reads `CLOCK_MONOTONIC`, which does not
/// count while a machine is suspended (clock_gettime(2)). The wall clock goes on, but may be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// The current moment.
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// The time since this moment: the larger of what the two clocks show. Unknown if the wall clock was set
    /// back.
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

//! A value that is fetched, used for some time, and fetched again. The earlier value stays in use if it cannot be
//! fetched. This module does not know how the value is fetched.

use std::time::Duration;

use crate::freshness::Moment;

/// Pause between two attempts to renew a value that still works. Without it, a service that hangs would take
/// time from every scrape.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// A fetched value and its age.
#[derive(Debug)]
pub(crate) struct Renewed<T> {
    value: Option<T>,
    max_age: Duration,
    /// The pause between any two fetches.
    pause: Duration,
    fetched: Option<Moment>,
    tried: Option<Moment>,
    has_failed: bool,
    /// Whether this scrape has tried to replace a value that it had. Once is enough.
    is_refetched: bool,
}

impl<T> Renewed<T> {
    /// No value yet. A value is due when it is `max_age` old or, at random, up to a fifth younger. So many environments
    /// that started together do not all fetch at once.
    pub(crate) fn new(max_age: Duration, pause: Duration) -> Self {
        Self {
            value: None,
            max_age: max_age.mul_f64(1.0 - 0.2 * fastrand::f64()),
            pause,
            fetched: None,
            tried: None,
            has_failed: false,
            is_refetched: false,
        }
    }

    /// A value that is not fetched.
    pub(crate) fn fixed(value: T) -> Self {
        Self { value: Some(value), ..Self::new(Duration::ZERO, Duration::ZERO) }
    }

    /// The last value that could be fetched.
    pub(crate) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Whether the last fetch failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// The time since the last successful fetch.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.fetched?.age(Moment::now())
    }

    /// A new scrape may replace the value.
    pub(crate) fn begin_scrape(&mut self) {
        self.is_refetched = false;
    }

    /// Whether to fetch the value because of its age. False before the first fetch and just after a failed one.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        let Some(fetched) = self.fetched else { return false };
        // If the clock was set back, the age is unknown.
        let is_old = fetched.age(now).is_none_or(|age| age >= self.max_age);
        is_old && (!self.has_failed || self.has_paused(RENEWAL_PAUSE, now))
    }

    /// Whether to fetch the value because it does not work.
    pub(crate) fn may_fetch(&self, now: Moment) -> bool {
        !self.is_refetched && self.has_paused(self.pause, now)
    }

    fn has_paused(&self, pause: Duration, now: Moment) -> bool {
        self.tried.and_then(|tried| tried.age(now)).is_none_or(|since| since >= pause)
    }

    /// Keeps the value that `fetch` gives, and returns the earlier one.
    ///
    /// # Errors
    /// As `fetch`. The earlier value stays.
    pub(crate) async fn fetch<E>(
        &mut self,
        fetch: impl Future<Output = Result<T, E>>,
    ) -> Result<Option<T>, E> {
        self.is_refetched = self.value.is_some();
        let fetched = fetch.await;
        // Counted from the end of the attempt, so that a service that hangs gets the whole pause.
        self.note(Moment::now(), fetched.is_ok());
        Ok(self.value.replace(fetched?))
    }

    fn note(&mut self, now: Moment, is_fetched: bool) {
        self.tried = Some(now);
        self.has_failed = !is_fetched;
        if is_fetched {
            self.fetched = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_value_is_renewed_at_its_age_and_a_minute_after_a_failure() {
        let then = Moment::now();
        let after = |seconds| then.later(SECONDS(seconds));
        let mut value: Renewed<()> = Renewed::new(SECONDS(300), Duration::ZERO);
        assert!(!value.is_due(after(1000)));
        value.note(then, true);
        assert!(!value.is_due(after(239)) && value.is_due(after(300)));
        value.note(after(300), false);
        assert!(!value.is_due(after(359)) && value.is_due(after(360)));
        // The clock was set back to before it was fetched.
        value.note(after(400), true);
        assert!(value.is_due(then.later(SECONDS(0))));
    }

    #[test]
    fn a_value_is_fetched_again_once_in_a_scrape_and_not_within_the_pause() {
        let then = Moment::now();
        let mut value: Renewed<u8> = Renewed::new(SECONDS(300), SECONDS(3));
        assert!(value.may_fetch(then));
        value.note(then, false);
        assert!(!value.may_fetch(then.later(SECONDS(2))) && value.may_fetch(then.later(SECONDS(3))));
        let mut value: Renewed<u8> = Renewed::new(SECONDS(300), Duration::ZERO);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fetch = |value: &mut Renewed<u8>, number| {
            runtime.block_on(value.fetch(ready(Ok::<_, Infallible>(number)))).unwrap()
        };
        assert_eq!(fetch(&mut value, 1), None);
        assert!(value.may_fetch(Moment::now()), "the first fetch is not the second");
        assert_eq!(fetch(&mut value, 2), Some(1));
        assert!(!value.may_fetch(Moment::now()));
        value.begin_scrape();
        assert!(value.may_fetch(Moment::now()));
        assert_eq!(runtime.block_on(value.fetch(ready(Err(())))), Err(()));
        assert_eq!(value.value(), Some(&2));
    }

    #[test]
    fn ages_are_spread_over_a_fifth() {
        let longest = SECONDS(300);
        let ages: Vec<_> = (0..1000).map(|_| Renewed::<()>::new(longest, longest).max_age).collect();
        assert!(ages.iter().all(|age| (longest * 4 / 5..=longest).contains(age)));
        assert!(ages.iter().min().unwrap().as_secs() < 250 && ages.iter().max().unwrap().as_secs() > 290);
    }
}

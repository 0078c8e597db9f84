//! Who may scrape: nobody, everybody, or whoever presents what a secret holds.
//!
//! It owns what is kept of that secret, for how long, and how often it is asked for. It knows a request's headers
//! and nothing else of it.

mod accepted;
mod credential;

use std::time::Duration;

use aws_config::SdkConfig;
use lambda_http::http::HeaderMap;
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, OnceCell};

pub use accepted::{Accepted, Problem};
pub use credential::Credential;

use crate::age::{Moment, Renewal};
use crate::aws;
use crate::secret::SecretsManager;
use crate::settings::Authorization;

/// Between two fetches, so that whoever guesses does not make the function flood Secrets Manager.
pub const FETCH_PAUSE: Duration = Duration::from_secs(3);
/// For a fetch that a request waits for.
const FETCH_LIMIT: Duration = Duration::from_secs(4);
/// The same where an earlier secret is at hand.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);

/// Decides who may scrape.
#[derive(Debug)]
pub struct Guard(Rule);

#[derive(Debug)]
enum Rule {
    Locked,
    Open,
    Secret { service: SecretsManager, id: String, memory: Box<Mutex<Memory>> },
}

/// What became of a request's authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The request may be answered.
    Granted,
    /// Nobody's request may: nothing says who may scrape.
    Locked,
    /// It presents nothing that is accepted.
    Refused {
        /// What `WWW-Authenticate` has to say (RFC 9110, section 11.6.1).
        challenge: &'static str,
    },
    /// The secret cannot be had, so nobody can say. Another request may find it after [`FETCH_PAUSE`].
    Unavailable,
}

impl Guard {
    /// The guard that the settings ask for. Nothing of AWS is touched where they do not ask for a secret, and no
    /// network in any case. `config` is read here if nobody has read it yet. A credential that was taken out of the
    /// secret works for `max_age` at most, while the secret can be read again.
    pub async fn new(authorization: Authorization, max_age: Duration, config: &OnceCell<SdkConfig>) -> Self {
        Self(match authorization {
            Authorization::Locked => Rule::Locked,
            Authorization::Open => Rule::Open,
            Authorization::Secret { id } => {
                let service = SecretsManager::new(config.get_or_init(aws::config).await);
                Rule::Secret { service, id, memory: Box::new(Mutex::new(Memory::new(max_age))) }
            }
        })
    }

    /// Fetches, within `limit`, what the first request would have to wait for.
    pub async fn warm_up(&self, limit: Duration) {
        if let Rule::Secret { service, id, memory } = &self.0 {
            memory.lock().await.fetch(service, id, limit).await;
        }
    }

    /// Decides on a request with these headers, within `limit`.
    pub async fn decide(&self, headers: &HeaderMap, limit: Duration) -> Decision {
        let (service, id, memory) = match &self.0 {
            Rule::Locked => return Decision::Locked,
            Rule::Open => return Decision::Granted,
            Rule::Secret { service, id, memory } => (service, id, memory),
        };
        let presented = Credential::of_headers(headers);
        let mut memory = memory.lock().await;
        if memory.kept.is_none() || memory.renewal.is_due(Moment::now()) {
            memory.fetch(service, id, limit).await;
        }
        if let Some(presented) = &presented
            && !memory.admits(presented)
        {
            // It may be newer than what is kept.
            memory.fetch(service, id, limit).await;
        }
        match (&memory.kept, presented) {
            (None, _) => Decision::Unavailable,
            (Some(accepted), Some(presented)) if accepted.admits(&presented) => Decision::Granted,
            (Some(accepted), _) => Decision::Refused { challenge: accepted.challenge() },
        }
    }
}

/// What is kept of the secret between requests.
#[derive(Debug)]
struct Memory {
    kept: Option<Accepted>,
    renewal: Renewal,
    tried: Option<Moment>,
}

impl Memory {
    fn new(max_age: Duration) -> Self {
        Self { kept: None, renewal: Renewal::every(max_age), tried: None }
    }

    fn admits(&self, presented: &Credential) -> bool {
        self.kept.as_ref().is_some_and(|accepted| accepted.admits(presented))
    }

    fn may_fetch(&self, now: Moment) -> bool {
        let since = self.tried.and_then(|tried| tried.age(now));
        since.is_none_or(|since| since >= FETCH_PAUSE)
    }

    /// Fetches the secret, unless that was tried just now. Where it cannot be had, what is kept stays.
    async fn fetch(&mut self, service: &SecretsManager, id: &str, limit: Duration) {
        if !self.may_fetch(Moment::now()) {
            return;
        }
        // Time is left for the scrape behind it; but not so little for this, whatever a stranger's request says, that
        // it would fail.
        let own = match self.kept {
            Some(_) => (limit / 4).clamp(REFRESH_LIMIT / 8, REFRESH_LIMIT),
            None => (limit / 2).clamp(FETCH_LIMIT / 4, FETCH_LIMIT),
        };
        let fetched = service.fetch(id, own).await;
        // From the end of the attempt: a service that hangs is left alone for as long as one that answers.
        let now = Moment::now();
        self.tried = Some(now);
        let accepted = match &fetched {
            Ok(text) => Accepted::of_secret(text.expose_secret())
                .map_err(|problems| format!("secret {id:?}: {}", accepted::list(&problems))),
            Err(error) => Err(error.to_string()),
        };
        match (accepted, &self.kept) {
            (Ok(accepted), _) => {
                self.kept = Some(accepted);
                self.renewal.succeeded(now);
            }
            (Err(error), Some(_)) => {
                tracing::warn!(error, "the authorization is not renewed");
                self.renewal.failed(now);
            }
            (Err(error), None) => tracing::error!(error, "no authorization, so every scrape is refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_asked_for_every_three_seconds_at_most() {
        let then = Moment::now();
        let after = |seconds| then.later(Duration::from_secs_f64(seconds));
        let mut memory = Memory::new(Duration::from_secs(300));
        assert!(memory.may_fetch(then));
        memory.tried = Some(then);
        assert!(!memory.may_fetch(after(2.9)) && memory.may_fetch(after(3.0)));
    }
}

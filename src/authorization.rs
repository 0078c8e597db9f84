//! Who may scrape: no one, everyone, or everyone who presents a token of the settings or a credential of a secret.
//!
//! This module keeps that secret, and decides how long and how often it is fetched. It reads only the headers
//! of a request.

mod accepted;
mod credential;

use std::time::Duration;

use aws_config::SdkConfig;
use lambda_http::http::HeaderMap;
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, OnceCell};

pub use accepted::{Accepted, Problem};
pub use credential::Credential;

use crate::aws;
use crate::freshness::{Moment, Renewal};
use crate::secret::SecretsManager;
use crate::settings::Authorization;

/// The pause between two fetches. Without it, someone who guesses tokens could make the function flood
/// Secrets Manager.
pub const FETCH_PAUSE: Duration = Duration::from_secs(3);
/// The limit of a fetch that a request waits for.
const FETCH_LIMIT: Duration = Duration::from_secs(4);
/// The limit of a fetch while an earlier secret is kept.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);

/// Decides who may scrape.
#[derive(Debug)]
pub struct Guard(Rule);

#[derive(Debug)]
enum Rule {
    Locked,
    Open,
    Unavailable,
    Digests(Accepted),
    Secret { service: SecretsManager, id: String, memory: Box<Mutex<Memory>> },
}

/// The result for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The request may be answered.
    Granted,
    /// Every request is refused: the environment does not configure who may scrape.
    Locked,
    /// The request presents no accepted credential.
    Refused {
        /// The value of `WWW-Authenticate` (RFC 9110, section 11.6.1).
        challenge: &'static str,
    },
    /// The secret cannot be read. It is fetched again after [`FETCH_PAUSE`].
    Unavailable,
}

impl Guard {
    /// The guard for these settings. AWS is only used for a secret, and the network is not used here. Fills
    /// `config` if it is empty. A credential that was removed from the secret works for at most `max_age`, as
    /// long as the secret can be read.
    pub async fn new(authorization: Authorization, max_age: Duration, config: &OnceCell<SdkConfig>) -> Self {
        Self(match authorization {
            Authorization::Locked => Rule::Locked,
            Authorization::Open => Rule::Open,
            Authorization::TokenDigests(digests) => Rule::Digests(Accepted::of_digests(digests)),
            Authorization::Secret { id } => {
                let service = SecretsManager::new(config.get_or_init(aws::config).await);
                Rule::Secret { service, id, memory: Box::new(Mutex::new(Memory::new(max_age))) }
            }
        })
    }

    /// A guard that denies every request, because the service that it would ask cannot be used.
    pub fn unavailable() -> Self {
        Self(Rule::Unavailable)
    }

    /// Fetches the secret, within `limit`, so that the first request does not wait for it.
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
            Rule::Unavailable => return Decision::Unavailable,
            Rule::Digests(accepted) => return accepted.decide(Credential::of_headers(headers).as_ref()),
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
            // It may be newer than the kept secret.
            memory.fetch(service, id, limit).await;
        }
        match &memory.kept {
            None => Decision::Unavailable,
            Some(accepted) => accepted.decide(presented.as_ref()),
        }
    }
}

impl Accepted {
    fn decide(&self, presented: Option<&Credential>) -> Decision {
        match presented.is_some_and(|presented| self.admits(presented)) {
            true => Decision::Granted,
            false => Decision::Refused { challenge: self.challenge() },
        }
    }
}

/// The kept secret.
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

    /// Fetches the secret, unless that was tried just now. If the fetch fails, the earlier secret is kept.
    async fn fetch(&mut self, service: &SecretsManager, id: &str, limit: Duration) {
        if !self.may_fetch(Moment::now()) {
            return;
        }
        // The scrape needs the rest of the time. The minimum keeps a very short limit in the request from
        // making every fetch fail.
        let own = match self.kept {
            Some(_) => (limit / 4).clamp(REFRESH_LIMIT / 8, REFRESH_LIMIT),
            None => (limit / 2).clamp(FETCH_LIMIT / 4, FETCH_LIMIT),
        };
        let fetched = service.fetch(id, own).await;
        // Counted from the end of the attempt, so that a service that hangs gets the whole pause.
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

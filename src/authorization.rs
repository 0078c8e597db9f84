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

pub use accepted::Accepted;
pub(crate) use credential::Credential;

use crate::aws;
use crate::freshness::Moment;
use crate::problem;
use crate::renewed::Renewed;
use crate::secret::SecretsManager;
use crate::settings::Authorization;

/// The pause between two fetches. Without it, someone who guesses tokens could make the function flood
/// Secrets Manager.
pub(crate) const FETCH_PAUSE: Duration = Duration::from_secs(3);
/// The limit of a fetch that a request waits for.
const FETCH_LIMIT: Duration = Duration::from_secs(4);
/// The limit of a fetch while an earlier secret is kept.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);

/// Decides who may scrape.
#[derive(Debug)]
pub(crate) struct Guard {
    authorization: Authorization,
    /// Absent if the authorization needs none, or if AWS cannot be used.
    service: Option<SecretsManager>,
    accepted: Mutex<Renewed<Accepted>>,
}

/// The result for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
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
    /// `config` if it is empty; without it, AWS cannot be used. A credential that was removed from the secret works for at
    /// most `max_age`, as long as the secret can be read.
    pub(crate) async fn new(
        authorization: Authorization,
        max_age: Duration,
        config: Option<&OnceCell<SdkConfig>>,
    ) -> Self {
        let service = match (&authorization, config) {
            (Authorization::Secret { .. }, Some(config)) => {
                Some(SecretsManager::new(config.get_or_init(aws::config).await))
            }
            _ => None,
        };
        let accepted = match &authorization {
            Authorization::TokenDigests(digests) => Renewed::fixed(Accepted::of_digests(digests)),
            _ => Renewed::new(max_age, FETCH_PAUSE),
        };
        Self { authorization, service, accepted: Mutex::new(accepted) }
    }

    /// Fetches the secret, within `limit`, so that the first request does not wait for it.
    pub(crate) async fn warm_up(&self, limit: Duration) {
        self.fetch(&mut *self.accepted.lock().await, limit).await;
    }

    /// Decides on a request with these headers, within `limit`.
    pub(crate) async fn decide(&self, headers: &HeaderMap, limit: Duration) -> Decision {
        match self.authorization {
            Authorization::Locked => return Decision::Locked,
            Authorization::Open => return Decision::Granted,
            Authorization::Secret { .. } | Authorization::TokenDigests(_) => {}
        }
        let presented = Credential::of_headers(headers);
        let admits = |accepted: &Accepted| presented.as_ref().is_some_and(|it| accepted.admits(it));
        let mut accepted = self.accepted.lock().await;
        accepted.begin_scrape();
        if accepted.value().is_none() || accepted.is_due(Moment::now()) {
            self.fetch(&mut accepted, limit).await;
        }
        if presented.is_some() && !accepted.value().is_some_and(admits) {
            // It may be newer than the kept secret.
            self.fetch(&mut accepted, limit).await;
        }
        match accepted.value() {
            None => Decision::Unavailable,
            Some(accepted) if admits(accepted) => Decision::Granted,
            Some(accepted) => Decision::Refused { challenge: accepted.challenge() },
        }
    }

    /// Fetches the secret, unless that was tried just now. If the fetch fails, the earlier secret is kept.
    async fn fetch(&self, accepted: &mut Renewed<Accepted>, limit: Duration) {
        let (Authorization::Secret { id }, Some(service)) = (&self.authorization, &self.service) else {
            return;
        };
        if !accepted.may_fetch(Moment::now()) {
            return;
        }
        // The scrape needs the rest of the time. The minimum keeps a very short limit in the request from
        // making every fetch fail.
        let limit = match accepted.value() {
            Some(_) => (limit / 4).clamp(REFRESH_LIMIT / 8, REFRESH_LIMIT),
            None => (limit / 2).clamp(FETCH_LIMIT / 4, FETCH_LIMIT),
        };
        let fetched = accepted.fetch(async {
            let text = service.fetch(id, limit).await.map_err(|error| error.to_string())?;
            Accepted::of_secret(text.expose_secret())
                .map_err(|problems| format!("secret {id:?}: {}", problem::list(&problems)))
        });
        match (fetched.await, accepted.value()) {
            (Ok(_), _) => {}
            (Err(error), Some(_)) => tracing::warn!(error, "the authorization is not renewed"),
            (Err(error), None) => tracing::error!(error, "no authorization, so every scrape is refused"),
        }
    }
}

//! The source of a target: a secret, which is read each time, or the environment, which does not change. Also
//! the token that a login needs. This module keeps nothing; the scrape decides how long a target is used.

use std::borrow::Cow;
use std::time::Duration;

use aws_config::SdkConfig;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::aws;
use crate::rds_token::{TokenError, TokenSigner};
use crate::secret::{SecretError, SecretsManager};
use crate::settings::Source;
use crate::target::{Login, Parts, Problem, Target};

/// The source of a target, and how its role logs in.
#[derive(Debug)]
pub struct Credentials {
    place: Place,
    /// Set if the role logs in with a token.
    signer: Option<TokenSigner>,
}

#[derive(Debug)]
enum Place {
    /// A secret, completed by libpq's variables.
    Secret { service: SecretsManager, id: String, defaults: Parts },
    /// The environment.
    Environment(Target),
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret's text is not a target.
    #[error("secret {id}: {}", list(.problems))]
    Unusable {
        /// Its name or ARN.
        id: String,
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

impl Credentials {
    /// The credentials that the settings ask for. AWS is only used for a secret or a token, and the network
    /// is not used here. Fills `config` if it is empty.
    pub async fn new(source: Source, config: &OnceCell<SdkConfig>) -> Self {
        let signer = match source.is_by_token() {
            true => Some(TokenSigner::new(config.get_or_init(aws::config).await)),
            false => None,
        };
        let place = match source {
            Source::Environment(target) => Place::Environment(target),
            Source::Secret { id, defaults } => {
                let service = SecretsManager::new(config.get_or_init(aws::config).await);
                Place::Secret { service, id, defaults }
            }
        };
        Self { place, signer }
    }

    /// Whether the target is fetched, and so has an age.
    pub fn is_fetched(&self) -> bool {
        matches!(self.place, Place::Secret { .. })
    }

    /// The current target, within `limit`.
    ///
    /// # Errors
    /// [`CredentialsError`], whose text has no secrets.
    pub async fn fetch(&self, limit: Duration) -> Result<Target, CredentialsError> {
        match &self.place {
            Place::Environment(target) => Ok(target.clone()),
            Place::Secret { service, id, defaults } => {
                let text = service.fetch(id, limit).await?;
                Target::from_secret(text.expose_secret(), defaults)
                    .map_err(|problems| CredentialsError::Unusable { id: id.clone(), problems })
            }
        }
    }

    /// The target for one login, made within `limit`. If the role logs in with a token, a new token replaces
    /// the password. Do not keep the result.
    ///
    /// # Errors
    /// [`TokenError`], whose text has no secrets.
    pub async fn for_login<'a>(
        &self,
        target: &'a Target,
        limit: Duration,
    ) -> Result<Cow<'a, Target>, TokenError> {
        let (Login::IamToken, Some(signer)) = (&target.login, &self.signer) else {
            return Ok(Cow::Borrowed(target));
        };
        let token = signer.token(&target.host, target.port, &target.user, limit).await?;
        Ok(Cow::Owned(Target { login: Login::Password(Some(token)), ..target.clone() }))
    }
}

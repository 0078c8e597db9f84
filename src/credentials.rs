//! Where a target comes from: a secret, read anew each time, or the environment, which does not change.
//! It keeps nothing; how long a target is trusted is the scrape's business.

use std::time::Duration;

use aws_config::SdkConfig;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::aws;
use crate::secret::{SecretError, SecretsManager};
use crate::settings::Source;
use crate::target::{Parts, Problem, Target};

/// Where a target comes from.
#[derive(Debug)]
pub enum Credentials {
    /// A secret, completed by libpq's variables.
    Secret {
        /// The service that keeps it.
        service: SecretsManager,
        /// Its name or ARN.
        id: String,
        /// What libpq's variables say, for the parts that the secret does not have.
        defaults: Parts,
    },
    /// The environment.
    Environment(Target),
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret was read and is no target.
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
    /// The credentials that the settings ask for. Nothing of AWS is touched where they do not ask for a secret,
    /// and no network in any case. `config` is read here if nobody has read it yet.
    pub async fn new(source: Source, config: &OnceCell<SdkConfig>) -> Self {
        match source {
            Source::Environment(target) => Self::Environment(target),
            Source::Secret { id, defaults } => {
                let service = SecretsManager::new(config.get_or_init(aws::config).await);
                Self::Secret { service, id, defaults }
            }
        }
    }

    /// Whether the target is fetched, and so has an age.
    pub fn is_fetched(&self) -> bool {
        matches!(self, Self::Secret { .. })
    }

    /// The target as it is now, within `limit`.
    ///
    /// # Errors
    /// [`CredentialsError`], whose text has nothing secret in it.
    pub async fn fetch(&self, limit: Duration) -> Result<Target, CredentialsError> {
        match self {
            Self::Environment(target) => Ok(target.clone()),
            Self::Secret { service, id, defaults } => {
                let text = service.fetch(id, limit).await?;
                Target::from_secret(text.expose_secret(), defaults)
                    .map_err(|problems| CredentialsError::Unusable { id: id.clone(), problems })
            }
        }
    }
}

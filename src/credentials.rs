//! Where a target comes from: a secret, read anew each time, or the environment, which does not change; and what is
//! made anew for each login. It keeps nothing; how long a target is trusted is the scrape's business.

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

/// Where a target comes from, and how its role logs in.
#[derive(Debug)]
pub struct Credentials {
    place: Place,
    /// Where the role logs in by a token.
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
    /// The credentials that the settings ask for. Nothing of AWS is touched where they ask for neither a secret nor
    /// a token, and no network in any case. `config` is read here if nobody has read it yet.
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

    /// The target as it is now, within `limit`.
    ///
    /// # Errors
    /// [`CredentialsError`], whose text has nothing secret in it.
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

    /// The target as one login needs it: with a new token in place of the password where the role logs in by one,
    /// made within `limit`. It is not to be kept.
    ///
    /// # Errors
    /// [`TokenError`], whose text has nothing secret in it.
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

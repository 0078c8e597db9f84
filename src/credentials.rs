//! The source of a target: a secret, which is read each time, or the environment, which does not change. Also
//! the token that a login needs. This module keeps nothing; the scrape decides how long a target is used.

use std::borrow::Cow;
use std::time::Duration;

use aws_config::SdkConfig;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::aws;
use crate::connect_options::{Login, Target};
use crate::problem::{self, Problem};
use crate::rds_token::{TokenError, TokenSigner};
use crate::secret::{Failure, SecretError, SecretsManager};
use crate::settings::Source;

/// The source of a target, and how its role logs in.
#[derive(Debug)]
pub(crate) struct Credentials {
    source: Source,
    /// Set if the source is a secret.
    service: Option<SecretsManager>,
    /// Set if the role logs in with a token.
    signer: Option<TokenSigner>,
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret's text is not a target.
    #[error("secret {id}: {}", problem::list(.problems))]
    Unusable {
        /// Its name or ARN.
        id: String,
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
}

impl Credentials {
    /// The credentials that the settings ask for. AWS is only used for a secret or a token, and the network
    /// is not used here. Fills `config` if it is empty.
    pub(crate) async fn new(source: Source, config: &OnceCell<SdkConfig>) -> Self {
        let signer = match source.is_by_token() {
            true => Some(TokenSigner::new(config.get_or_init(aws::config).await)),
            false => None,
        };
        let service = match source {
            Source::Secret { .. } => Some(SecretsManager::new(config.get_or_init(aws::config).await)),
            Source::Environment(_) => None,
        };
        Self { source, service, signer }
    }

    /// Whether the target is fetched, and so has an age.
    pub(crate) fn is_fetched(&self) -> bool {
        matches!(self.source, Source::Secret { .. })
    }

    /// The current target, within `limit`.
    ///
    /// # Errors
    /// [`CredentialsError`], whose text has no secrets.
    pub(crate) async fn fetch(&self, limit: Duration) -> Result<Target, CredentialsError> {
        match &self.source {
            Source::Environment(target) => Ok(target.clone()),
            Source::Secret { id, defaults } => {
                let service = self.service.as_ref().ok_or(SecretError::new(id, Failure::Configuration))?;
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
    pub(crate) async fn for_login<'a>(
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

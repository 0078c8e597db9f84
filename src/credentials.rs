//! The source of a target: a secret, which is read each time, or a file or the environment, which do not change. Also
//! the token that a login needs. This module keeps nothing; the scrape decides how long a target is used.

use std::borrow::Cow;
use std::time::Duration;

use aws_config::SdkConfig;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use crate::aws;
use crate::connect_options::{Access, Login, Target};
use crate::problem::{self, Problem};
use crate::rds_token::{TokenError, TokenSigner};
use crate::secret::{Failure, ListedSecret, SecretError, SecretsManager};

/// How a target is found, and how its role logs in.
#[derive(Debug)]
pub(crate) struct Credentials {
    access: Access,
    services: Services,
}

/// The services of AWS that the targets use. Clones share their clients.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    /// Set if a target is in a secret.
    secrets: Option<SecretsManager>,
    /// Set if a role logs in with a token.
    signer: Option<TokenSigner>,
}

impl Services {
    /// The services that a source or a target uses. The network is not used here. Fills `config` if it is empty.
    pub(crate) async fn new(uses_secrets: bool, uses_tokens: bool, config: &OnceCell<SdkConfig>) -> Self {
        let mut services = Self { secrets: None, signer: None };
        if uses_secrets {
            services.secrets = Some(SecretsManager::new(config.get_or_init(aws::config).await));
        }
        if uses_tokens {
            services.signer = Some(TokenSigner::new(config.get_or_init(aws::config).await));
        }
        services
    }

    /// Lists secrets. See [`SecretsManager::list`].
    ///
    /// # Errors
    /// [`SecretError`]
    pub(crate) async fn list(
        &self,
        prefix: Option<&str>,
        tag: Option<(&str, &str)>,
        limit: Duration,
    ) -> Result<Vec<ListedSecret>, SecretError> {
        let service = self.secrets.as_ref().ok_or(SecretError::new("", Failure::Configuration))?;
        service.list(prefix, tag, limit).await
    }
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

impl CredentialsError {
    /// The reason, without the secret's name.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Secret(error) => error.reason(),
            Self::Unusable { problems, .. } => problem::list(problems),
        }
    }
}

impl Credentials {
    /// The credentials of a target, by these services.
    pub(crate) fn new(access: Access, services: Services) -> Self {
        Self { access, services }
    }

    /// The name or ARN of the secret that has the target.
    pub(crate) fn secret_id(&self) -> Option<&str> {
        match &self.access {
            Access::Secret { id, .. } => Some(id),
            Access::Known(_) => None,
        }
    }

    /// Whether the target is fetched, and so has an age.
    pub(crate) fn is_fetched(&self) -> bool {
        self.secret_id().is_some()
    }

    /// The current target, within `limit`.
    ///
    /// # Errors
    /// [`CredentialsError`], whose text has no secrets.
    pub(crate) async fn fetch(&self, limit: Duration) -> Result<Target, CredentialsError> {
        match &self.access {
            Access::Known(target) => Ok(target.clone()),
            Access::Secret { id, own, defaults } => {
                let service =
                    self.services.secrets.as_ref().ok_or(SecretError::new(id, Failure::Configuration))?;
                let text = service.fetch(id, limit).await?;
                Target::from_secret_with(text.expose_secret(), own, defaults)
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
        let (Login::IamToken, Some(signer)) = (&target.login, &self.services.signer) else {
            return Ok(Cow::Borrowed(target));
        };
        let token = signer.token(&target.host, target.port, &target.user, limit).await?;
        Ok(Cow::Owned(Target { login: Login::Password(Some(token)), ..target.clone() }))
    }
}

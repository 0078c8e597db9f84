//! Tokens of RDS IAM authentication, which replace a role's password (Amazon RDS User Guide, "IAM database
//! authentication for MariaDB, MySQL, and PostgreSQL"). A token is the URL of a request that is never sent:
//! it names the database's address, has an AWS Signature Version 4 in its query, and lacks the scheme.
//!
//! This module makes tokens. It does not decide when one is needed, nor how it reaches the server.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use tokio::time::timeout;

use crate::aws;
use crate::connect_options::Host;

const SERVICE: &str = "rds-db";
/// The maximum of RDS. It limits when a login may begin; a session outlives its token.
const LIFETIME: Duration = Duration::from_secs(900);
const SIGNATURE: &str = "X-Amz-Signature";
/// The characters that a query does not have to escape (RFC 3986, section 2.3), and that AWS requires
/// unescaped.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Makes tokens with the credentials of the AWS SDK.
#[derive(Debug, Clone)]
pub struct TokenSigner {
    credentials: Option<SharedCredentialsProvider>,
    region: Option<Region>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Neither the host's name nor the SDK has a region.
    #[error("no AWS region for an IAM token: the host's name has none; set AWS_REGION")]
    NoRegion,
    /// No credentials were found, or their provider failed.
    #[error("no usable AWS credentials for an IAM token: {0}")]
    NoCredentials(String),
    /// The credentials' provider did not answer in time.
    #[error("no AWS credentials for an IAM token in time")]
    TimedOut,
    /// The host cannot be part of a URL.
    #[error("no IAM token can be made for this host: {0}")]
    Unsignable(String),
}

impl TokenSigner {
    /// Takes credentials and region from `config`. Uses no network.
    pub fn new(config: &SdkConfig) -> Self {
        Self { credentials: config.credentials_provider(), region: config.region().cloned() }
    }

    /// A token that lets `user` log in at `host` and `port` for 15 minutes, made within `limit`. The region
    /// is the one in the host's name, otherwise the SDK's.
    ///
    /// # Errors
    /// [`TokenError`], whose text has no secrets.
    pub async fn token(
        &self,
        host: &Host,
        port: u16,
        user: &str,
        limit: Duration,
    ) -> Result<SecretString, TokenError> {
        let region = host.rds_region().or(self.region.as_ref().map(Region::as_ref));
        let region = region.ok_or(TokenError::NoRegion)?;
        let Host::Tcp(name) = host else {
            return Err(TokenError::Unsignable("it is a Unix socket".to_owned()));
        };
        let Some(provider) = &self.credentials else {
            return Err(TokenError::NoCredentials("the SDK has no source of them".to_owned()));
        };
        let credentials = timeout(limit, aws::without_panic(provider.provide_credentials()))
            .await
            .map_err(|_| TokenError::TimedOut)?
            .ok_or_else(|| TokenError::NoCredentials("the SDK cannot use the AWS profile".to_owned()))?
            .map_err(|error| TokenError::NoCredentials(aws::in_one_line(&error)))?;
        signed(&credentials, region, name, port, user, SystemTime::now())
    }
}

/// The token of these credentials at `time`, byte for byte as the AWS SDKs make it.
///
/// # Errors
/// [`TokenError::Unsignable`]
pub fn signed(
    credentials: &Credentials,
    region: &str,
    host: &str,
    port: u16,
    user: &str,
    time: SystemTime,
) -> Result<SecretString, TokenError> {
    let unsignable = |error: &(dyn Error + 'static)| TokenError::Unsignable(aws::in_one_line(error));
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFETIME);
    let identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SERVICE)
        .time(time)
        .settings(settings)
        .build()
        .map_err(|error| unsignable(&error))?
        .into();

    let query = format!("/?Action=connect&DBUser={}", utf8_percent_encode(user, UNRESERVED));
    // Names are signed in lower case.
    let url = format!("https://{}:{port}{query}", host.to_ascii_lowercase());
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::empty());
    let request = request.map_err(|error| unsignable(&error))?;
    let (instructions, signature) = sign(request, &params).map_err(|error| unsignable(&error))?.into_parts();

    let mut token = format!("{host}:{port}{query}");
    // Other SDKs put the signature last, after a session token.
    let others = instructions.params().iter().filter(|(name, _)| *name != SIGNATURE);
    let others = others.map(|(name, value)| (*name, value.as_ref()));
    for (name, value) in others.chain([(SIGNATURE, signature.as_str())]) {
        token += &format!("&{name}={}", utf8_percent_encode(value, UNRESERVED));
    }
    Ok(token.into())
}

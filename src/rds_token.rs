//! Tokens of RDS IAM authentication, which stand in for a role's password (Amazon RDS User Guide, "IAM database
//! authentication for MariaDB, MySQL, and PostgreSQL"). A token is the URL of a request that nobody sends: to the
//! database's address, signed by AWS Signature Version 4 with its signature in the query, without its scheme.
//!
//! It knows how a token is made, and neither when one is needed nor what carries it to the server.

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

use crate::target::Host;

const SERVICE: &str = "rds-db";
/// The longest that RDS allows. It bounds when a login may begin; a session lives on.
const LIFETIME: Duration = Duration::from_secs(900);
const SIGNATURE: &str = "X-Amz-Signature";
/// What may stand in a query as it is (RFC 3986, section 2.3), and AWS demands to stand so.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Makes tokens with the credentials that the AWS SDK finds.
#[derive(Debug, Clone)]
pub struct TokenSigner {
    credentials: Option<SharedCredentialsProvider>,
    region: Option<Region>,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Neither the host's name nor the SDK knows a region.
    #[error("no AWS region for an IAM token: the host's name has none; set AWS_REGION")]
    NoRegion,
    /// None were found, or those who give them failed.
    #[error("no usable AWS credentials for an IAM token: {0}")]
    NoCredentials(String),
    /// Those who give credentials did not answer in time.
    #[error("no AWS credentials for an IAM token in time")]
    TimedOut,
    /// The host cannot stand in a URL.
    #[error("no IAM token can be made for this host: {0}")]
    Unsignable(String),
}

impl TokenSigner {
    /// Credentials and region of `config`. Uses no network.
    pub fn new(config: &SdkConfig) -> Self {
        Self { credentials: config.credentials_provider(), region: config.region().cloned() }
    }

    /// A new token that lets `user` in at `host` and `port` for the next 15 minutes, made within `limit`. The region
    /// is the one that the host's name has, else the SDK's.
    ///
    /// # Errors
    /// [`TokenError`], whose text has nothing secret in it.
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
        let credentials = timeout(limit, provider.provide_credentials())
            .await
            .map_err(|_| TokenError::TimedOut)?
            .map_err(|error| TokenError::NoCredentials(chain(&error)))?;
        signed(&credentials, region, name, port, user, SystemTime::now())
    }
}

/// The token that these credentials give at `time`: byte for byte the AWS SDKs' own.
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
    let unsignable = |error: &(dyn Error + 'static)| TokenError::Unsignable(chain(error));
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
    // Names are signed in lower case, whatever the case in which they are written.
    let url = format!("https://{}:{port}{query}", host.to_ascii_lowercase());
    let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::empty());
    let request = request.map_err(|error| unsignable(&error))?;
    let (instructions, signature) = sign(request, &params).map_err(|error| unsignable(&error))?.into_parts();

    let mut token = format!("{host}:{port}{query}");
    // The signature stands last in what other SDKs make, also behind a session token.
    let others = instructions.params().iter().filter(|(name, _)| *name != SIGNATURE);
    let others = others.map(|(name, value)| (*name, value.as_ref()));
    for (name, value) in others.chain([(SIGNATURE, signature.as_str())]) {
        token += &format!("&{name}={}", utf8_percent_encode(value, UNRESERVED));
    }
    Ok(token.into())
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

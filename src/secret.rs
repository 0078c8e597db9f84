//! Reads secrets from AWS Secrets Manager within a time limit. This module knows the service and its errors.
//! It neither parses nor keeps secrets.

mod error;
mod list;

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use secrecy::SecretString;
use tokio::time::timeout;

use crate::aws;
pub use error::{Failure, SecretError};
pub(crate) use list::ListedSecret;

/// A service in the same region accepts a connection within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The SDK waits up to 1 s before its first retry and up to 20 s before later ones. A whole scrape has about
/// 10 s.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A client of Secrets Manager.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: Client,
    has_region: bool,
}

impl SecretsManager {
    /// Takes region, credentials, endpoint, number of retries and HTTP client from `config`. Timeouts and
    /// pauses between retries are the exporter's. Uses no network: credentials are resolved by the first
    /// fetch.
    pub fn new(config: &SdkConfig) -> Self {
        let retries = config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let own = aws_sdk_secretsmanager::config::Builder::from(config)
            .http_client(config.http_client().unwrap_or_else(aws::http_client))
            .timeout_config(timeouts)
            .retry_config(retries.with_initial_backoff(FIRST_BACKOFF).with_max_backoff(LONGEST_BACKOFF))
            .build();
        // The SDK accepts an empty variable as a region.
        let has_region = config.region().is_some_and(|region| !region.as_ref().is_empty());
        Self { client: Client::from_conf(own), has_region }
    }

    /// The current text of the secret with this name or ARN, stored as a string or as bytes. Returns within
    /// `limit`, retries included.
    ///
    /// # Errors
    /// [`SecretError::failure`] has the kind of error.
    pub async fn fetch(&self, id: &str, limit: Duration) -> Result<SecretString, SecretError> {
        if !self.has_region {
            return Err(SecretError::new(id, Failure::NoRegion));
        }
        let request = self.client.get_secret_value().secret_id(id);
        match timeout(limit, aws::without_panic(request.send())).await {
            Ok(Some(Ok(output))) => text(output).map_err(|failure| SecretError::new(id, failure)),
            Ok(Some(Err(error))) => Err(SecretError::of_sdk(id, &error)),
            Ok(None) => Err(SecretError::new(id, Failure::Configuration)),
            Err(_) => Err(SecretError::new(id, Failure::TimedOut)),
        }
    }
}

fn text(output: GetSecretValueOutput) -> Result<SecretString, Failure> {
    let text = match (output.secret_string, output.secret_binary) {
        (Some(text), _) => text,
        (None, Some(bytes)) => {
            String::from_utf8(bytes.into_inner()).map_err(|_| Failure::Unusable("its bytes are not UTF-8"))?
        }
        (None, None) => return Err(Failure::Unusable("the answer holds neither a string nor bytes")),
    };
    if text.is_empty() { Err(Failure::Unusable("it is empty")) } else { Ok(text.into()) }
}

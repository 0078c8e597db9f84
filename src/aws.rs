//! The configuration of the AWS SDK, from the environment and from profiles: region, credentials, endpoint,
//! HTTP client. It is read once for all parts that use AWS.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_secretsmanager::config::SharedHttpClient;

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use futures_util::FutureExt;
use http_body_util::{LengthLimitError, Limited};

/// The most that an answer may have, in bytes, of Secrets Manager and of those who give credentials. A secret has 64 KiB
/// at most, and JSON may take six bytes for one.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Region, credentials, endpoint and retries as the SDK finds them in the environment and in profiles. EC2's
/// metadata service is not asked for a region. Uses no network: credentials are resolved on first use.
///
/// The variables must have been checked by `settings`.
pub async fn config() -> SdkConfig {
    match without_panic(loader().load()).await {
        Some(config) => config,
        None => {
            tracing::warn!("max_attempts or retry_mode of the AWS profile cannot be used; both are ignored");
            loader().retry_config(RetryConfig::standard()).load().await
        }
    }
}

fn loader() -> ConfigLoader {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(http_client())
}

/// The result of the SDK, or `None` if it panics, as it does on some invalid values in a profile.
pub async fn without_panic<T>(sdk: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(sdk).catch_unwind().await.map_err(|_: Box<dyn Any + Send>| ()).ok()
}

/// The client of every request to AWS. No answer is larger than [`ANSWER_BYTES_MAX`].
pub fn http_client() -> SharedHttpClient {
    // Fetches are rare. After a freeze, a kept connection may be dead, and only a timeout would show it.
    let builder = Builder::new().pool_max_idle_per_host(0);
    SharedHttpClient::new(LimitedClient(
        builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https(),
    ))
}

/// Whether an answer was larger than [`ANSWER_BYTES_MAX`].
pub fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|cause| cause.is::<LengthLimitError>())
}

/// A client whose answers are limited. All else is the client's own.
#[derive(Debug)]
struct LimitedClient(SharedHttpClient);

impl HttpClient for LimitedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(LimitedConnector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[derive(Debug)]
struct LimitedConnector(SharedHttpConnector);

impl HttpConnector for LimitedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async {
            let mut answer = answer.await?;
            let body = Limited::new(answer.take_body(), ANSWER_BYTES_MAX);
            *answer.body_mut() = SdkBody::from_body_1_x(body);
            Ok(answer)
        })
    }
}

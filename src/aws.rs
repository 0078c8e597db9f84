//! The configuration of the AWS SDK, from the environment and from profiles: region, credentials, endpoint,
//! HTTP client. It is read once for all parts that use AWS.

use std::any::Any;
use std::error::Error;
use std::io;
use std::panic::AssertUnwindSafe;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_secretsmanager::config::SharedHttpClient;

use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
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
use rustls::CertificateError;

/// The most that an answer may have, in bytes, of Secrets Manager and of those who give credentials. A secret has 64 KiB
/// at most, and JSON may take six bytes for one.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Region, credentials, endpoint and retries as the SDK finds them in the environment and in profiles. EC2's
/// metadata service is not asked for a region. Uses no network: credentials are resolved on first use.
///
/// The variables must have been checked by `settings`.
pub(crate) async fn config() -> SdkConfig {
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
pub(crate) async fn without_panic<T>(sdk: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(sdk).catch_unwind().await.map_err(|_: Box<dyn Any + Send>| ()).ok()
}

/// Amazon's own authorities, which issue the certificates of its services.
const AMAZON_ROOTS: &[u8] = include_bytes!("../packaging/amazon-roots.pem");

/// The client of every request to AWS. No answer is larger than [`ANSWER_BYTES_MAX`].
///
/// It trusts Amazon's authorities and the platform's. The platform's are only read if a certificate needs them, which
/// takes about 2 ms of a cold start.
pub(crate) fn http_client() -> SharedHttpClient {
    let amazon = TrustStore::empty().with_pem_certificate(AMAZON_ROOTS);
    let platform = https_client(TlsContext::default());
    let amazon = TlsContext::builder().with_trust_store(amazon).build().map(https_client);
    SharedHttpClient::new(Client { amazon: amazon.unwrap_or_else(|_| platform.clone()), platform })
}

fn https_client(context: TlsContext) -> SharedHttpClient {
    // Fetches are rare. After a freeze, a kept connection may be dead, and only a timeout would show it.
    let builder = Builder::new().pool_max_idle_per_host(0);
    builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https()
}

/// Whether an answer was larger than [`ANSWER_BYTES_MAX`].
pub(crate) fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<LengthLimitError>())
}

/// An error and its causes. `source` of an `io::Error` skips the error inside it.
pub(crate) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as _),
        None => error.source(),
    })
}

/// An error and its causes in one line of a log.
pub(crate) fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    one_line(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// A text without line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[derive(Debug)]
struct Client {
    amazon: SharedHttpClient,
    platform: SharedHttpClient,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(ClientConnector {
            amazon: self.amazon.http_connector(settings, components),
            platform: self.platform.clone(),
            settings: settings.clone(),
            components: components.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.amazon.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.amazon.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.amazon.connector_metadata()
    }
}

#[derive(Debug, Clone)]
struct ClientConnector {
    amazon: SharedHttpConnector,
    platform: SharedHttpClient,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for ClientConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let again = request.try_clone();
        let answer = self.amazon.call(request);
        let connector = self.clone();
        HttpConnectorFuture::new(async move {
            let answer = match (answer.await, again) {
                (Err(error), Some(request)) if is_unknown_issuer(&error) => {
                    let platform =
                        connector.platform.http_connector(&connector.settings, &connector.components);
                    platform.call(request).await
                }
                (answer, _) => answer,
            };
            let mut answer = answer?;
            let body = Limited::new(answer.take_body(), ANSWER_BYTES_MAX);
            *answer.body_mut() = SdkBody::from_body_1_x(body);
            Ok(answer)
        })
    }
}

fn is_unknown_issuer(error: &(dyn Error + 'static)) -> bool {
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    causes(error).any(|cause| cause.downcast_ref() == Some(&unknown))
}

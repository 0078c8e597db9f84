//! The configuration of the AWS SDK, from the environment and from profiles: region, credentials, endpoint,
//! HTTP client. It is read once for all parts that use AWS.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_secretsmanager::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};

/// Region, credentials, endpoint and retries as the SDK finds them in the environment and in profiles. EC2's
/// metadata service is not asked for a region. Uses no network: credentials are resolved on first use.
pub async fn config() -> SdkConfig {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
    loader.http_client(http_client()).load().await
}

/// The client of every request to AWS.
pub fn http_client() -> SharedHttpClient {
    // Fetches are rare. After a freeze, a kept connection may be dead, and only a timeout would show it.
    let builder = Builder::new().pool_max_idle_per_host(0);
    builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
}

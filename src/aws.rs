//! What the AWS SDK is told, and finds in the environment and in profiles: region, credentials, endpoint, HTTP client.
//! It is read once, and serves every part that needs something of AWS.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_secretsmanager::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};

/// Region, credentials, endpoint and retries as the SDK finds them in the environment and in profiles, except that
/// the region is not asked of EC2's metadata service. Uses no network: credentials are sought when they are needed.
pub async fn config() -> SdkConfig {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
    loader.http_client(http_client()).load().await
}

/// The client of every request to AWS.
pub fn http_client() -> SharedHttpClient {
    // Fetches are rare, and a process that was frozen in between would find a kept connection dead only by
    // waiting for an answer on it.
    let builder = Builder::new().pool_max_idle_per_host(0);
    builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
}

//! One HTTP request to a server other than AWS, by the AWS SDK's client: the same TLS stack, and the platform's
//! authorities or those of `SSL_CERT_FILE`.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lambda_http::http::{Request, Response, Uri};

use crate::aws;

/// Why there is no complete response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The time limit was reached.
    #[error("timed out")]
    TimedOut,
    /// The host, or the proxy, has no address.
    #[error("{0:?} has no address")]
    Unresolvable(String),
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The connection ended in the middle of the body.
    #[error("the response is incomplete")]
    CutOff,
    /// The body is larger than the limit.
    #[error("the response is too large")]
    TooLarge,
    /// Any other error.
    #[error("{0}")]
    Other(String),
}

/// The limits of a response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// From resolving the name to the last byte of the body.
    pub(crate) time: Duration,
    /// The size of the body as it is received.
    pub(crate) bytes: usize,
}

/// Sends a request to the absolute URL in it. Does not follow redirects. Uses the proxy of `HTTPS_PROXY`, `HTTP_PROXY` or
/// `ALL_PROXY`, unless `NO_PROXY` excludes the host or the host is this machine.
///
/// # Errors
/// There is no complete response within the limits.
pub(crate) async fn send(request: Request<Vec<u8>>, limits: Limits) -> Result<Response<Vec<u8>>, Failure> {
    tokio::time::timeout(limits.time, exchange(request, limits.bytes)).await.map_err(|_| Failure::TimedOut)?
}

async fn exchange(request: Request<Vec<u8>>, bytes_max: usize) -> Result<Response<Vec<u8>>, Failure> {
    let proxy = match is_this_machine(request.uri()) {
        true => ProxyConfig::disabled(),
        false => ProxyConfig::from_env(),
    };
    let connector = Connector::builder()
        .proxy_config(proxy)
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .build_with_resolver(Resolver);
    let other = |error: &dyn Error| Failure::Other(error.to_string());
    let request = HttpRequest::try_from(request.map(SdkBody::from)).map_err(|error| other(&error))?;
    let response = connector.call(request).await.map_err(|error| Failure::of(&error))?;
    let response = response.try_into_http1x().map_err(|error| other(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, bytes_max).collect().await;
    let body =
        body.map_err(|error| match aws::causes(&*error).any(|cause| cause.is::<LengthLimitError>()) {
            true => Failure::TooLarge,
            false => Failure::CutOff,
        })?;
    Ok(Response::from_parts(head, body.to_bytes().into()))
}

/// Whether the URL's host is this machine: loopback, or a name under `localhost` (RFC 6761, section 6.3).
pub(crate) fn is_this_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback()) || is_localhost(host)
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The system's resolver. Many systems do not know the names under `localhost`.
#[derive(Debug, Clone, Copy)]
struct Resolver;

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            if is_localhost(name) {
                return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
            }
            match tokio::net::lookup_host((name, 0)).await {
                Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
                Err(_) => Err(ResolveDnsError::new(Failure::Unresolvable(name.to_owned()))),
            }
        })
    }
}

impl Failure {
    fn of(error: &(dyn Error + 'static)) -> Self {
        for cause in aws::causes(error) {
            if let Some(Self::Unresolvable(name)) = cause.downcast_ref() {
                return Self::Unresolvable(name.clone());
            }
            if let Some(error) = cause.downcast_ref::<rustls::Error>() {
                return Self::Tls(error.to_string());
            }
            if cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::ConnectionRefused) {
                return Self::Refused;
            }
        }
        Self::Other(aws::causes(error).last().unwrap_or(error).to_string())
    }
}

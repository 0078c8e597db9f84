//! TLS to the server, by rustls with ring: the requirements of libpq's modes, and the trusted authorities.
//!
//! | mode | without TLS on the server | certificate |
//! |---|---|---|
//! | `disable` | plain | – |
//! | `prefer` | plain | not looked at |
//! | `require` | refused | not looked at; with root certificates as `verify-ca` (libpq's rule) |
//! | `verify-ca` | refused | must lead to a trusted authority |
//! | `verify-full` | refused | that, and must bear the host's name or address |
//!
//! Trusted are the platform's authorities and those of Amazon RDS, or those of a file (`authorities`).
//!
//! As in libpq, a Unix socket has no TLS in any mode, and a self-signed certificate that is in `sslrootcert` is trusted.
//! Names are those in the subject alternative names. Unlike libpq, rustls does not fall back to the common name.

mod authorities;
mod verifier;

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, OtherError};
use tokio_postgres::config::SslMode as DriverMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::ConnectError;
use super::socket::Socket;
use crate::connect_options::{Host, RootCertificates, SslMode, Target};
use verifier::{Verification, Verifier};

/// The protection of a connection and of its cancel requests.
#[derive(Clone)]
pub(super) struct Encryption {
    mode: DriverMode,
    tls: Option<MakeRustlsConnect>,
    server_name: String,
    /// A hint for a certificate of an unknown authority.
    advice: String,
}

impl Encryption {
    /// Reads root certificates if the mode needs them.
    pub(super) fn new(target: &Target) -> Result<Self, ConnectError> {
        let mode = match (&target.host, target.tls.mode) {
            (Host::Socket(_), _) | (_, SslMode::Disable) => DriverMode::Disable,
            (_, SslMode::Prefer) => DriverMode::Prefer,
            (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => DriverMode::Require,
        };
        let server_name = super::server_name(&target.host).to_owned();
        if mode == DriverMode::Disable {
            return Ok(Self { mode, tls: None, server_name, advice: String::new() });
        }
        let (verification, advice) = match (target.tls.mode, &target.tls.root_certificates) {
            (SslMode::VerifyFull, _) => {
                let (trusted, advice) = authorities::of(target)?;
                (Verification::AuthorityAndName(trusted), advice)
            }
            (SslMode::VerifyCa, _) | (SslMode::Require, RootCertificates::File(_)) => {
                let (trusted, advice) = authorities::of(target)?;
                (Verification::Authority(trusted), advice)
            }
            (SslMode::Require | SslMode::Prefer | SslMode::Disable, _) => {
                (Verification::Nothing, String::new())
            }
        };
        let tls = Some(MakeRustlsConnect::new(client_config(verification)?));
        Ok(Self { mode, tls, server_name, advice })
    }

    /// Why a login failed, and what to do about a certificate that is refused.
    pub(super) fn explain(&self, error: &tokio_postgres::Error) -> ConnectError {
        match (ConnectError::of_login(error), tls_error(error)) {
            (ConnectError::Tls(said), Some(error)) => ConnectError::Tls(reason(error, said, &self.advice)),
            (other, _) => other,
        }
    }

    pub(super) fn mode(&self) -> DriverMode {
        self.mode
    }

    /// The connector for the handshake, or `None` without TLS.
    pub(super) fn connector(
        &self,
    ) -> Option<impl TlsConnect<Socket, Stream: Send + 'static, Future: Send + 'static> + use<>> {
        let mut tls = self.tls.clone()?;
        let Ok(connector) = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, &self.server_name);
        Some(connector)
    }
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption").field("mode", &self.mode).finish_non_exhaustive()
    }
}

fn client_config(verification: Verification) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier { verification, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| ConnectError::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn tls_error(error: &tokio_postgres::Error) -> Option<&Error> {
    std::iter::successors(error.source(), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}

/// The reason that is logged: `said` with what to do behind it, or a sentence where rustls only has a name for it.
fn reason(error: &Error, said: String, advice: &str) -> String {
    use CertificateError as Refused;
    match error {
        Error::InvalidCertificate(Refused::UnknownIssuer) => format!("{said}: {advice}"),
        Error::InvalidCertificate(Refused::NotValidForNameContext { presented, .. })
            if presented.is_empty() =>
        {
            format!("{said}; a common name is ignored: issue a certificate with subjectAltName")
        }
        Error::InvalidCertificate(
            Refused::UnsupportedSignatureAlgorithmContext { .. }
            | Refused::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => "the server's certificate, or one of its authorities, has a key or a signature that is not supported, \
              such as P-521 or SHA-1; issue it with RSA or P-256 and SHA-256"
            .to_owned(),
        Error::InvalidCertificate(Refused::Other(OtherError(error))) => match error.downcast_ref() {
            Some(webpki::Error::UnsupportedCertVersion) => {
                "the server's certificate has X.509 version 1 or 2, which cannot be verified; issue one of version 3 \
                 with subjectAltName"
            }
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "the server's certificate is that of an authority (CA:TRUE); if it is self-signed, name its file in \
                 PGSSLROOTCERT, else issue one with CA:FALSE"
            }
            Some(webpki::Error::UnsupportedCriticalExtension) => {
                "the server's certificate has a critical extension that is not supported; issue one without it"
            }
            _ => return said,
        }
        .to_owned(),
        // The server has no certificate with a key of these kinds.
        Error::AlertReceived(AlertDescription::HandshakeFailure) => format!(
            "{said}: the server supports no key that is supported here, which are RSA, P-256, P-384 and Ed25519; \
             a certificate with a P-521 or RSA-PSS key is not"
        ),
        _ => said,
    }
}

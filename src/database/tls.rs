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
//! As in libpq, a Unix socket has no TLS in any mode. Names are those in the subject alternative names.
//! Unlike libpq, rustls does not fall back to the common name.

mod authorities;

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode as DriverMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::ConnectError;
use super::socket::Socket;
use crate::connect_options::{Host, RootCertificates, SslMode, Target};
use authorities::Trusted;

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
                let Trusted { roots, advice } = authorities::of(target)?;
                (Verification::AuthorityAndName(roots), advice)
            }
            (SslMode::VerifyCa, _) | (SslMode::Require, RootCertificates::File(_)) => {
                let Trusted { roots, advice } = authorities::of(target)?;
                (Verification::Authority(roots), advice)
            }
            (SslMode::Require | SslMode::Prefer | SslMode::Disable, _) => {
                (Verification::Nothing, String::new())
            }
        };
        let tls = Some(MakeRustlsConnect::new(client_config(verification)?));
        Ok(Self { mode, tls, server_name, advice })
    }

    /// Why a login failed. If the certificate's authority is not trusted, the reason names the trusted ones.
    pub(super) fn explain(&self, error: &tokio_postgres::Error) -> ConnectError {
        match ConnectError::of_login(error) {
            ConnectError::Tls(reason) if is_unknown_authority(error) => {
                ConnectError::Tls(format!("{reason}: {}", self.advice))
            }
            other => other,
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

/// The verified parts of a certificate.
enum Verification {
    Nothing,
    Authority(RootCertStore),
    AuthorityAndName(RootCertStore),
}

fn client_config(verification: Verification) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match verification {
        Verification::Nothing => Arc::new(Unnamed { roots: None, provider: Arc::clone(&provider) }),
        Verification::Authority(roots) => {
            Arc::new(Unnamed { roots: Some(roots), provider: Arc::clone(&provider) })
        }
        Verification::AuthorityAndName(roots) => {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| ConnectError::RootCertificates(error.to_string()))?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| ConnectError::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

/// Whether the server's certificate was issued by an authority that is not trusted.
fn is_unknown_authority(error: &tokio_postgres::Error) -> bool {
    std::iter::successors(error.source(), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>())
        .any(|error| matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

/// Checks the certificate's chain if there are roots, and never the name. The handshake's signatures are
/// always checked: they prove that the server has the certificate's key.
#[derive(Debug)]
struct Unnamed {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unnamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

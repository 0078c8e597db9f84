//! Server certificates that libpq accepts and rustls alone does not: of version 1, and self-signed. Also the reasons that
//! are logged for those that stay refused. rcgen makes none of them, so they are made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pg_lambda_exporter::connect_options::{ChannelBinding, RootCertificates, SslMode, Target, Tls};
use pg_lambda_exporter::database::Connection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::postgres::{Server, TestDatabase};

const LIMIT: Duration = Duration::from_secs(30);
const P256: &str = "EC -pkeyopt ec_paramgen_curve:P-256";
const LOCALHOST: &str = "subjectAltName=DNS:localhost";

/// A certificate and its key as PEM files.
pub(crate) struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    /// Self-signed and of version 3, with this key and these extensions besides those of an authority.
    pub(crate) fn self_signed(name: &str, key: &str, extensions: &[&str], days: i32) -> Self {
        let certificate = Self::with_key(key);
        let added = extensions.iter().map(|extension| format!("{extension}\n")).collect::<String>();
        std::fs::write(certificate.path("extensions"), format!("basicConstraints=critical,CA:TRUE\n{added}"))
            .unwrap();
        certificate.request(name);
        certificate.openssl(&format!(
            "x509 -req -in request -signkey key -days {days} -extfile extensions -out certificate"
        ));
        certificate
    }

    /// Of version 1, as openssl makes it where no extensions are given, issued by itself or by `authority`.
    pub(crate) fn version_1(authority: Option<&Self>) -> Self {
        let certificate = Self::with_key(P256);
        certificate.request("localhost");
        let issuer = match authority {
            None => "-signkey key".to_owned(),
            Some(authority) => format!(
                "-CA {} -CAkey {} -CAcreateserial",
                authority.file().display(),
                authority.path("key").display()
            ),
        };
        certificate.openssl(&format!("x509 -req -in request {issuer} -days 30 -out certificate"));
        certificate
    }

    fn with_key(key: &str) -> Self {
        let certificate = Self { folder: tempfile::tempdir().unwrap() };
        certificate.openssl(&format!("genpkey -algorithm {key} -out key"));
        certificate
    }

    fn request(&self, name: &str) {
        self.openssl(&format!("req -new -key key -subj /CN={name} -out request"));
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The certificate's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("certificate")
    }

    /// Makes the server present it in new sessions.
    pub(crate) fn present_at(&self, server: &Server) {
        let read = |file| std::fs::read_to_string(self.path(file)).unwrap();
        server.present_pem(&read("certificate"), &read("key"));
        server.reload();
    }
}

/// `ok`, or the reason why connecting failed.
async fn outcome(database: &TestDatabase, mode: SslMode, roots: Option<&Path>) -> String {
    // Bound to the certificate, so what the client takes for the certificate is what the server presented.
    let channel_binding = ChannelBinding::Require;
    let root_certificates =
        roots.map_or(RootCertificates::Platform, |file| RootCertificates::File(file.into()));
    let tls = Tls { mode, root_certificates, channel_binding };
    match Connection::open(&Target { tls, ..database.target() }, LIMIT).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_certificate_of_version_1_serves_where_nothing_is_verified() {
    let server = Server::private();
    let database = server.database("db");
    let authority = Certificate::self_signed("authority", P256, &[], 30);
    let refused = "TLS: the server's certificate has X.509 version 1 or 2, which cannot be verified; issue one of \
                   version 3 with subjectAltName";
    for version in ["TLSv1.2", "TLSv1.3"] {
        server.set(&format!("ssl_max_protocol_version = '{version}'"));
        for certificate in [Certificate::version_1(None), Certificate::version_1(Some(&authority))] {
            certificate.present_at(&server);
            for mode in [SslMode::Prefer, SslMode::Require] {
                assert_eq!(outcome(&database, mode, None).await, "ok", "{version} {mode:?}");
            }
            let authority = authority.file();
            for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
                assert_eq!(outcome(&database, mode, Some(&authority)).await, refused, "{version} {mode:?}");
            }
        }
    }
    let own = Certificate::version_1(None);
    own.present_at(&server);
    assert_eq!(outcome(&database, SslMode::VerifyCa, Some(&own.file())).await, "ok");
    assert_eq!(outcome(&database, SslMode::VerifyFull, Some(&own.file())).await, refused);
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_if_it_is_the_root_certificate() {
    let server = Server::private();
    let database = server.database("db");
    let own = Certificate::self_signed("localhost", P256, &[LOCALHOST], 30);
    own.present_at(&server);
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        assert_eq!(outcome(&database, mode, Some(&own.file())).await, "ok", "{mode:?}");
    }
    // The same names with another key.
    let twin = Certificate::self_signed("localhost", P256, &[LOCALHOST], 30);
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let refused = outcome(&database, mode, Some(&twin.file())).await;
        assert!(refused.starts_with("TLS: the server's certificate is that of an authority"), "{refused}");
    }

    let expired = Certificate::self_signed("localhost", P256, &[LOCALHOST], -1);
    expired.present_at(&server);
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        let refused = outcome(&database, mode, Some(&expired.file())).await;
        assert!(refused.starts_with("TLS: invalid peer certificate: certificate expired"), "{refused}");
    }

    let other = Certificate::self_signed("localhost", P256, &["subjectAltName=DNS:elsewhere.example"], 30);
    other.present_at(&server);
    assert_eq!(outcome(&database, SslMode::VerifyCa, Some(&other.file())).await, "ok");
    let refused = outcome(&database, SslMode::VerifyFull, Some(&other.file())).await;
    assert!(
        refused.starts_with("TLS: invalid peer certificate: certificate not valid for name"),
        "{refused}"
    );

    let nameless = Certificate::self_signed("localhost", P256, &[], 30);
    nameless.present_at(&server);
    assert_eq!(outcome(&database, SslMode::VerifyCa, Some(&nameless.file())).await, "ok");
    let refused = outcome(&database, SslMode::VerifyFull, Some(&nameless.file())).await;
    assert!(
        refused.ends_with("a common name is ignored: issue a certificate with subjectAltName"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_extension_that_is_not_known_does_not_matter_where_nothing_is_verified() {
    let server = Server::private();
    let database = server.database("db");
    let critical = ["1.2.3.4.5=critical,ASN1:NULL", LOCALHOST];
    let certificate = Certificate::self_signed("localhost", P256, &critical, 30);
    certificate.present_at(&server);
    assert_eq!(outcome(&database, SslMode::Prefer, None).await, "ok");
    assert_eq!(outcome(&database, SslMode::Require, None).await, "ok");
}

/// A server's side of TLS, which signs with a key that need not be the certificate's.
fn acceptor(
    certificate: &Certificate,
    key: &Certificate,
    version: &'static SupportedProtocolVersion,
) -> TlsAcceptor {
    let provider = rustls::crypto::ring::default_provider();
    let chain = vec![CertificateDer::from_pem_file(certificate.file()).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key.path("key")).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_server_without_the_key_of_its_certificate_is_refused() {
    let database = Server::shared().database("certificates_key");
    let [own, other] = [Certificate::version_1(None), Certificate::version_1(None)];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (key, refusal) in [
            (&own, "the connection was lost during the login: closed by the server"),
            (&other, "TLS: invalid peer certificate: BadSignature"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let acceptor = acceptor(&own, key, version);
            let server = tokio::spawn(async move {
                let (mut client, _) = listener.accept().await.unwrap();
                client.read_exact(&mut [0; 8]).await.unwrap();
                client.write_all(b"S").await.unwrap();
                // It takes the first message of the login and closes.
                if let Ok(mut client) = acceptor.accept(client).await {
                    let _ = client.read(&mut [0; 1024]).await;
                    let _ = client.shutdown().await;
                }
            });
            let tls = Tls {
                mode: SslMode::Require,
                root_certificates: RootCertificates::Platform,
                channel_binding: ChannelBinding::Prefer,
            };
            let target = Target { port, tls, ..database.target() };
            let error = Connection::open(&target, LIMIT).await.map(drop).unwrap_err().to_string();
            assert_eq!(error, refusal, "{version:?}");
            server.await.unwrap();
        }
    }
}

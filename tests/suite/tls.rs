//! TLS to real servers: what each of libpq's modes demands, and what a man in the middle gets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pg_lambda_exporter::connect_options::{ChannelBinding, Host, RootCertificates, SslMode, Target, Tls};
use pg_lambda_exporter::database::Connection;
use pg_lambda_exporter::sql::Sql;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::postgres::{Server, TestDatabase};

const LIMIT: Duration = Duration::from_secs(30);

/// The protocol of a connection as the server sees it; `None` without TLS.
async fn tls_version(connection: &mut Connection) -> Option<String> {
    let sql = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let table = connection.run(&Sql::parse(sql).unwrap(), LIMIT, LIMIT).await.unwrap();
    table.first_cell().map(str::to_owned)
}

/// A file with an authority that issued nothing.
fn stranger() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    let mut authority = rcgen::CertificateParams::new(vec![]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "stranger");
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&file, authority.self_signed(&key).unwrap().pem()).unwrap();
    (folder, file)
}

/// What becomes of a connection in a mode with an authority: TLS or not, or the error.
async fn outcome(database: &TestDatabase, host: &str, mode: SslMode, roots: Option<PathBuf>) -> String {
    let root_certificates = roots.map_or(RootCertificates::Platform, RootCertificates::File);
    let tls = Tls { mode, root_certificates, channel_binding: ChannelBinding::Prefer };
    let target = Target { host: Host::Tcp(host.into()), tls, ..database.target() };
    match Connection::open(&target, LIMIT).await {
        Ok(mut connection) => tls_version(&mut connection).await.unwrap_or_else(|| "plain".into()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn each_mode_demands_of_tls_what_libpq_says() {
    let server = Server::shared();
    let database = server.database("db_tls");
    let (_folder, stranger) = stranger();
    let stranger = Some(stranger);
    let own = Some(server.authority());
    let unknown = format!(
        "TLS: invalid peer certificate: UnknownIssuer: none of the authorities in {} has issued the certificate",
        stranger.as_ref().unwrap().display()
    );
    let unknown = unknown.as_str();
    for host in ["localhost", "127.0.0.1"] {
        for (mode, roots, expected) in [
            (SslMode::Disable, &own, "plain"),
            (SslMode::Prefer, &None, "TLSv1.3"),
            (SslMode::Prefer, &stranger, "TLSv1.3"),
            (SslMode::Require, &None, "TLSv1.3"),
            (SslMode::Require, &own, "TLSv1.3"),
            (SslMode::Require, &stranger, unknown),
            (SslMode::VerifyCa, &own, "TLSv1.3"),
            (SslMode::VerifyCa, &stranger, unknown),
            (SslMode::VerifyFull, &own, "TLSv1.3"),
            (SslMode::VerifyFull, &stranger, unknown),
        ] {
            let outcome = outcome(&database, host, mode, roots.clone()).await;
            assert_eq!(outcome, expected, "{host} {mode:?} {roots:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_will_do_for_every_mode_but_verify_full() {
    let server = Server::private();
    server.stop();
    server.present_certificate_for(&["elsewhere.example"]);
    // The same with the older protocol, which has signatures of its own.
    server.set("ssl_max_protocol_version = 'TLSv1.2'");
    server.start();
    let database = server.database("db");
    let own = Some(server.authority());
    assert_eq!(outcome(&database, "localhost", SslMode::Require, own.clone()).await, "TLSv1.2");
    assert_eq!(outcome(&database, "localhost", SslMode::VerifyCa, own.clone()).await, "TLSv1.2");
    for host in ["localhost", "127.0.0.1"] {
        let refused = outcome(&database, host, SslMode::VerifyFull, own.clone()).await;
        assert!(
            refused.starts_with("TLS: invalid peer certificate: certificate not valid for name"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_unless_plain_is_allowed() {
    let server = Server::private();
    server.stop();
    server.set("ssl = off");
    server.start();
    let database = server.database("db");
    let own = Some(server.authority());
    assert_eq!(outcome(&database, "localhost", SslMode::Prefer, None).await, "plain");
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        assert_eq!(
            outcome(&database, "localhost", mode, own.clone()).await,
            "TLS: server does not support TLS"
        );
    }
}

#[tokio::test]
async fn root_certificates_that_cannot_be_had_are_named() {
    let database = Server::shared().database("db_roots");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    let failure = async || outcome(&database, "localhost", SslMode::VerifyFull, Some(file.clone())).await;

    let missing = failure().await;
    assert!(missing.starts_with(&format!("root certificates: {}: ", file.display())), "{missing}");
    assert!(missing.contains("No such file"), "{missing}");
    std::fs::write(&file, "no PEM").unwrap();
    assert!(failure().await.ends_with("roots.pem: no certificate in this file"), "{}", failure().await);
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n").unwrap();
    assert!(failure().await.contains("roots.pem: "), "{}", failure().await);
    // Where nothing is verified, nobody looks.
    assert_eq!(outcome(&database, "localhost", SslMode::Prefer, Some(file.clone())).await, "TLSv1.3");
}

/// A server's side of TLS, with this certificate.
pub(crate) fn acceptor(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A client's side of TLS, which trusts the server's authority.
pub(crate) fn connector(server: &Server) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.authority()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Takes one connection, ends its TLS with this certificate, and carries everything on to the server.
async fn man_in_the_middle(
    listener: TcpListener,
    server: Server,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut ssl_request = [0; 8];
    client.read_exact(&mut ssl_request).await.unwrap();
    let mut upstream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    upstream.write_all(&ssl_request).await.unwrap();
    assert_eq!(upstream.read_u8().await.unwrap(), b'S');
    client.write_all(b"S").await.unwrap();
    let mut client = acceptor(certificate, key).accept(client).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut upstream = connector(&server).connect(name, upstream).await.unwrap();
    // The end of either side is the end of the test.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
}

#[tokio::test]
async fn a_login_is_bound_to_the_servers_certificate() {
    let server = Server::shared();
    let database = server.database("tls_binding");
    let login = async |certificate, key| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = tokio::spawn(man_in_the_middle(listener, server.clone(), certificate, key));
        // Nothing is verified here: it is the binding alone that tells the two certificates apart.
        let tls = Tls {
            mode: SslMode::Require,
            root_certificates: RootCertificates::Platform,
            channel_binding: ChannelBinding::Prefer,
        };
        let target = Target { port, tls, ..database.target() };
        let outcome = Connection::open(&target, LIMIT).await.map(drop).map_err(|error| error.to_string());
        proxy.await.unwrap();
        outcome
    };

    let (certificate, key) = server.certificate();
    let own =
        (CertificateDer::from_pem_file(certificate).unwrap(), PrivateKeyDer::from_pem_file(key).unwrap());
    assert_eq!(login(own.0, own.1).await, Ok(()));

    let key = rcgen::KeyPair::generate().unwrap();
    let forged = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let refused = login(forged.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap()).await;
    assert_eq!(refused, Err("the server answers invalid_authorization_specification (SQLSTATE 28000); see pg_hba.conf, and whether the role exists and may log in".into()));
}

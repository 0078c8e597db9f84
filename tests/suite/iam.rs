//! RDS IAM authentication: tokens beside botocore's, and what becomes of them on the way to a real server.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_secretsmanager::config::Credentials;
use pg_lambda_exporter::connect_options::{Host, Login, SslMode, Target};
use pg_lambda_exporter::rds_token::{TokenError, TokenSigner, signed};
use pg_lambda_exporter::settings::{Settings, Source};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::cli::Terminal;
use crate::lambda::{GOOD, Queries, scrape};
use crate::postgres::{Server, TOKEN_ROLES, TestDatabase};
use crate::runtime_api::Lambda;
use crate::secrets_manager::{Answer, SecretsManagerServer};
use crate::tls::{acceptor, connector};

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const REGION: &str = "eu-central-1";
const LIMIT: Duration = Duration::from_secs(20);

/// As long as that of a function's role.
fn session_token() -> String {
    format!("IQoJb3JpZ2luX2VjEJ///+++{}==", "Abc/9+zZ0".repeat(120))
}

#[derive(Deserialize)]
struct Made {
    host: String,
    port: u16,
    user: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    /// Seconds since 1970.
    time: u64,
    token: String,
}

/// tests/iam/tokens.py says how they were made.
#[test]
fn tokens_are_botocores_byte_for_byte() {
    let made: Vec<Made> = serde_json::from_str(include_str!("../iam/tokens.json")).unwrap();
    assert!(made.len() > 10 && made.iter().any(|made| made.session_token.is_none()));
    for made in made {
        let credentials =
            Credentials::new(made.access_key_id, made.secret_access_key, made.session_token, None, "tests");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(made.time);
        let token = signed(&credentials, &made.region, &made.host, made.port, &made.user, time).unwrap();
        assert_eq!(token.expose_secret(), made.token);
        assert!(!format!("{token:?}").contains("Signature"));
        let region = Host::Tcp(made.host.to_lowercase()).rds_region().map(str::to_owned);
        assert_eq!(region, Some(made.region));
    }
}

#[test]
fn a_host_that_cannot_stand_in_a_url_has_no_token() {
    let credentials = Credentials::new(KEY_ID, SECRET_KEY, None, None, "tests");
    for host in ["::1", "fe80::1%eth0", "bücher.example"] {
        let refused = signed(&credentials, REGION, host, 5432, "exporter", SystemTime::UNIX_EPOCH);
        assert!(matches!(refused, Err(TokenError::Unsignable(_))), "{host}: {refused:?}");
    }
}

/// Gives credentials, none, or no answer.
#[derive(Debug, Clone, Copy)]
enum Provider {
    Gives,
    Lacks,
    Hangs,
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        match self {
            Self::Gives => Provided::ready(Ok(Credentials::new(KEY_ID, SECRET_KEY, None, None, "tests"))),
            Self::Lacks => {
                Provided::ready(Err(CredentialsError::not_loaded("nothing is configured anywhere")))
            }
            Self::Hangs => Provided::new(pending()),
        }
    }
}

fn signer(provider: Provider, region: Option<&'static str>) -> TokenSigner {
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(region.map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(provider));
    TokenSigner::new(&config.build())
}

#[tokio::test]
async fn the_region_is_the_hosts_own_else_the_sdks() {
    let token = async |host: &str, region| {
        let signer = signer(Provider::Gives, region);
        signer.token(&Host::Tcp(host.into()), 5432, "exporter", LIMIT).await
    };
    let rds = "shop.abc123.eu-west-3.rds.amazonaws.com";
    for (host, region, expected) in [
        (rds, None, "eu-west-3"),
        (rds, Some("us-east-1"), "eu-west-3"),
        ("db.example.com", Some("us-east-1"), "us-east-1"),
    ] {
        let token = token(host, region).await.unwrap();
        let scope = format!("%2F{expected}%2Frds-db%2Faws4_request");
        assert!(token.expose_secret().contains(&scope), "{}", token.expose_secret());
    }
    let none = token("db.example.com", None).await.unwrap_err();
    assert_eq!(none.to_string(), "no AWS region for an IAM token: the host's name has none; set AWS_REGION");
}

#[tokio::test]
async fn without_credentials_there_is_no_token_and_nobody_waits_for_them_for_ever() {
    let token = async |provider, limit| {
        let signer = signer(provider, Some(REGION));
        signer.token(&Host::Tcp("localhost".into()), 5432, "exporter", limit).await.unwrap_err()
    };
    let lacks = token(Provider::Lacks, LIMIT).await.to_string();
    assert!(lacks.starts_with("no usable AWS credentials for an IAM token: "), "{lacks}");
    assert!(lacks.ends_with("nothing is configured anywhere"), "{lacks}");
    assert_eq!(token(Provider::Hangs, Duration::from_millis(50)).await, TokenError::TimedOut);
}

fn source(variables: &[(&str, &str)]) -> Result<Source, Vec<String>> {
    let iam = [("DB_AUTH", "iam"), ("AUTH", "none")];
    let lookup = |name: &str| {
        let found = variables.iter().chain(&iam).find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings::from_env(lookup);
    let problems: Vec<_> = settings.problems().iter().map(ToString::to_string).collect();
    settings.source.ok().filter(|_| problems.is_empty()).ok_or(problems)
}

const VERIFY_FULL: &str = "must be verify-full where DB_AUTH is iam: a token is sent over verified TLS only";

#[test]
fn whatever_would_send_a_token_unverified_is_a_mistake() {
    let refusal = |variables: &[(&str, &str)]| source(variables).unwrap_err().join("\n");
    let weak = format!("PGSSLMODE: {VERIFY_FULL}");
    let on = ("PGHOST", "localhost");
    let role = ("PGUSER", "exporter");
    for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
        let variable = ("PGSSLMODE", mode);
        assert_eq!(refusal(&[on, role, variable]), weak, "{mode}");
        assert_eq!(refusal(&[("DB_SECRET_ID", "x"), variable]), weak, "{mode}");
        assert_eq!(refusal(&[("DATABASE_URL", "postgres://exporter@localhost/shop"), variable]), weak);
        let url = format!("postgres://exporter@localhost/shop?sslmode={mode}");
        assert_eq!(refusal(&[("DATABASE_URL", &url)]), format!("DATABASE_URL: sslmode: {VERIFY_FULL}"));
        // In a secret it is found when the secret is read.
        let Source::Secret { defaults, .. } = source(&[("DB_SECRET_ID", "x")]).unwrap() else { panic!() };
        let secret = format!(r#"{{"host": "db", "username": "exporter", "sslmode": "{mode}"}}"#);
        let problems = Target::from_secret(&secret, &defaults).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].to_string(), format!("sslmode: {VERIFY_FULL}"));
    }
    assert_eq!(
        refusal(&[("PGHOST", "/run/postgresql"), role]),
        "PGHOST: must not be a Unix socket where DB_AUTH is iam: a token is sent over verified TLS only"
    );
    assert_eq!(
        refusal(&[("DATABASE_URL", "postgres://exporter@db/shop?channel_binding=require")]),
        "DATABASE_URL: channel_binding: must not be require where DB_AUTH is iam: \
         a token's login cannot be bound to the certificate"
    );
    assert_eq!(refusal(&[on, role, ("DB_AUTH", "IAM")]), "DB_AUTH: must be password or iam");
    assert_eq!(refusal(&[on]), "PGUSER: not set");
}

#[test]
fn with_tokens_no_password_counts_and_loopback_is_verified_too() {
    let environment = |variables: &[(&str, &str)]| match source(variables).unwrap() {
        Source::File { .. } | Source::Discovery { .. } => panic!("one target is named"),
        Source::Environment(target) => target,
        Source::Secret { defaults, .. } => {
            let secret = r#"{"host": "localhost", "username": "exporter", "password": "not a token"}"#;
            Target::from_secret(secret, &defaults).unwrap()
        }
    };
    for variables in [
        &[("PGHOST", "localhost"), ("PGUSER", "exporter"), ("PGPASSWORD", "hunter2")][..],
        &[("DATABASE_URL", "postgres://exporter:hunter2@127.0.0.1/shop")],
        &[("DATABASE_URL", "postgres://exporter@[::1]/shop?sslmode=verify-full&channel_binding=prefer")],
        &[("DB_SECRET_ID", "x")],
    ] {
        let target = environment(variables);
        assert!(matches!(target.login, Login::IamToken), "{variables:?}");
        assert_eq!(target.tls.mode, SslMode::VerifyFull, "{variables:?}");
        let by_password = Target { login: Login::Password(None), ..target.clone() };
        assert!(target.is_same(&target) && !target.is_same(&by_password));
    }
    let by_password = [("DB_AUTH", "password"), ("PGHOST", "localhost"), ("PGUSER", "exporter")];
    let target = environment(&by_password);
    assert!(matches!(target.login, Login::Password(None)));
    assert_eq!(target.tls.mode, SslMode::Prefer);
}

/// What stands at the address that the exporter knows, in front of the server or in its place.
#[derive(Clone)]
enum Front {
    /// Ends TLS.
    Tls(TlsAcceptor),
    /// Has no TLS.
    Plain,
    /// Asks for a password where the client asks for TLS.
    Impatient,
}

/// Takes connections, keeps what arrives, and lets in whoever has the right token for this address.
struct Recorder {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// Everything that came without TLS.
    in_clear: Vec<u8>,
    tokens: Vec<String>,
}

/// PostgreSQL documentation, "Message Formats".
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const CLEAR_TEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

impl Recorder {
    async fn start(front: Front, server: Server, role: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Seen>>::default();
        let recorded = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                recorded.lock().unwrap().connections += 1;
                let (front, server, seen) = (front.clone(), server.clone(), Arc::clone(&recorded));
                tokio::spawn(async move {
                    // A client that gives up is what some tests are about.
                    let _: std::io::Result<()> = serve(client, front, &server, port, role, &seen).await;
                });
            }
        });
        Self { port, seen }
    }

    fn tokens(&self) -> Vec<String> {
        self.seen.lock().unwrap().tokens.clone()
    }

    /// Fails unless the exporter was here, and said no more than that it wants TLS.
    fn assert_no_token(&self) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.connections > 0);
        assert_eq!(seen.in_clear, SSL_REQUEST.repeat(seen.connections));
        assert_eq!(seen.tokens, <[String; 0]>::default());
    }
}

async fn serve(
    mut client: TcpStream,
    front: Front,
    server: &Server,
    port: u16,
    role: &str,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut request = [0; SSL_REQUEST.len()];
    client.read_exact(&mut request).await?;
    seen.lock().unwrap().in_clear.extend(request);
    let acceptor = match front {
        Front::Tls(acceptor) => acceptor,
        Front::Plain => {
            client.write_all(b"N").await?;
            return keep_in_clear(client, seen).await;
        }
        Front::Impatient => {
            client.write_all(&CLEAR_TEXT_PASSWORD).await?;
            return keep_in_clear(client, seen).await;
        }
    };
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let startup = message(&mut client).await?;
    // In the server's place, since that looks the role up, with its password, before it asks.
    client.write_all(&CLEAR_TEXT_PASSWORD).await?;
    assert_eq!(client.read_u8().await?, b'p');
    let answer = message(&mut client).await?;
    let token = String::from_utf8(answer[4..answer.len() - 1].to_vec()).unwrap();
    seen.lock().unwrap().tokens.push(token.clone());
    // The server knows the right token for this time, and is the judge of what arrived.
    server.admin(&format!(r#"ALTER ROLE "{role}" PASSWORD '{}'"#, right_token(port, role, time_of(&token))));

    let mut upstream = TcpStream::connect(("127.0.0.1", server.port())).await?;
    upstream.write_all(&SSL_REQUEST).await?;
    assert_eq!(upstream.read_u8().await?, b'S');
    let name = ServerName::try_from("localhost").unwrap();
    let mut upstream = connector(server).connect(name, upstream).await?;
    upstream.write_all(&startup).await?;
    let mut question = [0; CLEAR_TEXT_PASSWORD.len()];
    upstream.read_exact(&mut question).await?;
    assert_eq!(question, CLEAR_TEXT_PASSWORD);
    upstream.write_u8(b'p').await?;
    upstream.write_all(&answer).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

async fn keep_in_clear(mut client: TcpStream, seen: &Mutex<Seen>) -> std::io::Result<()> {
    loop {
        let byte = client.read_u8().await?;
        seen.lock().unwrap().in_clear.push(byte);
    }
}

/// A message from its length on.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    stream.read_exact(&mut message[4..]).await?;
    Ok(message)
}

fn right_token(port: u16, role: &str, time: SystemTime) -> String {
    let credentials = Credentials::new(KEY_ID, SECRET_KEY, Some(session_token()), None, "tests");
    signed(&credentials, REGION, "localhost", port, role, time).unwrap().expose_secret().to_owned()
}

/// When a token was made, as it says itself: `20261125T020359Z`.
fn time_of(token: &str) -> SystemTime {
    let (_, date) = token.split_once("&X-Amz-Date=").unwrap();
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap();
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    let (hour, minute, second) = (part(9..11), part(11..13), part(13..15));
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).unwrap()
}

/// A front that ends TLS with the server's own certificate.
fn own_tls(server: &Server) -> Front {
    let (certificate, key) = server.certificate();
    Front::Tls(acceptor(
        CertificateDer::from_pem_file(certificate).unwrap(),
        PrivateKeyDer::from_pem_file(key).unwrap(),
    ))
}

/// A database, and a role that logs in to it by a token.
fn database(name: &str, role: &str) -> TestDatabase {
    let server = Server::shared();
    server.admin(&format!(r#"CREATE ROLE "{role}" LOGIN IN ROLE {TOKEN_ROLES}"#));
    server.database(name)
}

fn aws() -> Vec<(&'static str, String)> {
    vec![
        ("AWS_REGION", REGION.into()),
        ("AWS_ACCESS_KEY_ID", KEY_ID.into()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ("AWS_SESSION_TOKEN", session_token()),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE".into()),
    ]
}

fn address(database: &TestDatabase, role: &str, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("DB_AUTH", "iam".into()),
        ("PGHOST", "localhost".into()),
        ("PGPORT", port.to_string()),
        ("PGUSER", role.into()),
        ("PGDATABASE", database.name().into()),
        ("PGSSLROOTCERT", database.server().authority().to_str().unwrap().into()),
    ]
}

fn function(queries: &Queries) -> Vec<(&'static str, String)> {
    vec![("AUTH", "none".into()), ("QUERIES_FILE", queries.path())]
}

fn assert_nothing_secret(log: &str, tokens: &[String]) {
    for token in tokens {
        let (_, signature) = token.split_once("&X-Amz-Signature=").unwrap();
        assert!(!log.contains(signature), "{log}");
    }
    for secret in [SECRET_KEY, "Abc/9+zZ0Abc", "Abc%2F9%2BzZ0Abc"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn a_server_lets_the_token_in_and_each_connection_has_its_own() {
    let role = "first.Last+iam@example.com";
    let database = database("iam_login", role);
    let recorder = Recorder::start(own_tls(database.server()), database.server().clone(), role).await;
    let queries = Queries::new(GOOD);
    let begun = SystemTime::now();
    let environment = [function(&queries), aws(), address(&database, role, recorder.port)].concat();
    let lambda = Lambda::start(environment).await;
    let first = scrape(&lambda).await;
    assert_eq!((first.value("pg_up"), first.of("good_v")), (1.0, vec![("", 1.0)]), "{}", lambda.log());
    assert_eq!(scrape(&lambda).await.value("pg_up"), 1.0);
    let tokens = recorder.tokens();
    assert_eq!(tokens.len(), 1, "the connection is kept, and needs no other token");
    assert!(tokens[0].len() > 1000, "{}", tokens[0].len());
    let made = time_of(&tokens[0]);
    assert!(made + Duration::from_secs(1) > begun && made <= SystemTime::now(), "{}", tokens[0]);

    // A token says the second in which it was made.
    while SystemTime::now() < made + Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kill = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    assert_eq!(database.admin(&kill).len(), 1);
    let second = scrape(&lambda).await;
    assert_eq!((second.value("pg_up"), second.of("good_v")), (1.0, vec![("", 1.0)]), "{}", lambda.log());
    let tokens = recorder.tokens();
    assert_eq!(tokens.len(), 2);
    assert!(time_of(&tokens[1]) > made, "{tokens:?}");
    assert_nothing_secret(&lambda.log(), &tokens);
}

#[tokio::test]
async fn a_wrong_token_is_refused_by_the_same_server() {
    let role = "iam_wrong";
    let database = database("iam_wrong", role);
    let recorder = Recorder::start(own_tls(database.server()), database.server().clone(), role).await;
    let queries = Queries::new(GOOD);
    let mut environment = [function(&queries), aws(), address(&database, role, recorder.port)].concat();
    environment.push(("AWS_SECRET_ACCESS_KEY", "another secret key".into()));
    let lambda = Lambda::start(environment).await;
    assert_eq!(scrape(&lambda).await.value("pg_up"), 0.0);
    assert!(lambda.log().contains("SQLSTATE 28P01"), "{}", lambda.log());
    assert_nothing_secret(&lambda.log(), &recorder.tokens());
}

#[tokio::test]
async fn a_secret_may_say_where_and_who_and_its_password_is_not_used() {
    let role = "iam_secret";
    let database = database("iam_secret", role);
    let recorder = Recorder::start(own_tls(database.server()), database.server().clone(), role).await;
    let secret = serde_json::json!({
        "engine": "postgres", "host": "localhost", "port": recorder.port,
        "username": role, "password": "not a token", "dbname": database.name(),
    });
    let service = SecretsManagerServer::start(Answer::text(&secret.to_string()));
    let queries = Queries::new(GOOD);
    let environment = vec![
        ("DB_AUTH", "iam".into()),
        ("DB_SECRET_ID", "exporter/db".into()),
        ("AWS_ENDPOINT_URL", service.url()),
        ("PGSSLROOTCERT", database.server().authority().to_str().unwrap().into()),
    ];
    let lambda = Lambda::start([function(&queries), aws(), environment].concat()).await;
    let samples = scrape(&lambda).await;
    assert_eq!((samples.value("pg_up"), samples.of("good_v")), (1.0, vec![("", 1.0)]), "{}", lambda.log());
    assert_eq!(recorder.tokens().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_logs_in_by_a_token_too() {
    let role = "iam_cli";
    let database = database("iam_cli", role);
    let recorder = Recorder::start(own_tls(database.server()), database.server().clone(), role).await;
    let terminal = |level: &str| {
        let terminal = Terminal::new().file("queries.yml", GOOD);
        let environment = [aws(), address(&database, role, recorder.port)].concat();
        let terminal =
            environment.into_iter().fold(terminal, |terminal, (name, value)| terminal.with(name, value));
        terminal.with("AWS_LAMBDA_LOG_LEVEL", level)
    };
    let traced = terminal("TRACE").run(&["scrape"]).failed(0).errors;
    assert!(traced.contains("INFO scrape"), "{traced}");
    assert_nothing_secret(&traced, &recorder.tokens());
    let terminal = terminal("WARN");
    assert!(terminal.run(&["scrape"]).succeeded().contains("\ngood_v 1\n"));
    assert_eq!(recorder.tokens().len(), 2);
    terminal.run(&["check", "--database"]).succeeded();
    assert_eq!(recorder.tokens().len(), 3);
}

/// A function in front of which something stands that must not see a token.
async fn keeps_its_token_from(name: &'static str, front: impl FnOnce(&Server) -> Front, in_log: &str) {
    let database = database(name, name);
    let recorder = Recorder::start(front(database.server()), database.server().clone(), name).await;
    let queries = Queries::new(GOOD);
    let environment = [function(&queries), aws(), address(&database, name, recorder.port)].concat();
    let lambda = Lambda::start(environment).await;
    assert_eq!(scrape(&lambda).await.value("pg_up"), 0.0);
    recorder.assert_no_token();
    let log = lambda.log();
    assert!(
        log.lines().any(|line| line.contains("no connection to the database") && line.contains(in_log)),
        "{log}"
    );
    assert_nothing_secret(&log, &[]);
}

/// A certificate for `name`: by the server's authority, or by one that nobody knows.
fn certificate_for(name: &str, server: Option<&Server>) -> Front {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.into()]).unwrap();
    let certificate = match server {
        Some(server) => params.signed_by(&key, server.issuer()).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Front::Tls(acceptor(certificate.der().clone(), key))
}

#[tokio::test]
async fn a_server_with_another_name_gets_no_token() {
    let front = |server: &Server| certificate_for("elsewhere.example", Some(server));
    keeps_its_token_from("iam_other_name", front, "not valid for name").await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_gets_no_token() {
    let front = |_: &Server| certificate_for("localhost", None);
    keeps_its_token_from("iam_stranger", front, "invalid peer certificate").await;
}

#[tokio::test]
async fn a_server_without_tls_gets_no_token() {
    keeps_its_token_from("iam_plain", |_| Front::Plain, "server does not support TLS").await;
}

#[tokio::test]
async fn a_server_that_asks_before_tls_gets_no_token() {
    keeps_its_token_from("iam_impatient", |_| Front::Impatient, "server does not support TLS").await;
}

#[tokio::test]
async fn without_verified_tls_nothing_is_sent_at_all() {
    let role = "iam_require";
    let database = database("iam_require", role);
    let recorder = Recorder::start(own_tls(database.server()), database.server().clone(), role).await;
    let queries = Queries::new(GOOD);
    let mut environment = [function(&queries), aws(), address(&database, role, recorder.port)].concat();
    environment.push(("PGSSLMODE", "require".into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    let log = lambda.log();
    assert!(log.contains(&format!("PGSSLMODE: {VERIFY_FULL}")), "{log}");
    assert_eq!(recorder.seen.lock().unwrap().connections, 0);
}

#[tokio::test]
async fn without_credentials_or_region_the_log_says_so_and_the_scrape_is_answered() {
    let role = "iam_nothing";
    let database = database("iam_nothing", role);
    let recorder = Recorder::start(own_tls(database.server()), database.server().clone(), role).await;
    let queries = Queries::new(GOOD);
    for (left_out, in_log) in
        [("AWS_ACCESS_KEY_ID", "no usable AWS credentials"), ("AWS_REGION", "set AWS_REGION")]
    {
        let mut environment = [function(&queries), aws(), address(&database, role, recorder.port)].concat();
        environment.retain(|(variable, _)| *variable != left_out);
        // Not Lambda, nor EC2: nobody else to ask.
        environment.push(("AWS_EC2_METADATA_DISABLED", "true".into()));
        let lambda = Lambda::start(environment).await;
        let samples = scrape(&lambda).await;
        assert_eq!(samples.value("pg_up"), 0.0);
        assert_eq!(samples.value(r#"pg_exporter_query_error{query="good",reason="connection"}"#), 1.0);
        let log = lambda.log();
        let is_said = |line: &str| line.contains("no connection to the database") && line.contains(in_log);
        assert!(log.lines().any(is_said), "{log}");
    }
    assert_eq!(recorder.seen.lock().unwrap().connections, 0);
}

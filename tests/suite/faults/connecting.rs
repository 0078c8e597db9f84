//! Faults on the way to a session.

use std::net::{Ipv4Addr, TcpStream as BlockingStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::observed::terminate_backends;
use super::secrets::{self, QUERIES, SCRAPE_TIMEOUT, has_logged, is_complete, is_without_connection};
use crate::certificates::Certificate;
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, samples};
use crate::names::Names;
use crate::pgbouncer::Pgbouncer;
use crate::postgres::{PASSWORD, ROLE, Server, TestDatabase};
use crate::runtime_api::Lambda;
use crate::samples::Samples;
use crate::secrets_manager::Answer;

/// For a scrape that takes all of it.
const SHORT: Duration = Duration::from_secs(3);

/// A function that is told its database by libpq's variables.
struct Function {
    lambda: Lambda,
    _queries: Queries,
}

impl Function {
    /// With these variables instead of those that lead to `database`. An empty one is as good as none.
    async fn start<'a>(
        database: &TestDatabase,
        variables: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Self {
        let queries = Queries::new(QUERIES);
        let mut environment = vec![
            ("AUTH", "none".into()),
            ("QUERIES_FILE", queries.path()),
            ("PGHOST", "localhost".into()),
            ("PGPORT", database.server().port().to_string()),
            ("PGDATABASE", database.name().into()),
            ("PGUSER", ROLE.into()),
            ("PGPASSWORD", PASSWORD.into()),
            ("PGSSLMODE", "verify-full".into()),
            ("PGSSLROOTCERT", database.server().authority().to_str().unwrap().into()),
        ];
        // The last value of a variable counts.
        environment.extend(variables);
        let lambda = Lambda::start(environment).await;
        lambda.initialised().await;
        Self { lambda, _queries: queries }
    }

    /// A scrape that is over when Prometheus would give it up.
    async fn scrape(&self, timeout: Duration) -> Samples {
        let seconds = timeout.as_secs().to_string();
        let event =
            Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some(&seconds));
        let answer = self.lambda.invoke(event.json(), AMPLE).await;
        assert!(answer.took < timeout, "{:?}", answer.took);
        samples(&answer)
    }

    /// The fault that there is now: a scrape is without a connection, the log has a line with all these words, and
    /// when `lift` has ended it, the next scrape is complete.
    async fn recovers(&self, in_log: &[&str], lift: impl AsyncFnOnce()) {
        self.recovers_from_scrape(SCRAPE_TIMEOUT, in_log, lift).await;
    }

    /// The same of a fault that takes all the time that there is.
    async fn recovers_from_scrape(&self, timeout: Duration, in_log: &[&str], lift: impl AsyncFnOnce()) {
        is_without_connection(&self.scrape(timeout).await);
        has_logged(&self.lambda, &[&["no connection to the database"], in_log].concat()).await;
        lift().await;
        is_complete(&self.scrape(AMPLE).await);
    }
}

/// What is at an address in front of a server.
#[derive(Clone, Copy)]
enum Peer {
    /// It takes connections and says nothing.
    Silent,
    /// It takes connections and closes them.
    Closing,
    /// It says this to the first message.
    Saying(&'static [u8]),
    /// The server on this port.
    Server(u16),
    /// The same, which lets nobody in for so long, as one that resumes.
    Resuming(u16, Duration),
}

/// An address at which nothing listens yet.
struct Address(TcpSocket);

impl Address {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    /// The variables that lead there.
    fn variables(&self) -> [(&'static str, String); 2] {
        [("PGHOST", "127.0.0.1".into()), ("PGPORT", self.0.local_addr().unwrap().port().to_string())]
    }

    fn listen(self, peer: Peer) -> Front {
        Front::serve(self.0.listen(1024).unwrap(), peer)
    }
}

/// An address at which something listens that may change.
struct Front {
    port: u16,
    peer: Arc<Mutex<Peer>>,
}

impl Front {
    fn serve(listener: TcpListener, peer: Peer) -> Self {
        let port = listener.local_addr().unwrap().port();
        let peer = Arc::new(Mutex::new(peer));
        let current = Arc::clone(&peer);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let peer = *current.lock().unwrap();
                tokio::spawn(peer.meet(client));
            }
        });
        Self { port, peer }
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [("PGHOST", "127.0.0.1".into()), ("PGPORT", self.port.to_string())]
    }

    fn becomes(&self, peer: Peer) {
        *self.peer.lock().unwrap() = peer;
    }
}

impl Peer {
    /// The end of either side is the end of it.
    async fn meet(self, mut client: TcpStream) {
        match self {
            Self::Silent => while client.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {},
            Self::Closing => {}
            Self::Saying(words) => {
                let _ = client.read(&mut [0; 1024]).await;
                let _ = client.write_all(words).await;
                while client.read(&mut [0; 1024]).await.is_ok_and(|bytes| bytes > 0) {}
            }
            Self::Resuming(port, time) => {
                tokio::time::sleep(time).await;
                Box::pin(Self::Server(port).meet(client)).await;
            }
            Self::Server(port) => {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        }
    }
}

#[tokio::test]
async fn a_port_at_which_nothing_listens() {
    let database = Server::shared().database("connecting_refused");
    let address = Address::new();
    let function = Function::start(&database, address.variables()).await;
    let server = Peer::Server(database.server().port());
    function
        .recovers(&["the server cannot be reached", "refused"], async || drop(address.listen(server)))
        .await;
}

#[tokio::test]
async fn a_name_without_an_address() {
    let database = Server::shared().database("connecting_unresolvable");
    let name = "db.connecting.invalid";
    let mut names = Names::new("another.connecting.invalid", [Ipv4Addr::LOCALHOST.into()]);
    let variables = [
        ("PGHOST", name.to_owned()),
        // The server has no certificate for this name.
        ("PGSSLMODE", "verify-ca".to_owned()),
    ];
    let function = Function::start(&database, variables.into_iter().chain(names.environment())).await;
    function
        .recovers(&["the host's name cannot be resolved"], async || {
            names.lead(name, [Ipv4Addr::LOCALHOST.into()])
        })
        .await;
}

/// An address at which the kernel drops whatever asks for a connection, since a queue is full.
struct Swallowing {
    listener: TcpListener,
    filled: Vec<BlockingStream>,
}

impl Swallowing {
    fn at(address: Address) -> Self {
        let listener = address.0.listen(0).unwrap();
        let there = listener.local_addr().unwrap();
        let filling = |_: usize| BlockingStream::connect_timeout(&there, Duration::from_millis(200));
        let filled: Vec<_> = (0..10).map(filling).map_while(Result::ok).collect();
        assert!((1..10).contains(&filled.len()), "the queue is never full");
        Self { listener, filled }
    }

    fn becomes(self, peer: Peer) -> Front {
        drop(self.filled);
        Front::serve(self.listener, peer)
    }
}

#[tokio::test]
async fn an_address_that_swallows_packets() {
    let database = Server::shared().database("connecting_swallowed");
    let address = Address::new();
    // Nothing listens there yet, so that the start of the function takes no time.
    let function = Function::start(&database, address.variables()).await;
    let swallowing = Swallowing::at(address);
    let server = Peer::Server(database.server().port());
    let lift = async || drop(swallowing.becomes(server));
    function.recovers_from_scrape(SHORT, &["timed out reaching the server"], lift).await;
}

/// What a scrape without a connection takes that could take 20 seconds.
async fn takes(function: &Function) -> Duration {
    let event = Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("20"));
    let answer = function.lambda.invoke(event.json(), AMPLE).await;
    is_without_connection(&samples(&answer));
    answer.took
}

#[tokio::test]
async fn an_address_that_goes_on_swallowing_packets() {
    let database = Server::shared().database("connecting_swallowed_again");
    let address = Address::new();
    let function = Function::start(&database, address.variables()).await;
    let swallowing = Swallowing::at(address);
    for _ in 0..2 {
        let took = takes(&function).await;
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
    let resuming = Peer::Resuming(database.server().port(), Duration::from_secs(3));
    let _front = swallowing.becomes(resuming);
    is_complete(&function.scrape(AMPLE).await);
}

#[tokio::test]
async fn a_server_that_goes_on_saying_nothing() {
    let database = Server::shared().database("connecting_silent_again");
    let front = Address::new().listen(Peer::Closing);
    let function = Function::start(&database, front.variables()).await;
    front.becomes(Peer::Silent);
    let took = takes(&function).await;
    assert!(took > Duration::from_secs(15), "{took:?}");
    front.becomes(Peer::Resuming(database.server().port(), Duration::from_secs(6)));
    is_complete(&function.scrape(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let database = Server::shared().database("connecting_silent");
    let front = Address::new().listen(Peer::Closing);
    let function = Function::start(&database, front.variables()).await;
    front.becomes(Peer::Silent);
    let server = Peer::Server(database.server().port());
    let in_log = ["timed out in the TLS handshake or authentication"];
    function.recovers_from_scrape(SHORT, &in_log, async || front.becomes(server)).await;
}

#[tokio::test]
async fn a_server_that_is_slow_to_let_anybody_in() {
    let database = Server::shared().database("connecting_slow");
    let front = Address::new().listen(Peer::Closing);
    let function = Function::start(&database, front.variables()).await;
    front.becomes(Peer::Resuming(database.server().port(), Duration::from_secs(6)));
    is_complete(&function.scrape(Duration::from_secs(20)).await);
    // It is there when nothing more than the time for the queries is left.
    terminate_backends(&database);
    front.becomes(Peer::Resuming(database.server().port(), Duration::from_secs(3)));
    is_complete(&function.scrape(Duration::from_secs(6)).await);
}

#[tokio::test]
async fn a_server_that_says_nothing_for_longer_than_connect_timeout() {
    let database = Server::shared().database("connecting_timeout");
    let front = Address::new().listen(Peer::Closing);
    let limit = ("PGCONNECT_TIMEOUT", "1".to_owned());
    let function = Function::start(&database, front.variables().into_iter().chain([limit])).await;
    front.becomes(Peer::Silent);
    // Without it, the login would have all but two seconds of the time.
    let timeout = "25";
    let event = Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some(timeout));
    let answer = function.lambda.invoke(event.json(), AMPLE).await;
    assert!(answer.took < Duration::from_secs(12), "{:?}", answer.took);
    is_without_connection(&samples(&answer));
    has_logged(&function.lambda, &["no connection to the database", "timed out"]).await;
    front.becomes(Peer::Server(database.server().port()));
    is_complete(&function.scrape(AMPLE).await);
}

#[tokio::test]
async fn one_address_of_a_name_that_says_nothing() {
    let database = Server::shared().database("connecting_addresses");
    let (port, first, second) = loop {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        if let Ok(second) = TcpListener::bind(("127.0.0.2", port)).await {
            break (port, first, second);
        }
    };
    let name = "db.connecting.invalid";
    let names = Names::new(name, [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]);
    let variables =
        [("PGHOST", name.to_owned()), ("PGPORT", port.to_string()), ("PGSSLMODE", "verify-ca".to_owned())];
    let (first, second) = (Front::serve(first, Peer::Closing), Front::serve(second, Peer::Closing));
    let function = Function::start(&database, variables.into_iter().chain(names.environment())).await;
    let server = Peer::Server(database.server().port());
    // Whichever of the two the resolver names first.
    for (silent, serving) in [(&first, &second), (&second, &first)] {
        silent.becomes(Peer::Silent);
        serving.becomes(server);
        is_complete(&function.scrape(SCRAPE_TIMEOUT).await);
        terminate_backends(&database);
    }
    has_logged(&function.lambda, &["trying the next", "timed out in the TLS handshake"]).await;
}

#[tokio::test]
async fn a_server_that_closes_at_once() {
    let database = Server::shared().database("connecting_closing");
    let front = Address::new().listen(Peer::Closing);
    let function = Function::start(&database, front.variables()).await;
    let server = Peer::Server(database.server().port());
    function.recovers(&["the connection was lost during the login"], async || front.becomes(server)).await;
}

/// PgBouncer lets nobody log in before it knows the server, and afterwards keeps the first query waiting.
#[tokio::test]
async fn a_pooler_that_is_paused() {
    let database = Server::shared().database("connecting_paused");
    let bouncer = Pgbouncer::start(&database);
    bouncer.command("PAUSE").await;
    let variables = [
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", bouncer.port().to_string()),
        ("PGSSLMODE", "disable".to_owned()),
    ];
    let function = Function::start(&database, variables).await;
    let in_log = ["timed out in the TLS handshake or authentication", "PgBouncer is paused"];
    function.recovers_from_scrape(SHORT, &in_log, async || bouncer.command("RESUME").await).await;
    bouncer.command("PAUSE").await;
    let in_log = ["timed out asking the server for its version and state", "PgBouncer is paused"];
    function.recovers_from_scrape(SHORT, &in_log, async || bouncer.command("RESUME").await).await;
}

#[tokio::test]
async fn the_admin_console_of_a_pooler() {
    let function = secrets::Function::start("connecting_console", Answer::not_found()).await;
    let bouncer = Pgbouncer::start(&function.database);
    function.service.answer(Answer::text(&bouncer.console_url()));
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    let in_log = ["no connection to the database", "PgBouncer's admin console", "[databases]"];
    has_logged(&function.lambda, &in_log).await;
    function.service.answer(Answer::text(&bouncer.url()));
    is_complete(&function.scrape().await);
}

#[tokio::test]
async fn a_server_of_another_protocol() {
    let database = Server::shared().database("connecting_rubbish");
    let front = Address::new().listen(Peer::Saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    let function = Function::start(&database, front.variables()).await;
    let server = Peer::Server(database.server().port());
    function.recovers(&["the server is not PostgreSQL"], async || front.becomes(server)).await;
}

#[tokio::test]
async fn a_login_that_turns_into_rubbish() {
    let database = Server::shared().database("connecting_half_rubbish");
    // A request for a password, then a message of a kind that there is not.
    let front = Address::new().listen(Peer::Saying(b"R\0\0\0\x08\0\0\0\x03\x01\0\0\0\x08rubbish"));
    let plain = [("PGSSLMODE", "disable".to_owned())];
    let function = Function::start(&database, front.variables().into_iter().chain(plain)).await;
    let server = Peer::Server(database.server().port());
    function.recovers(&["the server is not PostgreSQL"], async || front.becomes(server)).await;
}

#[tokio::test]
async fn tls_demanded_of_a_server_without() {
    let server = Server::private();
    server.stop();
    server.set("ssl = off");
    server.start();
    let database = server.database("db");
    let function = Function::start(&database, []).await;
    function
        .recovers(&["TLS: server does not support TLS"], async || {
            server.set("ssl = on");
            server.reload();
        })
        .await;
    // The password was not sent: the server never saw a login.
    assert!(!server.log().contains(ROLE), "{}", server.log());
}

#[tokio::test]
async fn a_plain_connection_to_a_server_that_demands_tls() {
    let server = Server::private();
    server.set_access("hostssl all all 127.0.0.1/32 scram-sha-256");
    server.reload();
    let database = server.database("db");
    let function = Function::start(&database, [("PGSSLMODE", "disable".into())]).await;
    function
        .recovers(&["invalid_authorization_specification (SQLSTATE 28000)", "pg_hba.conf"], async || {
            server.set_access("host all all 127.0.0.1/32 scram-sha-256");
            server.reload();
        })
        .await;
}

/// A server with this certificate, until it gets a right one.
async fn a_certificate_is_refused(certificate: CertificateParams, in_log: &[&str]) {
    let server = Server::private();
    server.present(&certificate);
    server.reload();
    let database = server.database("db");
    let function = Function::start(&database, []).await;
    function
        .recovers(in_log, async || {
            server.present_certificate_for(&["localhost"]);
            server.reload();
        })
        .await;
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let other = CertificateParams::new(vec!["elsewhere.example".into()]).unwrap();
    a_certificate_is_refused(other, &["certificate not valid for name", "localhost", "elsewhere.example"])
        .await;
}

#[tokio::test]
async fn a_certificate_that_has_expired() {
    let mut expired = CertificateParams::new(vec!["localhost".into()]).unwrap();
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    a_certificate_is_refused(expired, &["certificate expired"]).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet() {
    let mut early = CertificateParams::new(vec!["localhost".into()]).unwrap();
    early.not_before = date_time_ymd(2090, 1, 1);
    a_certificate_is_refused(early, &["certificate not valid yet"]).await;
}

/// A file with an authority that issued nothing.
fn stranger(folder: &Path) -> PathBuf {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "stranger");
    let key = rcgen::KeyPair::generate().unwrap();
    let file = folder.join("ca.crt");
    std::fs::write(&file, authority.self_signed(&key).unwrap().pem()).unwrap();
    file
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority() {
    let database = Server::shared().database("connecting_authority");
    let folder = tempfile::tempdir().unwrap();
    let trusted = stranger(folder.path());
    let variables = [("PGSSLROOTCERT", trusted.to_str().unwrap().to_owned())];
    let function = Function::start(&database, variables).await;
    function
        .recovers(&["TLS: ", "UnknownIssuer"], async || {
            std::fs::copy(database.server().authority(), &trusted).unwrap();
        })
        .await;
}

/// A server that presents `certificate` recovers with another one.
async fn is_refused(certificate: Certificate, in_log: &[&str]) {
    let server = Server::private();
    certificate.present_at(&server);
    let database = server.database("db");
    let function = Function::start(&database, []).await;
    function
        .recovers(&[&["TLS: "], in_log].concat(), async || {
            server.present_certificate_for(&["localhost"]);
            server.reload();
        })
        .await;
}

#[tokio::test]
async fn a_certificate_with_a_key_that_is_not_supported() {
    let p521 = "EC -pkeyopt ec_paramgen_curve:P-521";
    for key in [p521, "RSA-PSS -pkeyopt rsa_keygen_bits:2048"] {
        let certificate = Certificate::self_signed("localhost", key, &[], 30);
        is_refused(certificate, &["HandshakeFailure", "P-521 or RSA-PSS"]).await;
    }
}

#[tokio::test]
async fn a_certificate_of_version_1() {
    is_refused(Certificate::version_1(None), &["X.509 version 1"]).await;
}

#[tokio::test]
async fn a_server_that_target_session_attrs_does_not_accept() {
    let server = Server::private();
    let database = server.database("db");
    let alter = |change: &str| drop(server.admin(&format!("ALTER ROLE {ROLE} {change}")));
    alter("SET default_transaction_read_only = on");
    let function = Function::start(&database, [("PGTARGETSESSIONATTRS", "read-write".into())]).await;
    let in_log = ["the server is read-only, which target_session_attrs does not accept"];
    function.recovers(&in_log, async || alter("RESET default_transaction_read_only")).await;
}

/// A role of its own, with [`PASSWORD`].
fn create_role(name: &str, options: &str) {
    let password = PASSWORD.replace('\'', "''");
    Server::shared().admin(&format!("CREATE ROLE {name} LOGIN PASSWORD '{password}' {options}"));
}

#[tokio::test]
async fn too_many_connections() {
    let database = Server::shared().database("connecting_too_many");
    let role = "connecting_once";
    create_role(role, "CONNECTION LIMIT 1");
    let mut other = tokio_postgres::Config::new();
    other.host_path(database.server().socket_folder()).port(database.server().port());
    let (_client, connection) =
        other.user(role).dbname(database.name()).connect(tokio_postgres::NoTls).await.unwrap();
    let other = tokio::spawn(connection);
    let function = Function::start(&database, [("PGUSER", role.into())]).await;
    function
        .recovers(&["too_many_connections (SQLSTATE 53300)", "CONNECTION LIMIT"], async || {
            let end = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename";
            database.admin(&format!("{end} = '{role}'"));
            other.await.unwrap().unwrap_err();
        })
        .await;
}

#[tokio::test]
async fn a_database_that_does_not_exist() {
    let database = Server::shared().database("connecting_elsewhere");
    let name = "connecting_later";
    let function = Function::start(&database, [("PGDATABASE", name.into())]).await;
    let mut later = None;
    function
        .recovers(&["invalid_catalog_name (SQLSTATE 3D000)", "name of the database"], async || {
            later = Some(Server::shared().database(name));
        })
        .await;
}

#[tokio::test]
async fn a_role_that_does_not_exist() {
    let database = Server::shared().database("connecting_role");
    let role = "connecting_nobody";
    let function = Function::start(&database, [("PGUSER", role.into())]).await;
    function
        .recovers(&["invalid_password (SQLSTATE 28P01)", "check user and password"], async || {
            create_role(role, "")
        })
        .await;
}

#[tokio::test]
async fn a_password_that_is_wrong_and_stays_wrong() {
    let role = "connecting_wrong";
    create_role(role, "");
    let logins = || {
        let refusal = format!("FATAL:  password authentication failed for user \"{role}\"");
        Server::shared().log().matches(&refusal).count()
    };
    let function = secrets::Function::start("connecting_wrong", Answer::not_found()).await;
    function.service.answer(function.secret_of(role, "wrong and stays so"));
    for scrape in 1..=3 {
        let before = function.fetches();
        is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
        assert_eq!(logins(), scrape, "one attempt of each scrape");
        assert!(function.fetches() - before <= 2);
    }
    has_logged(&function.lambda, &["invalid_password (SQLSTATE 28P01)", "check user and password"]).await;
    // A secret that has changed is worth one more attempt, whether it is right or not.
    function.service.answer(function.secret_of(role, "wrong too"));
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    assert_eq!(logins(), 5);
    function.service.answer(function.secret_of(role, PASSWORD));
    is_complete(&function.scrape().await);
    assert_eq!(logins(), 6);
}

#[tokio::test]
async fn no_password_where_one_is_asked() {
    let function = secrets::Function::start("connecting_unsaid", Answer::not_found()).await;
    let port = function.database.server().port();
    let name = function.database.name();
    let url = format!("postgres://{ROLE}@localhost:{port}/{name}");
    function.service.answer(Answer::text(&url));
    is_without_connection(&function.scrape_within(SCRAPE_TIMEOUT).await);
    has_logged(&function.lambda, &["no connection to the database", "password missing"]).await;
    function.service.answer(function.secret());
    is_complete(&function.scrape().await);
}

#[tokio::test]
async fn a_server_that_is_starting_up() {
    let server = Server::private();
    let database = server.database("db");
    server.restart_into_recovery();
    let function = Function::start(&database, []).await;
    function
        .recovers(&["cannot_connect_now (SQLSTATE 57P03)", "starting up"], async || server.end_recovery())
        .await;
}

#[tokio::test]
async fn a_server_that_is_shutting_down() {
    let server = Server::private();
    let database = server.database("db");
    let session = database.session().await;
    server.begin_to_stop();
    let function = Function::start(&database, []).await;
    function
        .recovers(&["cannot_connect_now (SQLSTATE 57P03)", "shutting down"], async || {
            drop(session);
            server.stop();
            server.start();
        })
        .await;
}

#[tokio::test]
async fn a_server_in_recovery() {
    let server = Server::private();
    let database = server.database("db");
    server.restart_as_standby();
    let queries = Queries::new(&format!("{QUERIES}\nwriter: {{query: SELECT 7 AS v, primary: true}}\n"));
    let variables = [("QUERIES_FILE", queries.path())];
    let function = Function::start(&database, variables).await;
    let standby = function.scrape(AMPLE).await;
    is_complete(&standby);
    assert!(standby.of("writer_v").is_empty());
    assert_eq!(standby.value(r#"pg_exporter_query_skipped{query="writer",reason="primary"}"#), 1.0);
    assert_eq!(database.admin_cell("SELECT pg_promote()"), "t");
    let primary = function.scrape(AMPLE).await;
    is_complete(&primary);
    assert_eq!(primary.of("writer_v"), [("", 7.0)]);
}

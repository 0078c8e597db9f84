//! What is kept between scrapes, and for how long: the secret, the connection, and what becomes of it at the end.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};

use crate::events::{Event, Kind};
use crate::lambda::{
    AMPLE, CONNECTIONS, GOOD, Queries, environment, samples, scrape, secret_of, with_secret,
};
use crate::postgres::{PASSWORD, Server, TestDatabase};
use crate::runtime_api::Lambda;
use crate::secrets_manager::{self, SecretsManagerServer};
use crate::tls;

const WHERE: &str = "
place:
  query: SELECT current_database() AS name, pg_backend_pid() AS pid
  cache_seconds: 600
  metrics: [{name: {usage: LABEL}}, {pid: {usage: GAUGE}}]
session:
  query: SELECT pg_backend_pid() AS pid
  metrics: [{pid: {usage: GAUGE}}]
";

async fn start(
    queries: &Queries,
    database: &TestDatabase,
    service: &SecretsManagerServer,
    max_age: &str,
) -> Lambda {
    let mut environment = with_secret(queries, database, service);
    environment.push(("SECRET_MAX_AGE", max_age.into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    lambda
}

#[tokio::test]
async fn a_secret_is_read_again_when_it_has_its_age() {
    let database = Server::shared().database("keeping_age");
    let port = database.server().port();
    let queries = Queries::new(GOOD);
    for (max_age, calls) in [("5m", 1), ("0s", 4)] {
        let service = SecretsManagerServer::start(secret_of(&database, port, PASSWORD));
        let lambda = start(&queries, &database, &service, max_age).await;
        for _ in 0..3 {
            assert_eq!(scrape(&lambda).await.of("good_v"), [("", 1.0)]);
        }
        assert_eq!(service.calls().len(), calls, "{max_age}");
    }
}

#[tokio::test]
async fn a_session_outlives_a_change_of_its_password_and_does_not_follow_to_another_database() {
    let (first, second) = (Server::shared().database("keeping_1"), Server::shared().database("keeping_2"));
    let port = first.server().port();
    let service = SecretsManagerServer::start(secret_of(&first, port, PASSWORD));
    let queries = Queries::new(WHERE);
    let lambda = start(&queries, &first, &service, "0s").await;
    let before = scrape(&lambda).await;
    assert_eq!(before.of("place_pid")[0].0, r#"{name="keeping_1"}"#);

    service.answer(secret_of(&first, port, "not yet that of the role"));
    let kept = scrape(&lambda).await;
    assert_eq!(kept.of("session_pid"), before.of("session_pid"));

    // What was kept of the other database is not served as this one's either.
    service.answer(secret_of(&second, port, PASSWORD));
    let moved = scrape(&lambda).await;
    assert_eq!(moved.of("place_pid")[0].0, r#"{name="keeping_2"}"#);
    assert_ne!(moved.of("session_pid"), before.of("session_pid"));
    // The server hears of the end of the old session after the scrape has its new one.
    first.wait_for(&format!("SELECT count(*) = 0 FROM {CONNECTIONS}")).await;
}

#[tokio::test]
async fn what_cannot_be_renewed_is_used_on_and_is_not_asked_for_in_every_scrape() {
    let database = Server::shared().database("keeping_denied");
    let service = SecretsManagerServer::start(secret_of(&database, database.server().port(), PASSWORD));
    let queries = Queries::new(GOOD);
    let lambda = start(&queries, &database, &service, "0s").await;
    service.answer(secrets_manager::Answer::access_denied());
    for _ in 0..3 {
        assert_eq!(scrape(&lambda).await.of("good_v"), [("", 1.0)]);
    }
    assert_eq!(service.calls().len(), 2);
    let log = lambda.log();
    assert_eq!(log.matches("the credentials are not renewed").count(), 1, "{log}");
    assert!(log.contains("AccessDeniedException"), "{log}");
}

#[tokio::test]
async fn an_idle_session_is_ended_by_the_server_while_the_function_is_frozen() {
    let database = Server::shared().database("keeping_idle");
    let queries = Queries::new(GOOD);
    let mut environment = environment(&queries, database.url());
    environment.push(("DB_IDLE_CLOSE", "5s".into()));
    let lambda = Lambda::start(environment).await;
    lambda.initialised().await;
    assert_eq!(scrape(&lambda).await.of("good_v"), [("", 1.0)]);
    lambda.freeze();
    database.wait_for(&format!("SELECT count(*) = 0 FROM {CONNECTIONS}")).await;
    lambda.thaw();
    let after = scrape(&lambda).await;
    assert_eq!((after.value("pg_up"), after.of("good_v")), (1.0, vec![("", 1.0)]));
    assert_eq!(after.value("pg_exporter_last_scrape_error"), 0.0);
}

#[tokio::test]
async fn the_server_is_told_goodbye_when_the_environment_ends() {
    let database = Server::shared().database("keeping_goodbye");
    let queries = Queries::new(GOOD);
    // Asked from another database, or the sessions that ask would count.
    let is_gone = |abandoned| {
        format!(
            "SELECT numbackends = 0 AND sessions_abandoned = {abandoned} FROM pg_stat_database
             WHERE datname = '{}'",
            database.name()
        )
    };
    for (ends_by_itself, abandoned) in [(true, 0), (false, 1)] {
        let mut lambda = Lambda::start(environment(&queries, database.url())).await;
        lambda.initialised().await;
        let answer = lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
        assert_eq!(samples(&answer).value("pg_up"), 1.0);
        if ends_by_itself {
            assert_eq!(lambda.shut_down().await, Some(0), "{}", lambda.log());
        }
        // Killed, which is what the first one has been spared.
        drop(lambda);
        database.server().wait_for(&is_gone(abandoned)).await;
    }
}

/// One that a query with a session of its own ends in the middle of the scrape.
const MOVES: &str = "
kept:
  query: SELECT current_database() AS name, 1 AS v
  cache_seconds: 600
  metrics: [{name: {usage: LABEL}}, {v: {usage: GAUGE}}]
ends: {query: 'SELECT pg_terminate_backend(pg_backend_pid()) AS v, pg_sleep(5) AS w'}
later:
  query: SELECT current_database() AS name, 1 AS v
  metrics: [{name: {usage: LABEL}}, {v: {usage: GAUGE}}]
";

#[tokio::test]
async fn a_scrape_is_of_one_database() {
    let (first, second) =
        (Server::shared().database("keeping_old"), Server::shared().database("keeping_new"));
    let port = first.server().port();
    let service = SecretsManagerServer::start(secret_of(&first, port, PASSWORD));
    let queries = Queries::new(MOVES);
    let lambda = start(&queries, &first, &service, "5m").await;
    assert_eq!(scrape(&lambda).await.of("later_v")[0].0, r#"{name="keeping_old"}"#);

    // The old one takes no more sessions, so that the secret is read again in the middle of the scrape.
    service.answer(secret_of(&second, port, PASSWORD));
    first.server().admin("ALTER DATABASE keeping_old ALLOW_CONNECTIONS false");
    let between = scrape(&lambda).await;
    assert_eq!(between.value("pg_up"), 0.0);
    assert_eq!((between.of("kept_v").len(), between.of("later_v").len()), (0, 0), "{between:?}");

    let after = scrape(&lambda).await;
    let new = vec![(r#"{name="keeping_new"}"#, 1.0)];
    assert_eq!((after.of("kept_v"), after.of("later_v")), (new.clone(), new));
    first.server().admin("ALTER DATABASE keeping_old ALLOW_CONNECTIONS true");
}

#[tokio::test]
async fn a_renewal_that_hangs_leaves_the_queries_their_time() {
    let database = Server::shared().database("keeping_hangs");
    for seconds in ["2", "3"] {
        let service = SecretsManagerServer::start(secret_of(&database, database.server().port(), PASSWORD));
        let queries = Queries::new(GOOD);
        let lambda = start(&queries, &database, &service, "0s").await;
        service.answer(secrets_manager::Answer::Silence);
        let event =
            Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some(seconds));
        let answer = lambda.invoke(event.json(), AMPLE).await;
        assert!(answer.took.as_secs_f64() < seconds.parse().unwrap(), "{:?}", answer.took);
        assert_eq!(samples(&answer).of("good_v"), [("", 1.0)], "{}", lambda.log());
        assert!(!lambda.log().contains("the kept connection is dead"), "{}", lambda.log());
    }
}

/// Lambda gives the initialisation 10 s, and stops and repeats one that takes longer.
#[tokio::test]
async fn a_function_is_initialised_in_time_whatever_hangs() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = Server::shared().database("keeping_init");
    let queries = Queries::new(GOOD);
    let port = silent.local_addr().unwrap().port();
    for answer in [secrets_manager::Answer::Silence, secret_of(&database, port, PASSWORD)] {
        let service = SecretsManagerServer::start(answer);
        let mut environment = with_secret(&queries, &database, &service);
        environment.retain(|(name, _)| *name != "AUTH");
        environment.push(("AUTH_SECRET_ID", "exporter/scrape".into()));
        let begun = std::time::Instant::now();
        let lambda = Lambda::start_without_registration(environment).await;
        lambda.initialised().await;
        assert!(begun.elapsed().as_secs() < 9, "{:?}", begun.elapsed());
    }
}

/// As where a proxy looks into TLS. Amazon's own authorities are compiled in.
#[tokio::test]
async fn aws_may_have_a_certificate_of_an_authority_of_the_platform() {
    let database = Server::shared().database("keeping_tls");
    let server = database.server();
    let service = SecretsManagerServer::start(secret_of(&database, server.port(), PASSWORD));
    let (certificate, key) = server.certificate();
    let acceptor = tls::acceptor(
        CertificateDer::from_pem_file(certificate).unwrap(),
        PrivateKeyDer::from_pem_file(key).unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let behind = service.url().strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut service = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut client, &mut service).await
            });
        }
    });
    let queries = Queries::new(GOOD);
    for is_trusted in [false, true] {
        let mut environment = with_secret(&queries, &database, &service);
        environment.retain(|(variable, _)| *variable != "AWS_ENDPOINT_URL");
        environment.push(("AWS_ENDPOINT_URL", endpoint.clone()));
        if is_trusted {
            environment.push(("SSL_CERT_FILE", server.authority().to_str().unwrap().to_owned()));
        }
        let lambda = Lambda::start(environment).await;
        let up = scrape(&lambda).await.value("pg_up");
        assert_eq!(
            (up, service.calls().len()),
            (f64::from(is_trusted), is_trusted.into()),
            "{}",
            lambda.log()
        );
    }
}

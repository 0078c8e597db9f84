//! Faults that come while nothing is asked: Lambda has frozen the process.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::observed::{
    assert_complete, assert_failed, backend, idle, invoke_within, logged, running, scrape_within, sessions,
    terminate_backends, until,
};
use crate::lambda::{GOOD, Queries, environment, function, samples, with_secret};
use crate::names::Names;
use crate::path::{Black, Path};
use crate::postgres::{Server, TestDatabase};
use crate::runtime_api::Lambda;
use crate::secrets_manager::{Answer, SecretsManagerServer};

const NAME: &str = "database.example";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A query that tells servers apart, and one for a primary.
const SERVERS: &str = "
server: {query: SELECT inet_server_port() AS v}
writer: {query: SELECT 1 AS v, primary: true}
";

/// Does this while the process is stopped.
fn while_frozen<T>(lambda: &Lambda, fault: impl FnOnce() -> T) -> T {
    lambda.freeze();
    let outcome = fault();
    lambda.thaw();
    outcome
}

/// A function that has had a good scrape, and the path on which it reaches the database.
async fn by_way_of_a_path(queries: &Queries, database: &TestDatabase) -> (Lambda, Path) {
    let path = Path::to(database.server().port());
    let url = database.url_at("localhost", path.port());
    let lambda = Lambda::start(environment(queries, url)).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    (lambda, path)
}

/// A server whose certificate is for [`NAME`].
fn named_server() -> Server {
    let server = Server::private();
    server.stop();
    server.present_certificate_for(&[NAME]);
    server.start();
    server
}

#[tokio::test]
async fn the_server_is_away() {
    let server = Server::private();
    let database = server.database("away");
    let queries = Queries::new(GOOD);
    let lambda = function(&queries, &database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);

    while_frozen(&lambda, || server.stop());
    let away = scrape_within(&lambda, 10).await;
    assert_eq!(away.value("pg_up"), 0.0);
    assert_failed(&away, "good", "connection");
    logged(&lambda, &["no connection to the database", "the server cannot be reached", "refused"]).await;

    while_frozen(&lambda, || server.start());
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
}

#[tokio::test]
async fn the_server_was_restarted() {
    let server = Server::private();
    let database = server.database("restarted");
    let queries = Queries::new(GOOD);
    let lambda = function(&queries, &database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);

    while_frozen(&lambda, || {
        server.stop();
        server.start();
    });
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    logged(&lambda, &["the kept connection is dead; connecting again"]).await;
}

#[tokio::test]
async fn the_backend_was_killed() {
    let database = Server::shared().database("backend_killed");
    let queries = Queries::new(GOOD);
    let lambda = function(&queries, &database).await;
    let before = backend(&database);
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    assert_eq!(backend(&database), before, "the connection is kept");

    while_frozen(&lambda, || terminate_backends(&database));
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    assert_ne!(backend(&database), before);
    logged(&lambda, &["the kept connection is dead; connecting again"]).await;
}

#[tokio::test]
async fn the_server_closed_the_idle_connection() {
    let database = Server::shared().database("idle_closed");
    database.admin("ALTER DATABASE idle_closed SET idle_session_timeout = '2s'");
    let queries = Queries::new(GOOD);
    let lambda = function(&queries, &database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);

    lambda.freeze();
    until(|| sessions(&database).is_empty(), || "the server keeps the session".to_owned()).await;
    lambda.thaw();
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    logged(&lambda, &["the kept connection is dead; connecting again"]).await;
}

#[tokio::test]
async fn the_path_is_a_black_hole() {
    let database = Server::shared().database("black_path");
    let queries = Queries::new(GOOD);
    let (lambda, path) = by_way_of_a_path(&queries, &database).await;

    while_frozen(&lambda, || path.goes_black(Black::All));
    let black = scrape_within(&lambda, 10).await;
    assert_eq!(black.value("pg_up"), 0.0);
    assert_failed(&black, "good", "connection");
    logged(&lambda, &["no connection to the database", "timed out"]).await;

    while_frozen(&lambda, || path.is_back());
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    idle(&database).await;
    // What was given up on the black path ends with it.
    until(|| sessions(&database).len() == 1, || format!("{:?}", sessions(&database))).await;
}

#[tokio::test]
async fn the_path_was_a_black_hole_and_is_back() {
    let database = Server::shared().database("black_and_back");
    let queries = Queries::new(GOOD);
    let (lambda, path) = by_way_of_a_path(&queries, &database).await;
    let before = backend(&database);

    while_frozen(&lambda, || {
        path.goes_black(Black::All);
        // The server ends the session, and nobody hears of it until the path is back.
        terminate_backends(&database);
        path.is_back();
    });
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    assert_ne!(backend(&database), before);
}

#[tokio::test]
async fn the_old_connection_is_a_black_hole() {
    let database = Server::shared().database("black_connection");
    let queries = Queries::new(GOOD);
    let (lambda, path) = by_way_of_a_path(&queries, &database).await;

    while_frozen(&lambda, || path.goes_black(Black::Open));
    let answer = invoke_within(&lambda, 10).await;
    assert_complete(&samples(&answer), &["good_v"]);
    // It costs the second in which the connection does not say that it is alive.
    assert!((1..4).contains(&answer.took.as_secs()), "{:?}", answer.took);
    logged(&lambda, &["the kept connection is dead; connecting again"]).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
}

#[tokio::test]
async fn the_name_has_another_address() {
    let server = named_server();
    let database = server.database("moved");
    let queries = Queries::new(GOOD);
    let old = Path::to(server.port());
    let _new = Path::from((THERE, old.port()).into(), server.port());
    let mut names = Names::new(NAME, [HERE]);
    let environment = environment(&queries, database.url_at(NAME, old.port()));
    let lambda = Lambda::start(environment.into_iter().chain(names.environment())).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);

    while_frozen(&lambda, || {
        old.goes_black(Black::All);
        names.lead(NAME, [THERE]);
    });
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
    logged(&lambda, &["the kept connection is dead; connecting again"]).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v"]);
}

#[tokio::test]
async fn the_name_leads_to_another_server() {
    let (old_server, new_server) = (named_server(), named_server());
    let old_database = old_server.database("failover");
    let new_database = new_server.database("failover");
    let folder = tempfile::tempdir().unwrap();
    let authorities =
        [&old_server, &new_server].map(|server| fs::read_to_string(server.authority()).unwrap());
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authorities.concat()).unwrap();
    new_server.restart_as_standby();

    let queries = Queries::new(&format!("{GOOD}{SERVERS}"));
    let old = Path::to(old_server.port());
    let _new = Path::from((THERE, old.port()).into(), new_server.port());
    let mut names = Names::new(NAME, [HERE]);
    let url = old_database.url_at(NAME, old.port());
    let (url, _) = url.split_once("&sslrootcert").unwrap();
    let environment = environment(&queries, url.to_owned())
        .into_iter()
        .chain(names.environment())
        .chain([("PGSSLROOTCERT", roots.to_str().unwrap().to_owned())]);
    let lambda = Lambda::start(environment).await;
    let before = scrape_within(&lambda, 10).await;
    assert_complete(&before, &["good_v", "server_v", "writer_v"]);
    assert_eq!(before.value("server_v"), f64::from(old_server.port()));

    while_frozen(&lambda, || {
        old_server.kill();
        names.lead(NAME, [THERE]);
    });
    let standby = scrape_within(&lambda, 10).await;
    assert_complete(&standby, &["good_v"]);
    assert_eq!(standby.value("server_v"), f64::from(new_server.port()));
    assert_eq!(standby.value(r#"pg_exporter_query_skipped{query="writer",reason="primary"}"#), 1.0);
    assert_eq!(standby.of("writer_v"), []);

    while_frozen(&lambda, || assert_eq!(new_database.admin_cell("SELECT pg_promote()"), "t"));
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v", "server_v", "writer_v"]);
}

#[tokio::test]
async fn the_server_became_a_standby() {
    let server = Server::private();
    let database = server.database("demoted");
    let queries = Queries::new(&format!("{GOOD}{SERVERS}"));
    let lambda = function(&queries, &database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v", "server_v", "writer_v"]);

    while_frozen(&lambda, || server.restart_as_standby());
    let standby = scrape_within(&lambda, 10).await;
    assert_complete(&standby, &["good_v", "server_v"]);
    assert_eq!(standby.value(r#"pg_exporter_query_skipped{query="writer",reason="primary"}"#), 1.0);
    assert_eq!(standby.of("writer_v"), []);

    while_frozen(&lambda, || assert_eq!(database.admin_cell("SELECT pg_promote()"), "t"));
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v", "server_v", "writer_v"]);
}

#[tokio::test]
async fn the_password_was_rotated() {
    let database = Server::shared().database("rotated");
    database.admin("CREATE ROLE rotating LOGIN PASSWORD 'before the rotation'");
    let secret = |password: &str| {
        let (port, name) = (database.server().port(), database.name());
        let secret = serde_json::json!({
            "engine": "postgres", "host": "localhost", "port": port,
            "username": "rotating", "password": password, "dbname": name,
        });
        Answer::text(&secret.to_string())
    };
    let service = SecretsManagerServer::start(secret("before the rotation"));
    let queries = Queries::new(&format!("{GOOD}{SERVERS}"));
    let lambda = Lambda::start(with_secret(&queries, &database, &service)).await;
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    scrape_within(&lambda, 10).await;
    let before = invoke_within(&lambda, 10).await.text();

    while_frozen(&lambda, || {
        database.admin("ALTER ROLE rotating PASSWORD 'after the rotation'");
        service.answer(secret("after the rotation"));
        terminate_backends(&database);
    });
    let answer = invoke_within(&lambda, 10).await;
    assert_complete(&samples(&answer), &["good_v", "server_v", "writer_v"]);
    assert_eq!(series(&answer.text()), series(&before));
    logged(&lambda, &["invalid_password", "28P01"]).await;
    let log = lambda.log();
    assert!(!log.contains("the rotation"), "{log}");
}

#[tokio::test]
async fn frozen_in_the_middle_of_a_scrape_until_after_its_deadline() {
    let database = Server::shared().database("frozen");
    database.admin(
        "CREATE TABLE locked (v int); INSERT INTO locked VALUES (1); GRANT SELECT ON locked TO PUBLIC",
    );
    let holder = database.session().await;
    holder.batch_execute("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let queries = Queries::new(&format!(
        "{GOOD}blocked: {{query: SELECT v FROM locked, timeout: 10m}}\nlast: {{query: SELECT 3 AS v}}\n"
    ));
    let lambda = function(&queries, &database).await;
    let deadline = Instant::now() + Duration::from_secs(4);
    let event = crate::events::Event::recorded(crate::events::Kind::HttpApi)
        .header("x-prometheus-scrape-timeout-seconds", Some("4"));
    let freeze = async {
        running(&database, "FROM locked").await;
        lambda.freeze();
        tokio::time::sleep_until((deadline + Duration::from_secs(1)).into()).await;
        lambda.thaw();
        Instant::now()
    };
    let (answer, thawed) = tokio::join!(lambda.invoke(event.json(), Duration::from_secs(5)), freeze);
    assert!(thawed.elapsed() < Duration::from_secs(2), "it answers at once");
    let late = samples(&answer);
    assert_eq!(late.of("good_v"), [("", 1.0)]);
    assert_failed(&late, "blocked", "deadline");
    assert_failed(&late, "last", "deadline");
    idle(&database).await;

    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_complete(&scrape_within(&lambda, 10).await, &["good_v", "blocked_v", "last_v"]);
}

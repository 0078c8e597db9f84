//! The real binary, driven through the Runtime API, with a real PostgreSQL behind it: what a scraper sees.

use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{Event, Kind};
use crate::faults::observed::logged;
use crate::limits::log_of_one_scrape;
use crate::pgbouncer::Pgbouncer;
use crate::postgres::{ROLE, Server, TestDatabase};
use crate::runtime_api::{Answer, Lambda};
use crate::samples::Samples;
use crate::secrets_manager::{self, SecretsManagerServer};

/// More than any scrape here needs.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);

/// The function's connections to the database that is asked.
pub(crate) const CONNECTIONS: &str = "pg_stat_activity
    WHERE application_name LIKE 'pg-lambda-exporter/%' AND datname = current_database()";

/// A file of queries that lives as long as the test.
pub(crate) struct Queries(tempfile::NamedTempFile);

impl Queries {
    pub(crate) fn new(text: &str) -> Self {
        let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self(file)
    }

    pub(crate) fn path(&self) -> String {
        self.0.path().to_str().unwrap().to_owned()
    }
}

/// The function's environment for a database that is known by its URL.
pub(crate) fn environment(queries: &Queries, url: String) -> Vec<(&'static str, String)> {
    vec![("AUTH", "none".into()), ("QUERIES_FILE", queries.path()), ("DATABASE_URL", url)]
}

/// A warm function.
pub(crate) async fn function(queries: &Queries, database: &TestDatabase) -> Lambda {
    let lambda = Lambda::start(environment(queries, database.url())).await;
    lambda.initialised().await;
    lambda
}

/// What the function answers, in 0.0.4, to one scrape of these queries.
/// One answer, by way of an HTTP API.
pub(crate) async fn scrape_of(queries: &Queries, database: &TestDatabase) -> String {
    let lambda = function(queries, database).await;
    let event = Event::recorded(Kind::HttpApi).header("accept", None);
    lambda.invoke(event.json(), AMPLE).await.text()
}

/// One answer, by way of an HTTP API.
pub(crate) async fn scrape(lambda: &Lambda) -> Samples {
    let answer = lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
    samples(&answer)
}

/// The samples of an answer, which must be one of a scrape.
pub(crate) fn samples(answer: &Answer) -> Samples {
    assert_eq!(answer.status, 200, "{}", answer.text());
    Samples::parse(&answer.text())
}

/// A query that works anywhere.
pub(crate) const GOOD: &str = "
good:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAUGE, description: One}}]
";

#[tokio::test]
async fn all_kinds_of_event_get_the_same_exposition() {
    let database = Server::shared().database("kinds");
    let queries = Queries::new(
        "q:\n  query: SELECT g AS l, g AS v FROM generate_series(1, 100) g\n  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]\n",
    );
    let lambda = function(&queries, &database).await;
    for kind in Kind::ALL {
        let answer = lambda.invoke(Event::recorded(kind).json(), AMPLE).await;
        assert_eq!(
            answer.headers["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        // A REST API hands base64 on as it is.
        let binary = kind != Kind::RestApi;
        assert_eq!(
            (answer.is_base64, answer.headers.contains_key("content-encoding")),
            (binary, binary),
            "{kind:?}"
        );
        assert!(answer.text().ends_with("\n# EOF\n"));
        assert_eq!(samples(&answer).of("q_v").len(), 100);

        let plain =
            Event::recorded(kind).header("accept", Some("text/plain")).header("accept-encoding", None);
        let answer = lambda.invoke(plain.json(), AMPLE).await;
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(!answer.is_base64 && !answer.text().contains("# EOF"), "{kind:?}");
        assert_eq!(samples(&answer).of("q_v").len(), 100);
    }
}

#[tokio::test]
async fn a_query_that_fails_takes_nothing_from_the_others() {
    let database = Server::shared().database("partial");
    database
        .admin("CREATE TABLE private (v int); CREATE TABLE locked (v int); INSERT INTO locked VALUES (1)");
    database.admin(&format!("GRANT SELECT ON locked TO {ROLE}"));
    let holder = database.session().await;
    holder.batch_execute("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let queries = Queries::new(
        "
first:
  query: SELECT 'a' AS l, 1 AS v UNION ALL SELECT 'b', 2
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
division:
  query: SELECT 1/0 AS v
  metrics: [{v: {usage: GAUGE}}]
sleeper:
  query: SELECT 1 AS v FROM pg_sleep(600)
  timeout: 200ms
  metrics: [{v: {usage: GAUGE}}]
forbidden:
  query: SELECT v FROM private
  metrics: [{v: {usage: GAUGE}}]
missing:
  query: SELECT v FROM nowhere
  metrics: [{v: {usage: GAUGE}}]
schemaless:
  query: SELECT monitor.v()
middle:
  query: SELECT g AS l, 10 / (3 - g) AS v FROM generate_series(1, 5) g
  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]
blocked:
  query: SELECT v FROM locked
  timeout: 200ms
  metrics: [{v: {usage: GAUGE}}]
mistaken:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAGUE}}]
absent:
  query: SELECT 1 AS v
  metrics: [{v: {usage: GAUGE}}, {w: {usage: GAUGE}}]
last:
  query: SELECT 3 AS v
  metrics: [{v: {usage: COUNTER}}]
",
    );
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;

    assert_eq!(samples.of("first_v"), [(r#"{l="a"}"#, 1.0), (r#"{l="b"}"#, 2.0)]);
    assert_eq!(samples.of("last_v"), [("", 3.0)]);
    assert_eq!(samples.of("absent_v"), [("", 1.0)], "the columns that are there");
    for bad in ["division_v", "sleeper_v", "forbidden_v", "missing_v", "middle_v", "blocked_v", "mistaken_v"]
    {
        assert!(samples.of(bad).is_empty(), "{bad}");
    }
    let reasons = samples.of("pg_exporter_query_error");
    let expected = [
        ("division", "other"),
        ("sleeper", "timeout"),
        ("forbidden", "permission"),
        ("missing", "undefined"),
        ("schemaless", "undefined"),
        ("middle", "other"),
        ("blocked", "timeout"),
        ("absent", "config"),
        ("mistaken", "config"),
    ]
    .map(|(query, reason)| (format!(r#"{{query="{query}",reason="{reason}"}}"#), 1.0));
    assert_eq!(reasons.iter().map(|(labels, v)| ((*labels).to_owned(), *v)).collect::<Vec<_>>(), expected);
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 1.0);
    assert_eq!(samples.value("pg_up"), 1.0);
    assert_eq!(samples.value(r#"pg_exporter_query_success{query="first"}"#), 1.0);
    assert_eq!(samples.value(r#"pg_exporter_query_success{query="middle"}"#), 0.0);
    let log = lambda.log();
    assert!(log.contains("division_by_zero (SQLSTATE 22012)"), "{log}");
    assert!(log.contains("mistaken.metrics[0].v.usage"), "{log}");
}

#[tokio::test]
async fn what_was_too_slow_waits_for_the_others_in_the_next_scrape() {
    let database = Server::shared().database("slow_first");
    let queries = Queries::new(&format!("endless: {{query: SELECT pg_sleep(600), timeout: 10m}}\n{GOOD}"));
    let lambda = function(&queries, &database).await;
    let event =
        || Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("2")).json();
    let first = samples(&lambda.invoke(event(), AMPLE).await);
    assert_eq!(first.value(r#"pg_exporter_query_error{query="good",reason="deadline"}"#), 1.0);
    let second = samples(&lambda.invoke(event(), AMPLE).await);
    assert_eq!(second.of("good_v"), [("", 1.0)]);
    assert_eq!(second.value(r#"pg_exporter_query_error{query="endless",reason="deadline"}"#), 1.0);
}

#[tokio::test]
async fn two_slow_queries_do_not_take_turns_before_the_others() {
    let database = Server::shared().database("slow_both");
    let slow = "{query: SELECT pg_sleep(600), timeout: 10m}";
    let queries = Queries::new(&format!("endless: {slow}\neternal: {slow}\n{GOOD}"));
    let lambda = function(&queries, &database).await;
    let event =
        || Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("2")).json();
    for _ in 0..2 {
        lambda.invoke(event(), AMPLE).await;
    }
    for _ in 0..2 {
        assert_eq!(samples(&lambda.invoke(event(), AMPLE).await).of("good_v"), [("", 1.0)]);
    }
}

#[tokio::test]
async fn a_name_that_is_declared_is_not_taken_while_its_query_is_skipped() {
    let database = Server::shared().database("claimed");
    let queries = Queries::new(
        "
declared:
  name: a
  query: SELECT 1 AS x_total
  predicate_query: SELECT false
  metrics: [{x_total: {usage: COUNTER}}]
undeclared: {name: a, query: 'SELECT 5 AS x_total, 6 AS y'}
",
    );
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;
    assert!(samples.of("a_x_total").is_empty(), "{samples:?}");
    assert_eq!(samples.of("a_y"), [("", 6.0)]);
    let dropped = r#"pg_exporter_query_samples_dropped{query="undeclared",reason="invalid"}"#;
    assert_eq!(samples.value(dropped), 1.0);
}

#[tokio::test]
async fn what_a_function_raises_is_not_repeated() {
    let database = Server::shared().database("raised");
    database.admin(
        "CREATE FUNCTION raise() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'row of %', 'hunter2'; END$$",
    );
    let queries = Queries::new(&format!("{GOOD}raises: {{query: SELECT raise() AS v}}\n"));
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="raises",reason="other"}"#), 1.0);
    let log = lambda.log();
    assert!(log.contains("P0001") && !log.contains("hunter2") && !log.contains("row of"), "{log}");
}

#[tokio::test]
async fn headers_that_stand_several_times_are_one_list() {
    let database = Server::shared().database("several_headers");
    let queries = Queries::new(
        "q: {query: SELECT g AS l, g AS v FROM generate_series(1, 100) g, metrics: [{l: {usage: LABEL}}]}\n",
    );
    let lambda = function(&queries, &database).await;
    let event = Event::recorded(Kind::RestApi).edit(|json| {
        json["multiValueHeaders"]["Accept"] =
            serde_json::json!(["text/plain;q=0.1", "application/openmetrics-text"]);
    });
    let answer = lambda.invoke(event.json(), AMPLE).await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

#[tokio::test]
async fn a_scrape_without_time_keeps_the_connection() {
    let database = Server::shared().database("no_time");
    let queries = Queries::new(GOOD);
    let lambda = function(&queries, &database).await;
    let backend = format!("SELECT max(pid) FROM {CONNECTIONS}");
    let before = database.admin_cell(&backend);
    let event = Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("0.1"));
    let hasty = samples(&lambda.invoke(event.json(), AMPLE).await);
    assert_eq!(hasty.value(r#"pg_exporter_query_error{query="good",reason="deadline"}"#), 1.0);
    assert_eq!(scrape(&lambda).await.of("good_v"), [("", 1.0)]);
    assert_eq!(database.admin_cell(&backend), before);
}

#[tokio::test]
async fn an_unreadable_file_is_an_error_of_the_scrape() {
    let database = Server::shared().database("unreadable");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yml"), GOOD).unwrap();
    std::fs::write(folder.path().join("b.yml"), b"b: \xff").unwrap();
    let lambda = Lambda::start([
        ("AUTH", "none".into()),
        ("QUERIES_FILE", folder.path().to_str().unwrap().into()),
        ("DATABASE_URL", database.url()),
    ])
    .await;
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("good_v"), [("", 1.0)]);
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 1.0);
}

#[tokio::test]
async fn the_first_scrape_finds_a_connection() {
    let database = Server::shared().database("warm");
    let queries = Queries::new(GOOD);
    let lambda = function(&queries, &database).await;
    let connections = format!("SELECT count(*) FROM {CONNECTIONS}");
    assert_eq!(database.admin_cell(&connections), "1");
    let first = scrape(&lambda).await;
    assert_eq!(first.value("pg_exporter_cold_start"), 1.0);
    assert_eq!(scrape(&lambda).await.value("pg_exporter_cold_start"), 0.0);
    assert_eq!(database.admin_cell(&connections), "1");
}

#[tokio::test]
async fn writing_queries_fail_and_change_nothing() {
    let database = Server::shared().database("readonly");
    database.admin(
        "CREATE TABLE t (v int); INSERT INTO t VALUES (1);
         CREATE FUNCTION put() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING v'",
    );
    let queries = Queries::new(&format!(
        "{GOOD}
create: {{query: 'CREATE TABLE u (v int)'}}
delete: {{query: 'DELETE FROM t RETURNING v'}}
call: {{query: 'SELECT put() AS v'}}
mode: {{query: 'SET TRANSACTION READ WRITE; SELECT put() AS v'}}
setting: {{query: \"SELECT set_config('transaction_read_only', 'off', true); SELECT put() AS v\"}}
with: {{query: 'WITH w AS (INSERT INTO t VALUES (4) RETURNING v) SELECT v FROM w'}}
explain: {{query: 'EXPLAIN (ANALYZE, TIMING false) CREATE TABLE u AS SELECT 1'}}
commit: {{query: 'COMMIT; INSERT INTO t VALUES (5) RETURNING v'}}
"
    ));
    // The superuser: what protects here is the transaction, not the role.
    let (server, name) = (database.server(), database.name());
    let url = format!(
        "postgres://postgres@/{name}?host={}&port={}",
        server.socket_folder().display(),
        server.port()
    );
    let lambda = Lambda::start(environment(&queries, url)).await;
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("good_v"), [("", 1.0)]);
    for query in ["create", "delete", "call", "mode", "setting", "with", "explain", "commit"] {
        assert_eq!(
            samples.value(&format!(r#"pg_exporter_query_success{{query="{query}"}}"#)),
            0.0,
            "{query}"
        );
    }
    assert_eq!(samples.value(r#"pg_exporter_query_error{query="commit",reason="config"}"#), 1.0);
    assert_eq!(database.admin_cell("SELECT string_agg(v::text, ',') FROM t"), "1");
    assert_eq!(database.admin_cell("SELECT count(*) FROM pg_class WHERE relname = 'u'"), "0");
}

#[tokio::test]
async fn five_mistakes_are_told_at_once_and_the_sixth_namespace_is_scraped() {
    let database = Server::shared().database("mistakes");
    let queries = Queries::new(
        "
one: {query: 'SELECT 1 AS v', metrics: [{v: {usage: GAGUE}}]}
two: {metrics: [{v: {usage: GAUGE}}]}
three: {query: 'COMMIT', metrics: [{v: {usage: GAUGE}}]}
four: {query: 'SELECT 1 AS v', metrics: [{v: {usage: GAUGE, name: 'a-b'}}]}
five: {query: 'SELECT 1 AS v', timeout: soon}
six: {query: 'SELECT 6 AS v', metrics: [{v: {usage: GAUGE}}]}
",
    );
    let lambda = function(&queries, &database).await;
    assert_eq!(scrape(&lambda).await.of("six_v"), [("", 6.0)]);
    let log = lambda.log();
    for place in ["one.metrics[0].v.usage", "two", "three.query", "four.metrics[0].v.name", "five.timeout"] {
        assert!(log.contains(&format!(": {place}: ")), "{place} in {log}");
    }
}

#[tokio::test]
async fn what_keeps_the_function_from_scraping_is_said_by_kind_and_never_by_value() {
    let good = Queries::new(GOOD);
    let bad = Queries::new("one: {query: COMMIT}\n");
    let url = || "postgres://exporter@localhost/shop".to_owned();
    let variables = "the function's environment variables have a mistake";
    let queries = "no query can run: the query files are missing, or each query has a mistake";
    let cases = [
        (environment(&good, url()), ("MAX_SERIES", "many-4711"), variables),
        (environment(&good, "mysql://root@4711/x".into()), ("AUTH", "none"), variables),
        (environment(&good, url()), ("DB_SECRET_ID", "secret-4711"), variables),
        (environment(&good, url()), ("QUERIES_FILE", "/nowhere/4711.yml"), queries),
        (environment(&bad, url()), ("AUTH", "none"), queries),
    ];
    for (mut environment, (variable, value), expected) in cases {
        environment.push((variable, value.to_owned()));
        let lambda = Lambda::start(environment).await;
        for (path, status) in [("/metrics", 500), ("/", 200)] {
            let answer = lambda.invoke(Event::get(Kind::HttpApi, path).json(), AMPLE).await;
            let text = answer.text();
            assert_eq!(answer.status, status, "{text}");
            assert!(text.contains(expected) && !text.contains("4711"), "{variable} {path}: {text}");
        }
    }
}

#[tokio::test]
async fn a_hundred_scrapes_leave_one_entry_for_each_query_in_pg_stat_statements() {
    let database = Server::shared().database("statements");
    database.admin("CREATE EXTENSION pg_stat_statements");
    let queries = Queries::new(&format!("{GOOD}\nother: {{query: 'SELECT count(*) AS v FROM pg_class'}}\n"));
    let lambda = function(&queries, &database).await;
    for tenths in 0..100 {
        let timeout = format!("{:.1}", 3.0 + f64::from(tenths) / 10.0);
        let event =
            Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some(&timeout));
        assert_eq!(samples(&lambda.invoke(event.json(), AMPLE).await).value("pg_up"), 1.0);
    }
    let entries = |like: &'static str| {
        format!(
            "SELECT count(*) FROM pg_stat_statements s JOIN pg_database d ON d.oid = dbid
             WHERE datname = current_database() AND {like}"
        )
    };
    assert_eq!(database.admin_cell(&entries("calls = 100 AND query LIKE 'SELECT $1 AS v%'")), "1");
    assert_eq!(database.admin_cell(&entries("calls = 100 AND query LIKE '%FROM pg_class'")), "1");
    assert_eq!(database.admin_cell(&entries("calls >= 100 AND query LIKE '%set_config%'")), "1");
    assert_eq!(database.admin_cell(&entries("calls >= 100 AND query LIKE '%pg_is_in_recovery%'")), "1");
    // And nothing else but the test's own.
    assert_eq!(database.admin_cell(&entries("calls >= 50")), "4");
}

/// The environment of a function with its database in Secrets Manager.
pub(crate) fn with_secret(
    queries: &Queries,
    database: &TestDatabase,
    service: &SecretsManagerServer,
) -> Vec<(&'static str, String)> {
    vec![
        ("AUTH", "none".into()),
        ("QUERIES_FILE", queries.path()),
        ("DB_SECRET_ID", "exporter/db".into()),
        ("PGSSLROOTCERT", database.server().authority().to_str().unwrap().into()),
        ("PGSSLMODE", "verify-full".into()),
        ("AWS_ENDPOINT_URL", service.url()),
        ("AWS_REGION", "eu-central-1".into()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".into()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE".into()),
    ]
}

pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

pub(crate) fn secret_of(database: &TestDatabase, port: u16, password: &str) -> secrets_manager::Answer {
    let secret = serde_json::json!({
        "engine": "postgres", "host": "localhost", "port": port,
        "username": ROLE, "password": password, "dbname": database.name(),
    });
    secrets_manager::Answer::text(&secret.to_string())
}

#[tokio::test]
async fn a_scrape_through_pgbouncer_is_complete_and_leaves_nothing_behind() {
    let database = Server::shared().database("pooled");
    let bouncer = Pgbouncer::start(&database);
    let queries = Queries::new(&format!(
        "{GOOD}\nsets: {{query: \"SET work_mem = '7MB'; SELECT pg_size_bytes(current_setting('work_mem')) AS v\"}}\n"
    ));
    let lambda = Lambda::start(environment(&queries, bouncer.url())).await;
    for _ in 0..3 {
        let samples = scrape(&lambda).await;
        assert_eq!((samples.value("pg_up"), samples.value("pg_exporter_last_scrape_error")), (1.0, 0.0));
        assert_eq!(samples.of("sets_v"), [("", 7.0 * 1024.0 * 1024.0)]);
    }
    // The pool has one server connection, so another client is given the one that the scrapes had.
    let queries = Queries::new(
        "
settings:
  query: |
    SELECT reset_val AS reset, setting AS now,
           (SELECT count(*) FROM pg_prepared_statements) AS prepared
    FROM pg_settings WHERE name = 'work_mem'
",
    );
    let other = scrape(&Lambda::start(environment(&queries, bouncer.url())).await).await;
    assert_eq!(other.value("settings_prepared"), 0.0);
    assert_eq!(other.value("settings_now"), other.value("settings_reset"));
}

/// Lambda reads both of each line, and takes one without a time for INFO whatever its level is.
#[tokio::test]
async fn lines_of_json_have_a_time_and_a_level_and_queries_that_were_not_sent_share_one() {
    let database = Server::shared().database("logged");
    let late = "late: {query: SELECT 1 AS v}\nlater: {query: SELECT 1 AS v}\n";
    let slow = "slow: {query: 'SELECT pg_sleep(60)', timeout: 10m}\n";
    let queries = Queries::new(&format!("{GOOD}\n{slow}{late}"));
    let lambda = function(&queries, &database).await;
    let event = Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("2"));
    lambda.invoke(event.json(), AMPLE).await;
    let log = log_of_one_scrape(&lambda).await;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).is_ok(), "{line}");
        assert!(["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().unwrap()), "{line}");
    }
    let of = |fields: &Value| ["query", "reason", "queries"].map(|key| fields[key].clone());
    let expected =
        [[json!("slow"), json!("deadline"), Value::Null], [Value::Null, json!("deadline"), json!(2)]];
    assert_eq!(complaints(&log).iter().map(of).collect::<Vec<_>>(), expected);
}

/// What needs attention: the fields of each warning and error.
fn complaints(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let complaints = lines.filter(|line| ["WARN", "ERROR"].iter().any(|level| line["level"] == *level));
    complaints.map(|line| line["fields"].clone()).collect()
}

#[tokio::test]
async fn without_a_connection_the_log_has_one_line_and_not_one_for_each_query() {
    let many: String = (0..20).map(|index| format!("query_{index}: {{query: SELECT 1 AS v}}\n")).collect();
    let queries = Queries::new(&many);
    // It is bound and does not listen, so nothing else can have the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url =
        format!("postgres://{ROLE}@127.0.0.1:{}/db?sslmode=disable", socket.local_addr().unwrap().port());
    let lambda = Lambda::start(environment(&queries, url)).await;
    lambda.initialised().await;
    assert_eq!(scrape(&lambda).await.of("pg_exporter_query_error").len(), 20);
    let log = log_of_one_scrape(&lambda).await;
    let messages: Vec<_> = complaints(&log).iter().map(|fields| fields["message"].clone()).collect();
    // One of the initialisation and one of the scrape.
    assert_eq!(messages, ["no connection to the database"; 2], "{log}");
}

#[tokio::test]
async fn queries_behind_a_lost_server_share_a_line_of_the_log() {
    let database = Server::shared().database("lost_for_good");
    let queries = Queries::new(&format!(
        "ends: {{query: SELECT pg_terminate_backend(pg_backend_pid())}}\n{GOOD}\nother: {{query: SELECT 1 AS v}}\n"
    ));
    let lambda = Lambda::start(environment(&queries, database.url())).await;
    lambda.initialised().await;
    database
        .server()
        .database("lost_elsewhere")
        .admin(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name()));
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("pg_exporter_query_error").len(), 3);
    let log = log_of_one_scrape(&lambda).await;
    let mut not_run = complaints(&log);
    not_run.retain(|fields| fields["message"] == "queries not run");
    assert_eq!(
        not_run,
        [json!({"message": "queries not run", "reason": "connection", "queries": 2})],
        "{log}"
    );
}

#[tokio::test]
async fn names_that_the_server_does_not_know_are_undefined_and_no_syntax() {
    let database = Server::shared().database("undefined");
    let undefined = [
        ("of_table", "SELECT v FROM nowhere"),
        ("of_column", "SELECT relnam FROM pg_class"),
        ("of_function", "SELECT nowhere()"),
        ("of_argument", "SELECT upper(1)"),
        ("of_operator", "SELECT 1 = 'x'::text"),
        ("of_schema", "SELECT monitor.v()"),
        ("of_type", "SELECT 1::nothing"),
        ("of_relation", "SELECT * FROM monitor.t"),
    ];
    let syntax = [
        ("syntax", "SELECT FROM WHERE"),
        ("ambiguous", "SELECT relname FROM pg_class a, pg_class b"),
        ("ungrouped", "SELECT relname, count(*) FROM pg_class"),
    ];
    let query = |(name, sql): &(&str, &str)| format!("{name}: {{query: \"{sql}\"}}\n");
    let queries = Queries::new(&undefined.iter().chain(&syntax).map(query).collect::<String>());
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;
    for (name, _) in undefined {
        let labels = format!(r#"{{query="{name}",reason="undefined"}}"#);
        assert_eq!(samples.value(&format!("pg_exporter_query_error{labels}")), 1.0, "{name}");
    }
    for (name, _) in syntax {
        let labels = format!(r#"{{query="{name}",reason="syntax"}}"#);
        assert_eq!(samples.value(&format!("pg_exporter_query_error{labels}")), 1.0, "{name}");
    }
    // PostgreSQL's HINT is for a terminal.
    let log = log_of_one_scrape(&lambda).await;
    assert!(!log.contains("Perhaps you meant") && !log.contains("No function matches"), "{log}");
}

#[tokio::test]
async fn a_file_of_another_program_is_one_line_of_the_log() {
    let database = Server::shared().database("config_map");
    let entries: String =
        (0..100).map(|index| format!("  key_{index}: |\n    a: {{query: SELECT 1}}\n")).collect();
    let queries = Queries::new(&format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{}}\ndata:\n{entries}"));
    let lambda = Lambda::start(environment(&queries, database.url())).await;
    let answer = lambda.invoke(Event::recorded(Kind::HttpApi).json(), AMPLE).await;
    assert_eq!(answer.status, 500);
    logged(&lambda, &["ERROR", "Kubernetes ConfigMap", "docs/migration.md#cloudnativepg"]).await;
    assert_eq!(complaints(&lambda.log()).len(), 1, "{}", lambda.log());
}

#[tokio::test]
async fn the_log_says_why_a_column_is_missing_or_has_no_samples() {
    let database = Server::shared().database("explained");
    let queries = Queries::new(
        "
folded: {query: SELECT 1 AS Total, metrics: [{Total: {usage: GAUGE}}]}
arrays: {query: SELECT 1.5 AS seconds, metrics: [{seconds: {usage: HISTOGRAM}}]}
labels: {query: SELECT relname FROM pg_class LIMIT 1, metrics: [{relname: {usage: LABEL}}]}
unlisted: {query: 'SELECT relname, reltuples FROM pg_class LIMIT 1', metrics: [{reltuples: {usage: GAUGE}}]}
",
    );
    let lambda = function(&queries, &database).await;
    scrape(&lambda).await;
    for words in [
        ["folded", "no column \\\"Total\\\", but \\\"total\\\"", "list it as `total`"],
        ["arrays", "HISTOGRAM also needs", "add `buckets`"],
        ["labels", "no column is a metric", "GAUGE"],
        ["unlisted", "relname", "list it as LABEL or DISCARD"],
    ] {
        logged(&lambda, &words).await;
    }
}

/// A server that a query asks by way of another may be anybody's, and raises any SQLSTATE. `hush` is a value.
#[tokio::test]
async fn values_that_another_server_raises_are_not_logged() {
    let server = Server::shared();
    let database = server.database("foreign_values");
    let available = "SELECT FROM pg_available_extensions WHERE name IN ('dblink', 'postgres_fdw')";
    if database.admin(available).len() < 2 {
        eprintln!("dblink and postgres_fdw are not installed: `sudo apt-get install postgresql-contrib`");
        return;
    }
    let (port, name) = (server.port(), database.name());
    database.admin(&format!(
        "CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw;
        CREATE ROLE remote LOGIN PASSWORD 'of-the-remote-role';
        CREATE FUNCTION leak(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'hush' USING ERRCODE = code; END $$;
        CREATE VIEW leaking AS SELECT leak('42601') AS v; GRANT SELECT ON leaking TO remote;
        CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw
            OPTIONS (host '127.0.0.1', port '{port}', dbname '{name}');
        CREATE USER MAPPING FOR {ROLE} SERVER other OPTIONS (user 'remote', password 'of-the-remote-role');
        CREATE FOREIGN TABLE leaking_there (v int) SERVER other OPTIONS (table_name 'leaking');
        CREATE FOREIGN TABLE absent_there (v int) SERVER other OPTIONS (table_name 'hush');
        GRANT SELECT ON leaking_there, absent_there TO {ROLE}"
    ));
    let address = format!("host=127.0.0.1 port={port} dbname={name} user=remote password=of-the-remote-role");
    let by_dblink = |sql: &str| format!("SELECT * FROM dblink('{address}', $$ {sql} $$) AS t (v int)");
    let cases = [
        ("raised", by_dblink("SELECT leak('42601')"), "syntax_error (SQLSTATE 42601)"),
        ("raised_own", by_dblink("SELECT leak('ZZ123')"), "SQLSTATE ZZ123"),
        ("absent", by_dblink("SELECT * FROM hush"), "undefined_table (SQLSTATE 42P01)"),
        ("literal", by_dblink("SELECT 1 'hush'"), "syntax_error (SQLSTATE 42601)"),
        ("raised_there", "SELECT * FROM leaking_there".into(), "syntax_error (SQLSTATE 42601)"),
        ("absent_there", "SELECT * FROM absent_there".into(), "undefined_table (SQLSTATE 42P01)"),
        ("raised_here", "SELECT leak('42P01') AS v".into(), "undefined_table (SQLSTATE 42P01)"),
        ("literal_here", "SELECT 1 'hush'".into(), "syntax_error (SQLSTATE 42601) at character 10"),
        (
            "parsed_here",
            "SELECT v FROM nowhere".into(),
            "undefined_table (SQLSTATE 42P01) at character 15: relation \"nowhere\" does not exist",
        ),
    ];
    let query =
        |(name, sql, _): &(&str, String, &str)| format!("{name}: {}\n", serde_json::json!({ "query": sql }));
    let queries = Queries::new(&cases.iter().map(query).collect::<String>());
    let lambda = function(&queries, &database).await;
    scrape(&lambda).await;
    let log = log_of_one_scrape(&lambda).await;
    let failures: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].clone())
        .filter(|fields| fields["message"] == "query failed")
        .map(|fields| (fields["query"].to_string(), fields["error"].to_string()))
        .collect();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let expected: Vec<_> = cases.iter().map(|(name, _, text)| (quoted(name), quoted(text))).collect();
    assert_eq!(failures, expected);
    assert!(!log.contains("hush"), "{log}");
    drop(lambda);
    database.admin("DROP OWNED BY remote; DROP ROLE remote");
}

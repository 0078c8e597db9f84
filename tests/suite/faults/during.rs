//! Faults in the middle of a scrape.

use std::time::Duration;

use super::observed::{
    assert_complete, assert_failed, backend, idle, logged, running, scrape_within, terminate_backends,
};
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, environment, function, samples};
use crate::path::{Black, Path};
use crate::postgres::{ROLE, Rows, Server, TestDatabase};
use crate::runtime_api::Lambda;
use crate::samples::Samples;

/// All that a good scrape has here.
const ALL: [&str; 3] = ["first_v", "touched_v", "last_v"];

/// A query that a fault touches, between two that it does not.
fn around(touched: &str) -> Queries {
    Queries::new(&format!(
        "first: {{query: SELECT 1 AS v}}\ntouched:\n{touched}\nlast: {{query: SELECT 3 AS v}}\n"
    ))
}

/// A table that all may read, when nobody has it locked.
const LOCKED: &str =
    "CREATE TABLE locked (v int); INSERT INTO locked VALUES (2); GRANT SELECT ON locked TO PUBLIC";
const LOCK: &str = "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE";

/// A session that keeps the table locked, so that the test decides how long the query takes.
async fn lock(database: &TestDatabase) -> tokio_postgres::Client {
    let holder = database.session().await;
    holder.batch_execute(LOCK).await.unwrap();
    holder
}

/// Does blocking work where it does not keep the function waiting for its service.
async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// The fault touched one query, and the scrape has the others.
#[track_caller]
fn assert_others_are_there(samples: &Samples, reason: &str) {
    assert_eq!(samples.value("pg_up"), 1.0);
    assert_eq!((samples.value("first_v"), samples.value("last_v")), (1.0, 3.0));
    assert_failed(samples, "touched", reason);
    assert_eq!(samples.of("pg_exporter_query_error").len(), 1, "{samples:?}");
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 1.0);
}

/// The fault cost the connection, and there was no other: what was there before it is delivered.
#[track_caller]
fn assert_lost(samples: &Samples, reason: &str) {
    assert_eq!(samples.value("pg_up"), 0.0);
    assert_eq!(samples.value("first_v"), 1.0);
    assert_failed(samples, "touched", reason);
    assert_failed(samples, "last", "connection");
}

#[tokio::test]
async fn the_backend_is_killed() {
    let database = Server::shared().database("killed_during");
    database.admin(LOCKED);
    let holder = lock(&database).await;
    let queries = around("  query: SELECT v FROM locked\n  timeout: 10m");
    let lambda = function(&queries, &database).await;
    let before = backend(&database);
    let kill = async {
        running(&database, "FROM locked").await;
        terminate_backends(&database);
    };
    let (killed, ()) = tokio::join!(scrape_within(&lambda, 10), kill);
    assert_others_are_there(&killed, "connection");
    assert_ne!(backend(&database), before);
    logged(&lambda, &["query failed", "touched", "the connection was lost", "57P01"]).await;
    idle(&database).await;

    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

#[tokio::test]
async fn the_server_is_stopped() {
    let server = Server::private();
    let database = server.database("stopped_during");
    let queries = around("  query: SELECT 2 AS v, pg_sleep((SELECT s FROM sleep))\n  timeout: 10m");
    database.admin("CREATE TABLE sleep AS SELECT 600 AS s; GRANT SELECT ON sleep TO PUBLIC");
    let lambda = function(&queries, &database).await;
    let stopping = server.clone();
    let stop = async {
        running(&database, "pg_sleep").await;
        blocking(move || stopping.stop()).await;
    };
    let (stopped, ()) = tokio::join!(scrape_within(&lambda, 10), stop);
    assert_lost(&stopped, "connection");
    logged(&lambda, &["query failed", "touched", "the connection was lost", "57P01"]).await;
    logged(&lambda, &["no connection to the database"]).await;

    server.start();
    database.admin("UPDATE sleep SET s = 0");
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
    idle(&database).await;
}

#[tokio::test]
async fn the_server_is_stopped_between_two_queries() {
    let server = Server::private();
    let database = server.database("stopped_between");
    database.admin(LOCKED);
    let holder = lock(&database).await;
    let queries = Queries::new(
        "first: {query: SELECT v FROM locked, timeout: 10m}\ntouched: {query: SELECT 2 AS v}\nlast: {query: SELECT 3 AS v}\n",
    );
    let path = Path::to(server.port());
    let lambda = Lambda::start(environment(&queries, database.url_at("localhost", path.port()))).await;
    lambda.initialised().await;
    let stop = async {
        running(&database, "FROM locked").await;
        // The second query is on its way when the server, which has not heard of it, ends the idle session. What it
        // says then arrives when it is there again.
        path.hold_requests();
        holder.batch_execute("COMMIT").await.unwrap();
        let restarting = server.clone();
        tokio::task::spawn_blocking(move || {
            path.wait_for_a_held_request();
            path.goes_black(Black::All);
            restarting.stop();
            restarting.start();
            path.is_back();
            path
        })
        .await
        .unwrap()
    };
    let (stopped, _path) = tokio::join!(scrape_within(&lambda, 10), stop);
    assert_eq!(stopped.value("pg_up"), 1.0);
    assert_eq!((stopped.value("first_v"), stopped.value("last_v")), (2.0, 3.0));
    assert_failed(&stopped, "touched", "connection");
    logged(&lambda, &["query failed", "touched", "the connection was lost", "57P01"]).await;
    idle(&database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

/// A megabyte, and a path that becomes black in the middle of it.
async fn black_in_the_middle(database: &TestDatabase, which: Black) -> (Queries, Lambda, Path, Samples) {
    let queries = around(
        "  query: SELECT g AS l, 2 AS v, repeat('x', 1000) AS x FROM generate_series(1, 1000) g\n  \
           timeout: 1s\n  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}, {x: {usage: DISCARD}}]",
    );
    let path = Path::to(database.server().port());
    let lambda = Lambda::start(environment(&queries, database.url_at("localhost", path.port()))).await;
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
    path.goes_black_after(500_000, which);
    let black = scrape_within(&lambda, 10).await;
    (queries, lambda, path, black)
}

#[tokio::test]
async fn the_path_becomes_a_black_hole_in_the_middle_of_a_result() {
    let database = Server::shared().database("black_result");
    let (_queries, lambda, path, black) = black_in_the_middle(&database, Black::All).await;
    assert_lost(&black, "timeout");
    logged(&lambda, &["query failed", "touched", "timed out"]).await;
    logged(&lambda, &["no connection to the database", "timed out"]).await;

    path.is_back();
    idle(&database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

#[tokio::test]
async fn the_connection_becomes_a_black_hole_in_the_middle_of_a_result() {
    let database = Server::shared().database("black_half");
    let (_queries, lambda, path, black) = black_in_the_middle(&database, Black::Open).await;
    assert_others_are_there(&black, "timeout");
    logged(&lambda, &["query failed", "touched", "timed out"]).await;
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
    path.is_back();
    idle(&database).await;
}

#[tokio::test]
async fn a_lock_is_held() {
    let database = Server::shared().database("lock_held");
    database.admin(LOCKED);
    let holder = lock(&database).await;
    let queries = around("  query: SELECT v FROM locked\n  timeout: 300ms");
    let lambda = function(&queries, &database).await;
    let before = backend(&database);
    assert_others_are_there(&scrape_within(&lambda, 10).await, "timeout");
    assert_eq!(backend(&database), before, "the server ends the query, so the connection stays");
    logged(&lambda, &["query failed", "touched", "timed out"]).await;
    idle(&database).await;

    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

/// A query that sleeps for so many seconds, until the test says otherwise.
const SLOW: &str = "CREATE TABLE sleep AS SELECT 600 AS s; GRANT SELECT ON sleep TO PUBLIC";
const SLEEP: &str = "SELECT 2 AS v, pg_sleep((SELECT s FROM sleep))";
const AWAKE: &str = "UPDATE sleep SET s = 0";

#[tokio::test]
async fn a_query_is_slower_than_its_timeout() {
    let database = Server::shared().database("slower_than_timeout");
    database.admin(SLOW);
    let queries = around(&format!("  query: {SLEEP}\n  timeout: 300ms"));
    let lambda = function(&queries, &database).await;
    let before = backend(&database);
    assert_others_are_there(&scrape_within(&lambda, 10).await, "timeout");
    assert_eq!(backend(&database), before, "the server ends the query, so the connection stays");
    logged(&lambda, &["query failed", "touched", "timed out"]).await;
    idle(&database).await;

    database.admin(AWAKE);
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

/// What is too slow for the scrape is ended in the server, and what comes behind it is not begun.
#[track_caller]
fn assert_cut_off(samples: &Samples) {
    assert_eq!((samples.value("pg_up"), samples.value("first_v")), (1.0, 1.0));
    assert_failed(samples, "touched", "deadline");
    assert_failed(samples, "last", "deadline");
}

#[tokio::test]
async fn a_query_is_slower_than_the_scrape() {
    let database = Server::shared().database("slower_than_scrape");
    database.admin(SLOW);
    let queries = around(&format!("  query: {SLEEP}\n  timeout: 10m"));
    let lambda = function(&queries, &database).await;
    assert_cut_off(&scrape_within(&lambda, 3).await);
    logged(&lambda, &["query failed", "touched", "deadline", "timed out"]).await;
    idle(&database).await;

    // The same again has what was not begun: what was too slow waits for it.
    let again = scrape_within(&lambda, 3).await;
    assert_others_are_there(&again, "deadline");
    database.admin(AWAKE);
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

/// What is left of a scrape is too short for the last one, which has no limit of its own.
#[tokio::test]
async fn a_query_without_a_timeout_is_last_in_the_file() {
    let database = Server::shared().database("slower_last");
    let queries = Queries::new(
        "
a: {query: SELECT 1 AS v FROM pg_sleep(2.5), timeout: 4s}
b: {query: SELECT 1 AS v FROM pg_sleep(1.5), timeout: 4s}
c: {query: SELECT 1 AS v FROM pg_sleep(1.6)}
",
    );
    let lambda = function(&queries, &database).await;
    let first = scrape_within(&lambda, 6).await;
    assert_failed(&first, "c", "timeout");
    let second = scrape_within(&lambda, 6).await;
    assert!(!second.of("c_v").is_empty(), "{second:?}");
}

/// Every query has its turn, and the exposition keeps the order of the file.
#[tokio::test]
async fn all_queries_together_are_slower_than_the_scrape() {
    let database = Server::shared().database("slower_together");
    let names = ["a", "b", "c", "d", "e", "f"];
    let query = |name| format!("{name}: {{query: 'SELECT 1 AS v FROM pg_sleep(2.5)', timeout: 4s}}\n");
    let queries = Queries::new(&names.map(query).concat());
    let lambda = function(&queries, &database).await;
    let mut reached = vec![];
    for _ in 0..2 {
        let samples = scrape_within(&lambda, 10).await;
        let given: Vec<_> =
            names.into_iter().filter(|name| !samples.of(&format!("{name}_v")).is_empty()).collect();
        assert!(given.len() >= 2, "{samples:?}");
        for name in names.into_iter().filter(|name| !given.contains(name)) {
            assert_failed(&samples, name, "deadline");
        }
        reached.extend(given);
    }
    let samples = scrape_within(&lambda, 10).await;
    reached.extend(names.into_iter().filter(|name| !samples.of(&format!("{name}_v")).is_empty()));
    for name in names {
        assert!(reached.contains(&name), "{name} is never reached: {reached:?}");
    }
}

#[tokio::test]
async fn a_query_is_slower_than_lambda() {
    let database = Server::shared().database("slower_than_lambda");
    database.admin(SLOW);
    let queries = around(&format!("  query: {SLEEP}\n  timeout: 10m"));
    let lambda = function(&queries, &database).await;
    let event = Event::recorded(Kind::Alb).header("x-prometheus-scrape-timeout-seconds", None);
    let time = Duration::from_secs(3);
    let answer = lambda.invoke(event.json(), time).await;
    assert!(answer.took < time, "{:?}", answer.took);
    assert_cut_off(&samples(&answer));
    logged(&lambda, &["query failed", "touched", "deadline", "timed out"]).await;
    idle(&database).await;

    database.admin(AWAKE);
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

#[tokio::test]
async fn a_result_that_is_too_large_for_the_answer_is_first_in_the_file() {
    let database = Server::shared().database("too_large_first");
    database.admin("CREATE TABLE size AS SELECT 45000 AS rows; GRANT SELECT ON size TO PUBLIC");
    let queries = Queries::new(
        "
touched:
  query: SELECT g AS id, repeat('x', 130) AS text, g AS v FROM size, generate_series(1, rows) AS g
  metrics: [{id: {usage: LABEL}}, {text: {usage: LABEL}}, {v: {usage: GAUGE}}]
first: {query: SELECT 1 AS v}
many:
  query: SELECT g AS id, g AS v FROM generate_series(1, 1500) AS g
  metrics: [{id: {usage: LABEL}}, {v: {usage: GAUGE}}]
last: {query: SELECT 3 AS v}
",
    );
    let lambda = function(&queries, &database).await;
    let plain = |kind| {
        let event = Event::recorded(kind).header("x-prometheus-scrape-timeout-seconds", Some("28"));
        event.header("accept-encoding", None).json()
    };
    for kind in Kind::ALL {
        let samples = samples(&lambda.invoke(plain(kind), AMPLE).await);
        assert_others_are_there(&samples, "limit");
        assert_eq!(samples.of("many_v").len(), 1500, "{kind:?}");
    }
    logged(&lambda, &["touched", "limit", "the answer would exceed its size limit"]).await;
    database.admin("UPDATE size SET rows = 1000");
    let again = samples(&lambda.invoke(plain(Kind::RestApi), AMPLE).await);
    assert_complete(&again, &[&ALL[..], &["many_v"]].concat());
    assert_eq!(again.of("touched_v").len(), 1000);
}

/// Results that are more than is taken: the query fails, and the others run on another connection.
async fn too_large(name: &str, sql: &str, in_time: &str) {
    let database = Server::shared().database(name);
    database.admin("CREATE TABLE size AS SELECT 1 AS rows, 1 AS bytes; GRANT SELECT ON size TO PUBLIC");
    let queries = around(&format!("  query: {sql}\n  timeout: 20s\n  metrics: [{{l: {{usage: LABEL}}}}]"));
    let lambda = function(&queries, &database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
    database.admin(in_time);
    assert_others_are_there(&scrape_within(&lambda, 25).await, "limit");
    logged(&lambda, &["query failed", "touched", "the result is larger than MAX_RESULT_BYTES"]).await;
    idle(&database).await;

    database.admin("UPDATE size SET rows = 1, bytes = 1");
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

#[tokio::test]
async fn a_result_has_a_million_rows() {
    let sql = "SELECT g || repeat('x', 100) AS l, 2 AS v FROM size, generate_series(1, rows) g";
    too_large("million_rows", sql, "UPDATE size SET rows = 1000000").await;
}

#[tokio::test]
async fn a_row_has_50_mb() {
    let sql = "SELECT 2 AS v, repeat('x', bytes) AS l FROM size";
    too_large("large_row", sql, "UPDATE size SET bytes = 50000000").await;
}

#[tokio::test]
async fn bytes_are_not_utf8_in_an_sql_ascii_database() {
    let options = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    let database = Server::shared().database_with("not_utf8", options);
    database.admin(
        "SET client_encoding = 'SQL_ASCII';
         CREATE TABLE names AS SELECT E'caf\\xe9' AS l, 2 AS v UNION ALL SELECT 'plain', 4;
         GRANT SELECT ON names TO PUBLIC",
    );
    let queries =
        around("  query: SELECT l, v FROM names\n  metrics: [{l: {usage: LABEL}}, {v: {usage: GAUGE}}]");
    let lambda = function(&queries, &database).await;
    let answer = scrape_within(&lambda, 10).await;
    assert_complete(&answer, &ALL);
    let mut touched = answer.of("touched_v");
    touched.sort_by(|a, b| a.0.cmp(b.0));
    assert_eq!(touched, [("{l=\"plain\"}", 4.0), ("{l=\"\u{FFFD}\"}", 2.0)]);
}

/// A function that raises notices where its caller has switched them off: so many, of so many bytes, with a pause
/// in milliseconds behind each.
const NOTICES: &str = "
CREATE TABLE flood AS SELECT 1 AS notices, 10 AS bytes, 0 AS pause;
GRANT SELECT ON flood TO PUBLIC;
CREATE FUNCTION flood() RETURNS int LANGUAGE plpgsql SET client_min_messages = notice AS $$
DECLARE f flood; BEGIN
    SELECT * INTO f FROM flood;
    FOR i IN 1..f.notices LOOP
        RAISE NOTICE 'hunter2 %', repeat('x', f.bytes);
        PERFORM pg_sleep(f.pause / 1000.0) WHERE f.pause > 0;
    END LOOP;
    RETURN 2;
END $$";

/// A function whose one query raises notices of this size.
async fn flooded(database: &TestDatabase, timeout: &str) -> (Queries, Lambda) {
    database.admin(NOTICES);
    let queries = around(&format!("  query: SELECT flood() AS v\n  timeout: {timeout}"));
    let lambda = function(&queries, database).await;
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
    (queries, lambda)
}

#[track_caller]
fn assert_no_notice_is_logged(lambda: &Lambda) {
    assert!(!lambda.log().contains("hunter2"), "{}", lambda.log());
}

#[tokio::test]
async fn a_flood_of_notices() {
    let database = Server::shared().database("notices");
    let (_queries, lambda) = flooded(&database, "20s").await;
    let before = backend(&database);
    database.admin("UPDATE flood SET notices = 50000");
    assert_complete(&scrape_within(&lambda, 25).await, &ALL);
    assert_eq!(backend(&database), before);
    idle(&database).await;
    assert_no_notice_is_logged(&lambda);
}

#[tokio::test]
async fn a_flood_of_notices_that_is_larger_than_a_result_may_be() {
    let database = Server::shared().database("notices_large");
    let (_queries, lambda) = flooded(&database, "20s").await;
    database.admin("UPDATE flood SET notices = 1000000000, bytes = 100000");
    assert_others_are_there(&scrape_within(&lambda, 25).await, "limit");
    logged(&lambda, &["query failed", "touched", "the result is larger than MAX_RESULT_BYTES"]).await;
    idle(&database).await;
    assert_no_notice_is_logged(&lambda);

    database.admin("UPDATE flood SET notices = 1");
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

#[tokio::test]
async fn a_flood_of_notices_for_longer_than_the_timeout() {
    let database = Server::shared().database("notices_long");
    let (_queries, lambda) = flooded(&database, "1s").await;
    let before = backend(&database);
    database.admin("UPDATE flood SET notices = 1000000000, pause = 1");
    assert_others_are_there(&scrape_within(&lambda, 10).await, "timeout");
    assert_eq!(backend(&database), before, "the server ends the query, so the connection stays");
    logged(&lambda, &["query failed", "touched", "timed out"]).await;
    idle(&database).await;
    assert_no_notice_is_logged(&lambda);

    database.admin("UPDATE flood SET notices = 1");
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
}

/// Tables that a query made in this database, also for its session alone.
fn tables_left_behind(database: &TestDatabase) -> Rows {
    database.admin("SELECT oid::regclass FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'm')")
}

#[tokio::test]
async fn queries_that_write_although_the_transaction_is_read_only() {
    let database = Server::shared().database("writing");
    database.admin("GRANT CREATE ON SCHEMA public TO PUBLIC");
    let queries = Queries::new(
        "
first: {query: SELECT 1 AS v}
permanent: {query: EXPLAIN ANALYZE SELECT 1 AS v INTO left_behind}
temporary: {query: EXPLAIN ANALYZE SELECT 666::bigint AS archived_count INTO TEMP pg_stat_archiver}
late: {query: 'EXPLAIN (ANALYZE, VERBOSE) WITH x AS (SELECT 1 AS v) (SELECT v INTO UNLOGGED late FROM x)'}
block: {query: 'DO $$BEGIN EXECUTE ''EXPLAIN ANALYZE SELECT 1 AS v INTO TEMP hidden''; END$$'}
temporary_rows: {query: WITH x AS (DELETE FROM pg_temp.pg_stat_archiver RETURNING 1 AS v) SELECT v FROM x}
touched: {query: SELECT archived_count AS v FROM pg_temp.pg_stat_archiver}
last: {query: SELECT 3 AS v}
",
    );
    let lambda = function(&queries, &database).await;
    for _ in 0..2 {
        let samples = scrape_within(&lambda, 10).await;
        assert_eq!((samples.value("first_v"), samples.value("last_v")), (1.0, 3.0));
        for query in ["permanent", "temporary", "late", "block", "temporary_rows"] {
            assert_failed(&samples, query, "config");
        }
        assert_failed(&samples, "touched", "undefined");
    }
    assert_eq!(tables_left_behind(&database), Rows::new());
    for (query, words) in [
        ("permanent.query", "INTO (line 1 of the SQL) makes a table; remove it, or write"),
        ("temporary.query", "INTO (line 1 of the SQL) makes a table"),
        ("late.query", "INTO (line 1 of the SQL) makes a table"),
        ("block.query", "DO (line 1 of the SQL) runs code that may write; write SELECT"),
        ("temporary_rows.query", "DELETE (line 1 of the SQL) may do more than read"),
    ] {
        logged(&lambda, &[query, words]).await;
    }
}

/// The first has a statement in a string, which ends before it where `standard_conforming_strings` is off.
const HIDDEN: &str = r#"
first: {query: SELECT 1 AS v}
touched: {query: "SELECT '\\''; COMMIT; CREATE TABLE left_behind (i int); SELECT 2 AS v --' AS l, 2 AS v"}
last: {query: "SELECT 3 AS v WHERE 'a1' ~ '^[a-z][0-9]$'"}
"#;

#[tokio::test]
async fn standard_conforming_strings_is_off_for_the_role() {
    let database = Server::shared().database("strings_of_role");
    database.admin("GRANT CREATE ON SCHEMA public TO PUBLIC");
    let of_role = |action: &str| {
        let name = database.name();
        database.admin(&format!("ALTER ROLE {ROLE} IN DATABASE {name} {action}"));
    };
    of_role("SET standard_conforming_strings = off");
    let queries = Queries::new(HIDDEN);
    let lambda = function(&queries, &database).await;
    let before = backend(&database);
    assert_others_are_there(&scrape_within(&lambda, 10).await, "syntax");
    logged(&lambda, &["query failed", "touched", "standard_conforming_strings is off; write E'…'"]).await;
    assert_eq!(backend(&database), before);

    of_role("RESET standard_conforming_strings");
    terminate_backends(&database);
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);
    assert_eq!(tables_left_behind(&database), Rows::new());
}

#[tokio::test]
async fn standard_conforming_strings_is_turned_off_between_scrapes() {
    let server = Server::private();
    let database = server.database("strings_reloaded");
    database.admin("GRANT CREATE ON SCHEMA public TO PUBLIC");
    let queries = Queries::new(HIDDEN);
    let lambda = function(&queries, &database).await;
    let before = backend(&database);
    assert_complete(&scrape_within(&lambda, 10).await, &ALL);

    server.set("standard_conforming_strings = off");
    server.reload();
    // The signal that the server sends to its sessions may take a moment more.
    let begun = std::time::Instant::now();
    let mut samples = scrape_within(&lambda, 10).await;
    while !samples.of("touched_v").is_empty() && begun.elapsed() < AMPLE {
        samples = scrape_within(&lambda, 10).await;
    }
    assert_others_are_there(&samples, "syntax");
    assert_eq!(backend(&database), before, "the session that logged in before");
    assert_eq!(tables_left_behind(&database), Rows::new());
}

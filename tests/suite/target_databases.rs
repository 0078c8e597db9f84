//! `target_databases`: a query in each matching database of the server.

use crate::cli::Terminal;
use crate::events::{Event, Kind};
use crate::lambda::{AMPLE, Queries, environment, function, samples, scrape};
use crate::postgres::{ROLE, Server, TestDatabase};
use crate::runtime_api::Lambda;

pub(crate) const SIZES: &str = "
sizes:
  query: SELECT name, v FROM sizes
  target_databases: ['walk*']
  metrics: [{name: {usage: LABEL}}, {v: {usage: GAUGE}}]
own: {query: SELECT 1 AS v}
";

/// The function's sessions on the server.
pub(crate) const SESSIONS: &str = "pg_stat_activity WHERE application_name LIKE 'pg-lambda-exporter/%'";

pub(crate) fn with_sizes(server: &Server, name: &str, value: u32) -> TestDatabase {
    let database = server.database(name);
    database.admin(&format!(
        "CREATE TABLE sizes AS SELECT 'a' AS name, {value} AS v; GRANT SELECT ON sizes TO {ROLE}"
    ));
    database
}

#[tokio::test]
async fn a_query_runs_in_each_matching_database() {
    let server = Server::private();
    let [first, second, _third] =
        [("walk_2", 2), ("walk_1", 1), ("walk_3", 3)].map(|(name, value)| with_sizes(&server, name, value));
    let _other = server.database("elsewhere");
    server.admin("CREATE DATABASE walk_template IS_TEMPLATE true");
    server.admin("CREATE DATABASE walk_closed ALLOW_CONNECTIONS false");
    server.admin("CREATE DATABASE walk_refuses");
    server.admin("REVOKE CONNECT ON DATABASE walk_refuses FROM PUBLIC");
    let queries = Queries::new(SIZES);
    let lambda = function(&queries, &first).await;
    for _ in 0..3 {
        let samples = scrape(&lambda).await;
        let expected = [("walk_1", 1.0), ("walk_2", 2.0), ("walk_3", 3.0)];
        let expected = expected.map(|(name, v)| (format!("{{datname=\"{name}\",name=\"a\"}}"), v));
        let found: Vec<_> =
            samples.of("sizes_v").into_iter().map(|(labels, v)| (sorted(labels), v)).collect();
        assert_eq!(found, expected);
        for (name, success) in [("walk_1", 1.0), ("walk_2", 1.0), ("walk_3", 1.0), ("walk_refuses", 0.0)] {
            let series = format!("pg_exporter_query_success{{query=\"sizes\",database=\"{name}\"}}");
            assert_eq!(samples.value(&series), success, "{name}");
        }
        let failed = r#"pg_exporter_query_error{query="sizes",database="walk_refuses",reason="connection"}"#;
        assert_eq!(samples.value(failed), 1.0);
        assert_eq!(samples.value(r#"pg_exporter_query_success{query="own"}"#), 1.0);
        assert_eq!((samples.value("pg_up"), samples.value("pg_exporter_databases_left_out")), (1.0, 0.0));
        // The further session is closed.
        server.wait_for(&format!("SELECT count(*) = 1 FROM {SESSIONS}")).await;
    }
    let log = lambda.log();
    assert!(
        log.contains("walk_refuses") && log.contains("no connection to a database of the target"),
        "{log}"
    );

    // A database that is dropped is gone, and no failure.
    server.admin(&format!("DROP DATABASE {}", second.name()));
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("sizes_v").len(), 2);
    assert!(!samples.of("pg_exporter_query_success").iter().any(|(labels, _)| labels.contains("walk_1")));
}

/// Labels in the order of their names.
fn sorted(labels: &str) -> String {
    let mut pairs: Vec<_> = labels.trim_matches(['{', '}']).split(',').collect();
    pairs.sort_unstable();
    format!("{{{}}}", pairs.join(","))
}

#[tokio::test]
async fn the_databases_are_limited_in_number_and_in_time() {
    let server = Server::private();
    let databases: Vec<_> =
        (0..6).map(|index| with_sizes(&server, &format!("walk_{index}"), index)).collect();
    let queries = Queries::new(&SIZES.replace("'walk*'", "'*'"));
    let mut variables = environment(&queries, databases[4].url());
    variables.push(("MAX_DATABASES", "3".into()));
    let lambda = Lambda::start(variables).await;
    lambda.initialised().await;
    let limited = scrape(&lambda).await;
    // The target's own, and the first two of the others, among which is postgres.
    let names: Vec<_> = limited.of("sizes_v").iter().map(|(labels, _)| sorted(labels)).collect();
    assert!(names.iter().any(|labels| labels.contains("walk_4")), "{names:?}");
    assert_eq!(limited.value("pg_exporter_databases_left_out"), 4.0);

    // The time of the scrape is shared. What has no time goes first in the next scrape.
    let slow = Queries::new(
        "slow: {query: 'SELECT 1 AS v FROM pg_sleep(0.4)', target_databases: ['walk*'], metrics: [{v: {usage: GAUGE}}]}\n",
    );
    let lambda = function(&slow, &databases[0]).await;
    let event =
        || Event::recorded(Kind::HttpApi).header("x-prometheus-scrape-timeout-seconds", Some("3")).json();
    let (mut seen, mut late) = (std::collections::BTreeSet::new(), 0);
    // A busy machine reaches fewer at a time.
    for _ in 0..10 {
        let answer = lambda.invoke(event(), AMPLE).await;
        let samples = samples(&answer);
        assert!(samples.value("pg_exporter_last_scrape_duration_seconds") < 3.0, "{samples:?}");
        assert_eq!(samples.of("slow_v").len() + samples.of("pg_exporter_query_error").len(), 6);
        late += samples.of("pg_exporter_query_error").len();
        seen.extend(samples.of("slow_v").into_iter().map(|(labels, _)| labels.to_owned()));
        if seen.len() == 6 {
            break;
        }
    }
    assert!(late > 0);
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[tokio::test]
async fn thirty_databases_give_each_table_once() {
    let server = Server::private();
    let own = with_sizes(&server, "walk_00", 0);
    for index in 1..30 {
        server.admin(&format!("CREATE DATABASE walk_{index:02} TEMPLATE {}", own.name()));
    }
    // An interrupted DROP DATABASE leaves this.
    server.admin("CREATE DATABASE walk_invalid");
    server.admin("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'walk_invalid'");
    let queries = Queries::new(
        "tables: {query: 'SELECT relname, count(*) AS n FROM pg_stat_user_tables GROUP BY relname', \
         target_databases: ['*'], metrics: [{relname: {usage: LABEL}}, {n: {usage: GAUGE}}]}\n",
    );
    let lambda = function(&queries, &own).await;
    let samples = scrape(&lambda).await;
    let found: Vec<_> = samples.of("tables_n").into_iter().map(|(labels, v)| (sorted(labels), v)).collect();
    let expected = (0..30).map(|n| (format!("{{datname=\"walk_{n:02}\",relname=\"sizes\"}}"), 1.0));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let success = samples.of("pg_exporter_query_success");
    // The database postgres has no table of its own, which is no failure.
    assert_eq!((success.len(), success.iter().all(|(_, value)| *value == 1.0)), (31, true), "{success:?}");
    server.wait_for(&format!("SELECT count(*) = 1 FROM {SESSIONS}")).await;
}

#[tokio::test]
async fn labels_are_only_added_where_they_are_missing() {
    let server = Server::private();
    let first = with_sizes(&server, "walk_a", 1);
    let _second = with_sizes(&server, "walk_b", 2);
    let queries = Queries::new(
        "
column: {query: 'SELECT current_database() AS datname, v FROM sizes', target_databases: [walk_a, walk_b],
  metrics: [{datname: {usage: LABEL}}, {v: {usage: GAUGE}}]}
constant: {query: SELECT v FROM sizes, target_databases: [walk_b], labels: {datname: mine}, metrics: [{v: {usage: GAUGE}}]}
here: {query: SELECT v FROM sizes, target_databases: [walk_a], metrics: [{v: {usage: GAUGE}}]}
nowhere: {query: SELECT v FROM sizes, target_databases: [walk_x], metrics: [{v: {usage: GAUGE}}]}
cached: {query: SELECT pg_backend_pid() AS pid, target_databases: ['walk_*'], cache_seconds: 600, metrics: [{pid: {usage: GAUGE}}]}
plain: {query: SELECT 1 AS v}
",
    );
    let lambda = function(&queries, &first).await;
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("column_v"), [(r#"{datname="walk_a"}"#, 1.0), (r#"{datname="walk_b"}"#, 2.0)]);
    assert_eq!(samples.of("constant_v"), [(r#"{datname="mine"}"#, 2.0)]);
    assert_eq!(samples.of("here_v"), [(r#"{datname="walk_a"}"#, 1.0)]);
    assert_eq!(samples.of("plain_v"), [("", 1.0)]);
    assert_eq!(samples.value(r#"pg_exporter_query_skipped{query="nowhere",reason="database"}"#), 1.0);
    assert_eq!(samples.value(r#"pg_exporter_query_success{query="here"}"#), 1.0);
    assert_eq!(samples.value(r#"pg_exporter_query_success{query="constant",database="walk_b"}"#), 1.0);
    assert_eq!(scrape(&lambda).await.of("cached_pid"), samples.of("cached_pid"));
    assert_eq!(samples.of("cached_pid").len(), 2);
}

#[tokio::test]
async fn a_cached_result_is_that_of_its_database() {
    let server = Server::private();
    let first = with_sizes(&server, "walk_a", 1);
    let queries = Queries::new(
        "cached: {query: SELECT pg_backend_pid() AS pid, target_databases: ['walk_*'], cache_seconds: 600, metrics: [{pid: {usage: GAUGE}}]}\n",
    );
    let lambda = function(&queries, &first).await;
    let alone = scrape(&lambda).await;
    assert_eq!(alone.of("cached_pid")[0].0, r#"{datname="walk_a"}"#);
    // The same values, whether the outcome names the database or not.
    server.admin("CREATE DATABASE walk_b");
    let both = scrape(&lambda).await;
    assert_eq!(both.of("cached_pid").len(), 2);
    assert_eq!(both.of("cached_pid")[0], alone.of("cached_pid")[0]);
    assert_eq!(both.value(r#"pg_exporter_query_success{query="cached",database="walk_a"}"#), 1.0);
    // A database that is created again is another one.
    let old = both.of("cached_pid")[1].1;
    server.admin("DROP DATABASE walk_b");
    assert_eq!(scrape(&lambda).await.of("cached_pid"), alone.of("cached_pid"));
    server.admin("CREATE DATABASE walk_b");
    assert_ne!(scrape(&lambda).await.of("cached_pid")[1].1, old);
}

#[test]
fn check_and_scrape_of_the_command_line_visit_them_too() {
    let server = Server::private();
    let first = with_sizes(&server, "walk_a", 1);
    let _second = with_sizes(&server, "walk_b", 2);
    let queries = Queries::new(SIZES);
    let terminal = Terminal::new().with("DATABASE_URL", first.url()).with("QUERIES_FILE", queries.path());
    let report = terminal.run(&["check", "--database"]).succeeded();
    for part in ["sizes in database walk_a\n", "sizes in database walk_b\n", "own\n"] {
        assert!(report.contains(part), "{report}");
    }
    let exposition = terminal.run(&["scrape"]).succeeded();
    assert!(exposition.contains("walk_a\"") && exposition.contains("walk_b\""), "{exposition}");
}

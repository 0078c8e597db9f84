//! The conditions of a query: a skipped query is no failure, and a condition that cannot be told is one.

use crate::lambda::{GOOD, Queries, function, scrape};
use crate::postgres::{ROLE, Server};
use crate::samples::Samples;

/// `v` where the query gave its one sample, or the reason that the exporter gives.
fn outcome(samples: &Samples, query: &str) -> String {
    let value = samples.of(&format!("{query}_v")).first().map(|(_, value)| value.to_string());
    let named = |metric: &str| {
        let of_query = format!("{{query=\"{query}\"");
        let found = samples.of(metric).into_iter().find(|(labels, _)| labels.starts_with(&of_query));
        found.map(|(labels, value)| (labels.to_owned(), value))
    };
    let reason = |metric| {
        let (labels, value) = named(metric)?;
        assert_eq!(value, 1.0);
        Some(labels.split('"').nth(3).unwrap().to_owned())
    };
    let success = named("pg_exporter_query_success").map(|(_, value)| value);
    match (value, success, reason("pg_exporter_query_skipped"), reason("pg_exporter_query_error")) {
        (Some(value), Some(1.0), None, None) => value,
        (None, None, Some(reason), None) => format!("skipped: {reason}"),
        (None, Some(0.0), None, Some(reason)) => format!("failed: {reason}"),
        other => panic!("{query}: {other:?} in {samples:?}"),
    }
}

#[tokio::test]
async fn a_query_runs_where_its_conditions_hold() {
    let database = Server::shared().database("conditions");
    let number: u32 = database.admin_cell("SHOW server_version_num").parse().unwrap();
    let (major, minor) = (number / 10_000, number % 10_000);
    let queries = Queries::new(&format!(
        "
exact: {{query: SELECT 1 AS v, runonserver: '{major}.{minor}'}}
later: {{query: SELECT 1 AS v, runonserver: '>{major}.{minor}'}}
version: {{query: SELECT 1 AS v, runonserver: '>=10.0.0'}}
old: {{query: SELECT 1 AS v, runonserver: '<10.0.0'}}
here: {{query: SELECT 1 AS v, target_databases: [x, 'condition[s]']}}
there: {{query: SELECT 1 AS v, target_databases: [conditions_x, x*]}}
primary: {{query: SELECT 1 AS v, primary: true}}
aurora: {{query: SELECT 1 AS v, query_aurora: SELECT 2 AS v}}
elsewhere: {{query: SELECT 1 AS v, query_aurora: '!'}}
",
    ));
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;
    for (query, expected) in [
        ("exact", "1"),
        ("later", "skipped: version"),
        ("version", "1"),
        ("old", "skipped: version"),
        ("here", "1"),
        ("there", "skipped: database"),
        ("primary", "1"),
        ("aurora", "1"),
        ("elsewhere", "1"),
    ] {
        assert_eq!(outcome(&samples, query), expected, "{query}");
    }
    assert_eq!(samples.value("pg_exporter_last_scrape_error"), 0.0);

    // What tells Aurora is a function of this name.
    database.admin("CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql AS 'SELECT 1::text'");
    let samples = scrape(&lambda).await;
    assert_eq!(outcome(&samples, "aurora"), "2");
    assert_eq!(outcome(&samples, "elsewhere"), "skipped: aurora");
}

#[tokio::test]
async fn the_end_of_recovery_is_noticed_on_a_kept_connection() {
    let server = Server::private();
    let database = server.database("recovery");
    server.restart_as_standby();
    let queries = Queries::new(&format!("writer: {{query: SELECT 1 AS v, primary: true}}\n{GOOD}"));
    let lambda = function(&queries, &database).await;
    let standby = scrape(&lambda).await;
    assert_eq!(
        (outcome(&standby, "writer"), outcome(&standby, "good")),
        ("skipped: primary".into(), "1".into())
    );
    assert_eq!(standby.value("pg_exporter_last_scrape_error"), 0.0);

    let connection = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pg-lambda-exporter/%'";
    let before = database.admin_cell(connection);
    assert_eq!(database.admin_cell("SELECT pg_promote()"), "t");
    assert_eq!(outcome(&scrape(&lambda).await, "writer"), "1");
    assert_eq!(database.admin_cell(connection), before);
}

#[tokio::test]
async fn a_predicate_decides() {
    let database = Server::shared().database("predicates");
    database.admin(&format!(
        "CREATE TABLE private (v int); CREATE TABLE ran (v int); GRANT SELECT ON ran TO {ROLE};
         CREATE FUNCTION note() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran'; END $$"
    ));
    let predicates = [
        ("yes", "SELECT true", "1"),
        ("number", "SELECT 1", "1"),
        ("last", "SELECT false; SELECT true", "1"),
        ("first_row", "VALUES (true), (false)", "1"),
        ("no", "SELECT false", "skipped: predicate"),
        ("zero", "SELECT 0", "skipped: predicate"),
        ("null", "SELECT NULL::bool", "skipped: predicate"),
        ("no_row", "SELECT true WHERE false", "skipped: predicate"),
        ("second_row", "VALUES (false), (true)", "skipped: predicate"),
        ("two", "SELECT true, true", "failed: predicate"),
        ("no_result", "SET LOCAL work_mem = ''1MB''", "failed: predicate"),
        ("text", "SELECT ''maybe''", "failed: predicate"),
        ("many", "SELECT 5", "failed: predicate"),
        ("error", "SELECT 1/0 = 1", "failed: predicate"),
        ("absent", "SELECT v = 1 FROM nowhere", "failed: predicate"),
        ("forbidden", "SELECT v = 1 FROM private", "failed: predicate"),
        ("writes", "SELECT true FROM pg_class FOR UPDATE", "failed: predicate"),
        ("slow", "SELECT true FROM pg_sleep(600)", "failed: timeout"),
    ];
    let of = |(name, predicate, expected): &(&str, &str, &str)| {
        // A query that fails if it is run shows that it is not.
        let query = if *expected == "1" { "SELECT 1 AS v" } else { "SELECT note() AS v" };
        let predicate = predicate.replace("''", "'").replace('\'', "''");
        format!("{name}: {{query: {query}, predicate_query: '{predicate}', timeout: 500ms}}\n")
    };
    let queries = Queries::new(&predicates.iter().map(of).collect::<String>());
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;
    for (query, _, expected) in predicates {
        assert_eq!(outcome(&samples, query), expected, "{query}");
    }
    let log = lambda.log();
    assert!(log.contains("the predicate has 2 columns, and must have one"), "{log}");
    assert!(log.contains("division_by_zero") && !log.contains("maybe"), "{log}");
}

#[tokio::test]
async fn a_predicate_and_its_query_have_one_time() {
    let database = Server::shared().database("predicate_time");
    let queries = Queries::new(
        "
both: {query: SELECT 1 AS v FROM pg_sleep(0.6), predicate_query: SELECT true FROM pg_sleep(0.6), timeout: 1s}
good: {query: SELECT 1 AS v}
",
    );
    let lambda = function(&queries, &database).await;
    let samples = scrape(&lambda).await;
    assert_eq!(outcome(&samples, "both"), "failed: timeout");
    assert_eq!(outcome(&samples, "good"), "1");
}

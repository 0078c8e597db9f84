//! The `queries.yml` of the package, on whichever PostgreSQL the tests run.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::lambda::{AMPLE, Queries, function, scrape, scrape_of};
use crate::postgres::{ROLE, Server};

/// What no server without a standby, a statistics extension or another version gives.
const SKIPPED: [(&str, &str); 5] = [
    ("pg_checkpoints", "version"),
    ("pg_checkpoints_before_17", "version"),
    ("pg_stat_io", "version"),
    ("pg_stat_wal_receiver", "predicate"),
    ("pg_stat_statements", "predicate"),
];

#[tokio::test]
async fn each_query_gives_all_its_samples_but_nulls_or_is_not_for_this_server() {
    let database = Server::shared().database("shipped");
    let queries = Queries::new(include_str!("../../queries.yml"));
    let samples = scrape(&function(&queries, &database).await).await;
    assert_eq!(samples.value("pg_up"), 1.0);
    assert_eq!(samples.of("pg_exporter_query_error"), [], "{samples:#?}");
    for (labels, _) in samples.of("pg_exporter_query_samples_dropped") {
        assert!(labels.ends_with(",reason=\"null\"}"), "{labels}");
    }
    let allowed = SKIPPED.map(|(query, reason)| format!("{{query=\"{query}\",reason=\"{reason}\"}}"));
    let skipped = samples.of("pg_exporter_query_skipped");
    for (labels, _) in &skipped {
        assert!(allowed.iter().any(|allowed| allowed == labels), "{labels}");
    }
    let checkpoints = skipped.iter().filter(|(labels, _)| labels.starts_with("{query=\"pg_checkpoints"));
    assert_eq!(checkpoints.count(), 1, "one of the two that ask for checkpoints: {skipped:?}");
}

/// As a role that has only `pg_monitor` but for the sequence, wherever the extension is.
#[tokio::test]
async fn statements_and_sequences_are_there_and_no_literal_is() {
    let database = Server::shared().database("shipped_busy");
    if database.admin("SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'").is_empty() {
        panic!("these tests need pg_stat_statements: `sudo apt-get install postgresql-15`");
    }
    database.admin(&format!(
        "CREATE SCHEMA \"odd Schema\"; CREATE EXTENSION pg_stat_statements SCHEMA \"odd Schema\";
         GRANT USAGE ON SCHEMA \"odd Schema\" TO {ROLE};
         CREATE TABLE orders (id serial PRIMARY KEY); SELECT setval('orders_id_seq', 2000000000);
         CREATE SEQUENCE hidden; GRANT SELECT ON SEQUENCE orders_id_seq TO {ROLE};
         SET application_name = 'confidential'"
    ));
    let queries = Queries::new(include_str!("../../queries.yml"));
    let exposition = scrape_of(&queries, &database).await;
    let used = "pg_sequences_used_ratio{schemaname=\"public\",sequencename=\"orders_id_seq\"} 0.93";
    assert!(exposition.contains(used), "{exposition}");
    assert!(exposition.contains("\npg_sequences_unreadable 1\n"), "{exposition}");
    assert!(exposition.contains("\npg_stat_statements_calls_total{datname="), "{exposition}");
    assert!(!exposition.contains("confidential"), "{exposition}");

    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool =
        promtool.spawn().expect("these tests need promtool: `sudo apt-get install prometheus`");
    promtool.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&judged.stderr) + String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn the_series_of_checkpoints_are_the_same_in_every_version() {
    let server = Server::shared();
    let database = server.database("checkpoints");
    let queries = Queries::new(include_str!("../../queries.yml"));
    let lambda = function(&queries, &database).await;
    let requested = async || scrape(&lambda).await.value("pg_stat_bgwriter_checkpoints_req_total");
    let before = requested().await;
    server.admin("CHECKPOINT");
    // The server's statistics are a little late.
    let counted = async { while requested().await <= before {} };
    tokio::time::timeout(AMPLE, counted).await.unwrap();
    let samples = scrape(&lambda).await;
    for name in [
        "checkpoints_timed",
        "checkpoint_write_time_seconds",
        "checkpoint_sync_time_seconds",
        "buffers_checkpoint",
        "buffers_clean",
        "maxwritten_clean",
        "buffers_alloc",
    ] {
        assert!(samples.value(&format!("pg_stat_bgwriter_{name}_total")) >= 0.0);
    }
}

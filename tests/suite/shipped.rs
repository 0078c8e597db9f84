//! The `queries.yml` of the package, on whichever PostgreSQL the tests run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::cli::Terminal;
use crate::lambda::{AMPLE, Queries, function, scrape, scrape_of};
use crate::postgres::{ROLE, Server, TestDatabase};

const SHIPPED: &str = include_str!("../../queries.yml");

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
    let queries = Queries::new(SHIPPED);
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
         DO $$ BEGIN FOR n IN 1..600 LOOP EXECUTE format('CREATE SEQUENCE s%s', n); END LOOP; END $$;
         CREATE TABLE orders (id serial PRIMARY KEY); SELECT setval('orders_id_seq', 2000000000);
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}; CREATE SEQUENCE hidden;
         SET application_name = 'confidential'; CREATE ROLE shipped_busy PASSWORD 'confidential';
         DROP ROLE shipped_busy; CREATE TABLE defaults (v text DEFAULT $$confidential$$, w text DEFAULT E'\\'confidential');
         DO $confidential$ BEGIN PERFORM 1 /* one */, 2 /* two */; END $confidential$;
         SELECT /* confidential /* nested */ confidential */ 1; SELECT /* plain */ id FROM /* twice */ orders;
         SELECT -- confidential
                2 AS \"a 1\", U&'confidential', B'01', $_$confidential$_$;
         COMMENT ON TABLE orders IS /* confidential */ 'confidential'; /* {} confidential */ SELECT 3",
        "long ".repeat(900),
    ));
    // All statements, not only those that took the most time.
    let queries = Queries::new(&SHIPPED.replace("LIMIT 20", "LIMIT 5000"));
    let used = "pg_sequences_used_ratio{schemaname=\"public\",sequencename=\"orders_id_seq\"} 0.93";
    let mut exposition = String::new();
    for strings in ["off", "on"] {
        database.admin(&format!("ALTER DATABASE shipped_busy SET standard_conforming_strings = {strings}"));
        exposition = scrape_of(&queries, &database).await;
        assert!(exposition.contains(used), "{exposition}");
        assert!(exposition.contains("\npg_sequences_unreadable 1\n"), "{exposition}");
        assert!(exposition.contains("\npg_stat_statements_calls_total{datname="), "{exposition}");
        assert!(!exposition.contains("confidential"), "{exposition}");
        assert!(exposition.contains("query=\"SELECT id FROM orders\""), "{exposition}");
        assert!(!exposition.contains("pg_exporter_query_error{"), "{exposition}");
    }

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
    let queries = Queries::new(SHIPPED);
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

#[derive(Deserialize)]
struct Declared {
    name: Option<String>,
    metrics: Vec<BTreeMap<String, Column>>,
}

#[derive(Deserialize)]
struct Column {
    usage: String,
    name: Option<String>,
}

/// The names of the series that each query declares.
fn declared() -> BTreeMap<String, BTreeSet<String>> {
    let queries: BTreeMap<String, Declared> = serde_yaml::from_str(SHIPPED).unwrap();
    let series = |namespace: &str, query: Declared| -> BTreeSet<String> {
        let prefix = query.name.unwrap_or_else(|| namespace.to_owned());
        let columns = query.metrics.into_iter().flatten();
        let of_column = |(column, options): (String, Column)| {
            let name = format!("{prefix}_{}", options.name.unwrap_or(column));
            let ends: &[&str] = match options.usage.as_str() {
                "LABEL" => &[],
                "GAUGE" | "COUNTER" | "STATESET" => &[""],
                "INFO" => &["_info"],
                "HISTOGRAM" => &["_bucket", "_sum", "_count"],
                "SUMMARY" => &["", "_sum", "_count"],
                other => panic!("{namespace}: what does {other} give?"),
            };
            ends.iter().map(move |end| format!("{name}{end}"))
        };
        columns.flat_map(of_column).collect()
    };
    queries.into_iter().map(|(namespace, query)| (namespace.clone(), series(&namespace, query))).collect()
}

/// What a session of the superuser does and does not end.
async fn open(database: &TestDatabase, sql: &str) -> tokio_postgres::Client {
    let session = database.session().await;
    session.batch_execute(sql).await.unwrap();
    session
}

/// What `make package` asks before it builds.
#[test]
fn the_check_has_nothing_to_say() {
    let said = Terminal::new().file("queries.yml", SHIPPED).run(&["check", "queries.yml"]).succeeded();
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

/// A primary with everything that the queries look for, and its standby: between them they leave no metric out.
#[tokio::test]
async fn every_metric_has_a_sample_on_a_busy_server_with_a_standby() {
    let primary = Server::private();
    for setting in [
        "wal_level = logical",
        "max_prepared_transactions = 5",
        "max_slot_wal_keep_size = '1GB'",
        "archive_mode = on",
        "archive_command = 'true'",
    ] {
        primary.set(setting);
    }
    primary.stop();
    primary.start();
    let shop = primary.database("shop");
    let other = primary.database("other");
    shop.admin(&format!(
        "CREATE EXTENSION pg_stat_statements;
         CREATE TABLE orders (id serial PRIMARY KEY, total numeric); INSERT INTO orders (total) SELECT generate_series(1, 100);
         GRANT SELECT ON SEQUENCE orders_id_seq TO {ROLE};
         CREATE TABLE visits (day date) PARTITION BY RANGE (day);
         CREATE TABLE visits_of_may PARTITION OF visits FOR VALUES FROM ('2026-05-01') TO ('2026-06-01')"
    ));
    shop.admin("VACUUM ANALYZE orders");
    other.admin("CREATE TABLE elsewhere AS SELECT 1");
    let standby = primary.standby();
    primary.admin("SELECT pg_create_physical_replication_slot('kept', true)");
    // The last that was archived is the backup's label, from which nobody knows what waits.
    other.admin("CREATE TABLE after_the_backup AS SELECT 1; SELECT pg_switch_wal()");

    let _idle = open(&shop, "BEGIN; UPDATE orders SET total = 0 WHERE id = 1").await;
    let _prepared =
        open(&shop, "BEGIN; UPDATE orders SET total = 0 WHERE id = 2; PREPARE TRANSACTION 'forgotten'").await;
    let blocked = shop.session().await;
    let waiting =
        tokio::spawn(async move { blocked.batch_execute("UPDATE orders SET total = 1 WHERE id = 1").await });
    let _elsewhere = other.session().await;
    primary.wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await;
    primary.wait_for("SELECT last_archived_wal NOT LIKE '%.backup' FROM pg_stat_archiver").await;
    primary.wait_for("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'").await;
    standby.wait_for("SELECT last_msg_receipt_time IS NOT NULL FROM pg_stat_wal_receiver").await;

    let queries = Queries::new(SHIPPED);
    let on_primary = scrape(&function(&queries, &shop).await).await;
    let on_standby = scrape(&function(&queries, &standby.copied(&shop)).await).await;
    for samples in [&on_primary, &on_standby] {
        assert_eq!(samples.of("pg_exporter_query_error"), [], "{samples:#?}");
    }
    let not_of_this_version = |query: &str| {
        let skipped = on_primary.of("pg_exporter_query_skipped");
        skipped.iter().any(|(labels, _)| *labels == format!("{{query=\"{query}\",reason=\"version\"}}"))
    };
    let lacking: Vec<_> = declared()
        .into_iter()
        .filter(|(query, _)| !not_of_this_version(query))
        .flat_map(|(_, series)| series)
        .filter(|name| on_primary.of(name).is_empty() && on_standby.of(name).is_empty())
        .collect();
    assert_eq!(lacking, [""; 0], "{on_primary:#?}");

    for (series, value) in [
        ("pg_blocked_sessions", 1.0),
        ("pg_prepared_transactions_current", 1.0),
        ("pg_replication_connected_standbys", 1.0),
        ("pg_replication_is_replica", 0.0),
        ("pg_connections_current{state=\"idle in transaction\"}", 1.0),
        ("pg_connections_active{wait_event_type=\"Lock\"}", 1.0),
        ("pg_replication_slots_active{slot_name=\"kept\",slot_type=\"physical\"}", 0.0),
        ("pg_stat_database_backends{datname=\"other\"}", 1.0),
    ] {
        assert_eq!(on_primary.value(series), value, "{series}");
    }
    for series in [
        "pg_transactions_oldest_idle_seconds",
        "pg_blocked_longest_seconds",
        // The session that is idle has written, and has no snapshot.
        "pg_transactions_oldest_snapshot_transaction_ids",
    ] {
        assert!(on_primary.value(series) > 0.0, "{series}");
    }
    assert!(on_primary.value("pg_database_size_bytes{datname=\"other\"}") > 0.0);
    let tables = on_primary.of("pg_stat_user_tables_live_rows");
    assert!(
        tables.iter().all(|(labels, _)| !labels.contains("elsewhere")),
        "of another database: {tables:?}"
    );
    // A partitioned table has no rows and no oldest transaction id, which reads as the oldest that there can be.
    let ages = on_primary.of("pg_stat_user_tables_frozen_transaction_ids");
    assert!(ages.iter().any(|(labels, _)| labels.contains("visits_of_may")), "{ages:?}");
    assert!(ages.iter().all(|(_, age)| *age < 1e6), "{ages:?}");
    // Any database may be the one that the server's last transaction id is reckoned from.
    for template in ["template0", "template1"] {
        let left = format!("pg_database_transaction_ids_left{{datname=\"{template}\"}}");
        assert!(on_primary.value(&left) > 2e9, "{template}");
    }
    for series in ["pg_replication_is_replica", "pg_stat_wal_receiver_streaming"] {
        assert_eq!(on_standby.value(series), 1.0, "{series}");
    }
    waiting.abort();
    // Without the privilege nobody knows whether it streams, which is not that it does not.
    primary.admin(&format!("REVOKE pg_monitor FROM {ROLE}"));
    standby.wait_for(&format!("SELECT NOT pg_has_role('{ROLE}', 'pg_monitor', 'MEMBER')")).await;
    let on_standby = scrape(&function(&queries, &standby.copied(&shop)).await).await;
    assert_eq!(on_standby.of("pg_stat_wal_receiver_streaming"), []);
    assert_eq!(on_standby.value("pg_exporter_query_success{query=\"pg_stat_wal_receiver\"}"), 1.0);
}

#[tokio::test]
async fn an_archive_that_hangs_has_files_waiting_and_one_that_is_off_has_nothing() {
    let server = Server::private();
    let hang = server.socket_folder().join("hang");
    server.set("archive_mode = on");
    server.set(&format!("archive_command = 'while test -e {}; do sleep 0.05; done'", hang.display()));
    server.stop();
    server.start();
    let database = server.database("archived");
    let fill = || {
        database.admin("CREATE TABLE IF NOT EXISTS filled (a int); INSERT INTO filled VALUES (1)");
        database.admin("SELECT pg_switch_wal()");
    };
    let queries = Queries::new(SHIPPED);
    fill();
    let nothing_waits =
        "SELECT last_archived_wal = pg_walfile_name(pg_current_wal_lsn() - 1) FROM pg_stat_archiver";
    database.wait_for(nothing_waits).await;
    let samples = scrape(&function(&queries, &database).await).await;
    assert_eq!(samples.value("pg_stat_archiver_waiting_files"), 0.0);

    fs::write(&hang, "").unwrap();
    (0..3).for_each(|_| fill());
    let samples = scrape(&function(&queries, &database).await).await;
    assert_eq!(samples.value("pg_stat_archiver_waiting_files"), 3.0);
    assert_eq!(samples.value("pg_stat_archiver_failed_total"), 0.0);
    fs::remove_file(&hang).unwrap();
    database.wait_for(nothing_waits).await;

    server.set("archive_mode = off");
    server.stop();
    server.start();
    let samples = scrape(&function(&queries, &database).await).await;
    assert!(samples.value("pg_stat_archiver_archived_total") >= 4.0);
    for series in ["pg_stat_archiver_waiting_files", "pg_stat_archiver_last_archived_age_seconds"] {
        assert_eq!(samples.of(series), [], "{series}");
    }
    assert_eq!(samples.of("pg_exporter_query_error"), []);
}

#[tokio::test]
async fn a_standby_that_has_replayed_nothing_claims_no_lag() {
    let server = Server::private();
    let database = server.database("replayed_nothing");
    server.admin("CHECKPOINT");
    server.restart_as_standby();
    let samples = scrape(&function(&Queries::new(SHIPPED), &database).await).await;
    assert_eq!(samples.value("pg_replication_is_replica"), 1.0);
    assert_eq!(samples.of("pg_replication_lag_seconds"), []);
    // What PostgresStandbyNotStreaming is told of it.
    assert_eq!(samples.value("pg_stat_wal_receiver_streaming"), 0.0);
    assert_eq!(samples.of("pg_exporter_query_error"), []);
}

#[tokio::test]
async fn of_many_tables_and_indexes_the_fifty_busiest_are_there() {
    let database = Server::shared().database("many_tables");
    database.admin(
        "DO $$ BEGIN
           FOR number IN 1..300 LOOP
             EXECUTE format('CREATE TABLE t%s (a int PRIMARY KEY, b int UNIQUE)', number);
           END LOOP;
         END $$;
         INSERT INTO t217 SELECT g, g FROM generate_series(1, 1000) AS g;
         SET enable_seqscan = off; SELECT * FROM t217 WHERE b = 7",
    );
    // Busier ones that are temporary take nobody's place.
    let temporary = database.session().await;
    temporary
        .batch_execute(
            "DO $$ BEGIN
               FOR number IN 1..60 LOOP
                 EXECUTE format('CREATE TEMPORARY TABLE s%s (a int PRIMARY KEY)', number);
                 EXECUTE format('INSERT INTO s%s SELECT generate_series(1, 2000)', number);
               END LOOP;
             END $$",
        )
        .await
        .unwrap();
    let lambda = function(&Queries::new(SHIPPED), &database).await;
    let busiest = "{relname=\"t217\",schemaname=\"public\"}";
    // The server's statistics are a little late.
    let counted = async {
        loop {
            let samples = scrape(&lambda).await;
            let rows = samples.of("pg_stat_user_tables_tup_ins_total");
            if rows.iter().any(|(labels, value)| (*labels, *value) == (busiest, 1000.0)) {
                return samples;
            }
        }
    };
    let samples = tokio::time::timeout(AMPLE, counted).await.unwrap();
    assert_eq!(samples.of("pg_stat_user_tables_live_rows").len(), 50);
    let indexes = samples.of("pg_stat_user_indexes_idx_scan_total");
    assert_eq!(indexes.len(), 50);
    assert!(indexes.iter().any(|(labels, _)| labels.contains("indexrelname=\"t217_b_key\"")), "{indexes:?}");
}

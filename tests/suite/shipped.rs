//! The `queries.yml` of the package and the collections in `queries/`, on whichever PostgreSQL the tests run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::cli::Terminal;
use crate::lambda::{AMPLE, Queries, function, scrape, scrape_of};
use crate::postgres::{ROLE, Server, TestDatabase};

/// The text of `queries.yml`, read when a test runs.
pub(crate) fn shipped() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries.yml")).unwrap()
}

/// The collections: names of files and their texts.
pub(crate) fn collections() -> BTreeMap<String, String> {
    files_of("queries")
}

/// The names that dashboards and rules of other exporters ask for. tests/monitoring has more about them.
pub(crate) fn of_other_exporters() -> BTreeMap<String, String> {
    files_of("examples/queries")
}

fn files_of(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// All of them as one file, as somebody makes it who appends the collections.
fn everything() -> String {
    shipped() + &collections().into_values().collect::<String>()
}

/// As docs/queries-shipped.md switches `target_databases` on.
fn in_all_databases(text: &str) -> String {
    text.replace("\n  # target_databases:", "\n  target_databases:")
}

/// What no server without a standby, a statistics extension or another version gives.
const SKIPPED: [(&str, &str); 14] = [
    ("pg_checkpoints", "version"),
    ("pg_checkpoints_before_17", "version"),
    ("pg_stat_io", "version"),
    ("pg_stat_io_bytes", "version"),
    ("pg_stat_io_bytes_before_18", "version"),
    ("pg_stat_wal_before_18", "version"),
    ("pg_stat_checkpointer", "version"),
    ("pg_subscription_errors", "version"),
    ("pg_stat_wal_receiver", "predicate"),
    ("pg_stat_statements", "predicate"),
    ("pg_stat_statements_query", "predicate"),
    ("pg_archive_status", "predicate"),
    ("pg_replication_checkpoint", "predicate"),
    ("pg_stat_database_conflicts", "predicate"),
];

#[tokio::test]
async fn each_query_gives_all_its_samples_but_nulls_or_is_not_for_this_server() {
    let database = Server::shared().database("shipped");
    let queries = Queries::new(&everything());
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
    let queries =
        Queries::new(&shipped().replace("LIMIT 20\n", "LIMIT 5000\n").replace("LIMIT 60\n", "LIMIT 5000\n"));
    let used = "pg_sequences_used_ratio{datname=\"shipped_busy\",schemaname=\"public\",sequencename=\"orders_id_seq\"} 0.93";
    let mut exposition = String::new();
    for strings in ["off", "on"] {
        database.admin(&format!("ALTER DATABASE shipped_busy SET standard_conforming_strings = {strings}"));
        exposition = scrape_of(&queries, &database).await;
        assert!(exposition.contains(used), "{exposition}");
        assert!(
            exposition.contains("\npg_sequences_unreadable{datname=\"shipped_busy\"} 1\n"),
            "{exposition}"
        );
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
    let queries = Queries::new(&shipped());
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
    let queries: BTreeMap<String, Declared> = serde_yaml::from_str(&shipped()).unwrap();
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

/// All queries on tables, indexes, sequences, bloat and subscriptions, and no others: these see the whole server.
#[tokio::test]
async fn queries_on_objects_of_a_database_give_their_series_in_each_database_and_all_others_once() {
    let server = Server::private();
    let own = server.database("own");
    let other = server.database("other");
    for database in [&own, &other] {
        database.admin(&format!(
            "CREATE TABLE orders (id serial PRIMARY KEY, v text);
             INSERT INTO orders (v) SELECT md5(n::text) FROM generate_series(1, 60000) AS n; CREATE INDEX unused ON orders (v);
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE};
             GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE};
             CREATE SUBSCRIPTION of_{0} CONNECTION 'host=nowhere' PUBLICATION p
               WITH (connect = false, enabled = false, slot_name = NONE)",
            database.name(),
        ));
        database.admin("VACUUM ANALYZE orders");
    }
    let text = everything();
    // A busy machine may be too slow for all of them in one scrape.
    let is_complete = |samples: &crate::samples::Samples| samples.of("pg_exporter_query_error").is_empty();
    let before = scraped_until(&function(&Queries::new(&text), &own).await, is_complete).await;
    let after =
        scraped_until(&function(&Queries::new(&in_all_databases(&text)), &own).await, is_complete).await;
    for samples in [&before, &after] {
        let dropped = samples.of("pg_exporter_query_samples_dropped");
        assert!(dropped.iter().all(|(labels, _)| labels.ends_with(",reason=\"null\"}")), "{dropped:?}");
    }
    for series in [
        "pg_stat_user_tables_live_rows",
        "pg_stat_user_indexes_size_bytes",
        "pg_tables_live_rows",
        "pg_sequences_used_ratio",
        "pg_sequences_unreadable",
        "pg_table_bloat_bloat_bytes",
        "pg_index_bloat_bloat_bytes",
        "pg_index_unused_size_bytes",
        "pg_indexes_current",
        "pg_subscription_enabled",
    ] {
        let count = |database: &str| {
            let label = format!("datname=\"{database}\"");
            let of = |samples: &crate::samples::Samples| {
                samples.of(series).iter().filter(|(labels, _)| labels.contains(&label)).count()
            };
            (of(&before), of(&after))
        };
        let (own_before, own_after) = count("own");
        assert!(own_before > 0 && own_before == own_after, "{series}: {own_before} {own_after}");
        assert_eq!(count("other"), (0, own_before), "{series}");
    }
    // What sees the whole server.
    for series in
        ["pg_database_size_bytes", "pg_stat_database_backends", "pg_connections_current", "pg_locks_granted"]
    {
        assert_eq!(before.of(series).len(), after.of(series).len(), "{series}");
    }
}

/// What `make package` asks before it builds.
#[test]
fn the_check_has_nothing_to_say() {
    for text in collections().into_values().chain([shipped(), everything()]) {
        for text in [in_all_databases(&text), text] {
            let said = Terminal::new().file("queries.yml", text).run(&["check", "queries.yml"]).succeeded();
            assert!(said.contains("0 errors, 0 warnings"), "{said}");
        }
    }
}

/// As docs/queries-shipped.md appends them, they take no series from the shipped queries.
#[tokio::test]
async fn the_names_of_other_exporters_go_with_the_shipped_queries() {
    let all = of_other_exporters().into_values().map(|text| {
        let own = text.split_once("\n# queries.yml has the rest.").map_or(text.as_str(), |(own, _)| own);
        format!("{own}\n")
    });
    let text = shipped() + &all.collect::<String>();
    let said = Terminal::new().file("queries.yml", &text).run(&["check", "queries.yml"]).succeeded();
    let warnings = said.lines().filter(|line| line.starts_with("warning"));
    let other: Vec<_> = warnings.filter(|line| !line.contains("should end in _total")).collect();
    assert_eq!(other, [""; 0], "{said}");
    let database = Server::shared().database("other_exporters");
    let samples = scrape(&function(&Queries::new(&text), &database).await).await;
    assert_eq!(samples.of("pg_exporter_query_error"), []);
    let dropped = samples.of("pg_exporter_query_samples_dropped");
    let lost: Vec<_> = dropped
        .iter()
        .filter(|(labels, count)| *count > 0.0 && !labels.contains("reason=\"null\""))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
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
    standby.set("hot_standby_feedback = on");
    standby.set("wal_receiver_status_interval = 1s");
    standby.reload();
    primary.admin(
        "SELECT pg_create_physical_replication_slot('kept', true);
         SELECT pg_create_physical_replication_slot('reserves_nothing');
         SELECT pg_create_logical_replication_slot('decoded', 'pgoutput')",
    );
    // The last that was archived is the backup's label, from which nobody knows what waits.
    other.admin("CREATE TABLE after_the_backup AS SELECT 1; SELECT pg_switch_wal()");

    let _idle = open(&shop, "BEGIN; UPDATE orders SET total = 0 WHERE id = 1").await;
    let _prepared =
        open(&shop, "BEGIN; UPDATE orders SET total = 0 WHERE id = 2; PREPARE TRANSACTION 'forgotten'").await;
    let blocked = shop.session().await;
    let waiting =
        tokio::spawn(async move { blocked.batch_execute("UPDATE orders SET total = 1 WHERE id = 1").await });
    let _elsewhere = other.session().await;
    let _report = open(&standby.copied(&other), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
    primary.wait_for("SELECT count(backend_xmin) = 1 FROM pg_stat_replication").await;
    primary.admin("SELECT pg_current_xact_id()");
    primary.admin("SELECT pg_current_xact_id()");
    primary.wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").await;
    primary.wait_for("SELECT last_archived_wal NOT LIKE '%.backup' FROM pg_stat_archiver").await;
    primary.wait_for("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'").await;
    standby.wait_for("SELECT last_msg_receipt_time IS NOT NULL FROM pg_stat_wal_receiver").await;

    let queries = Queries::new(&everything());
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
        ("pg_role_can_read_all_stats", 1.0),
        ("pg_settings_pending_restart", 0.0),
        ("pg_replication_slots_active{slot_name=\"reserves_nothing\",slot_type=\"physical\"}", 0.0),
        ("pg_sessions_by_user_idle_in_transaction{usename=\"postgres\"}", 1.0),
    ] {
        assert_eq!(on_primary.value(series), value, "{series}");
    }
    for series in [
        "pg_transactions_oldest_idle_seconds",
        "pg_blocked_longest_seconds",
        "pg_prepared_transactions_oldest_transaction_ids",
        "pg_xmin_horizon_transaction_ids{held_by=\"transactions\"}",
        "pg_xmin_horizon_transaction_ids{held_by=\"slots\"}",
        "pg_xmin_horizon_transaction_ids{held_by=\"standbys\"}",
        "pg_xmin_horizon_transaction_ids{held_by=\"prepared\"}",
        // The session that is idle has written, and has no snapshot.
        "pg_transactions_oldest_snapshot_transaction_ids",
    ] {
        assert!(on_primary.value(series) > 0.0, "{series}");
    }
    // The table, its key, and the transaction itself.
    assert!(on_primary.value("pg_prepared_transactions_locks") >= 3.0);
    let retained = on_primary.of("pg_replication_slots_retained_bytes");
    assert!(retained.iter().all(|(labels, _)| !labels.contains("reserves_nothing")), "{retained:?}");
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
    assert_eq!(on_standby.value("pg_role_can_read_all_stats"), 0.0);
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
    let queries = Queries::new(&shipped());
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
    assert_eq!(samples.value("pg_stat_archiver_ready_files"), 3.0);
    assert_eq!(samples.value("pg_stat_archiver_failed_total"), 0.0);
    let waited = samples.value("pg_stat_archiver_oldest_ready_age_seconds");

    // A crash leaves the files, and nothing in pg_stat_archiver.
    server.kill();
    server.start();
    let samples = scrape(&function(&queries, &database).await).await;
    for series in ["pg_stat_archiver_waiting_files", "pg_stat_archiver_last_archived_age_seconds"] {
        assert_eq!(samples.of(series), [], "{series}");
    }
    assert!(samples.value("pg_stat_archiver_ready_files") >= 3.0);
    assert!(samples.value("pg_stat_archiver_oldest_ready_age_seconds") > waited);
    fs::remove_file(&hang).unwrap();
    database.wait_for("SELECT count(*) = 0 FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'").await;

    server.set("archive_mode = off");
    server.stop();
    server.start();
    let samples = scrape(&function(&queries, &database).await).await;
    assert!(samples.value("pg_stat_archiver_archived_total") >= 3.0);
    for column in ["waiting_files", "last_archived_age_seconds", "ready_files", "oldest_ready_age_seconds"] {
        assert_eq!(samples.of(&format!("pg_stat_archiver_{column}")), [], "{column}");
    }
    assert_eq!(samples.of("pg_exporter_query_error"), []);
}

#[tokio::test]
async fn a_standby_that_has_replayed_no_transaction_has_the_age_of_its_checkpoint() {
    let server = Server::private();
    let database = server.database("replayed_nothing");
    server.admin("CHECKPOINT");
    server.restart_as_standby();
    let samples = scrape(&function(&Queries::new(&shipped()), &database).await).await;
    assert_eq!(samples.value("pg_replication_is_replica"), 1.0);
    let age = "SELECT extract(epoch FROM clock_timestamp() - checkpoint_time) FROM pg_control_checkpoint()";
    let age: f64 = database.admin_cell(age).parse().unwrap();
    let lag = samples.value("pg_replication_lag_seconds");
    assert!(lag <= age && lag > age - 30.0, "{lag} of {age}");
    // What PostgresStandbyNotStreaming is told of it.
    assert_eq!(samples.value("pg_stat_wal_receiver_streaming"), 0.0);
    assert_eq!(samples.of("pg_exporter_query_error"), []);
}

/// A standby between two others passes on what it has not replayed, and one that reconnects begins at the start of a
/// file.
#[tokio::test]
async fn a_standby_whose_replay_is_paused_has_no_negative_bytes() {
    let primary = Server::private();
    let shop = primary.database("shop");
    shop.admin("CREATE TABLE filled (v text)");
    let middle = primary.standby();
    middle.admin("SELECT pg_create_physical_replication_slot('last', true)");
    let last = middle.standby();
    last.set("primary_slot_name = 'last'");
    last.stop();
    last.start();
    middle.wait_for("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'").await;
    middle.admin("SELECT pg_wal_replay_pause()");
    middle.wait_for("SELECT pg_get_wal_replay_pause_state() = 'paused'").await;
    shop.admin("INSERT INTO filled SELECT repeat('x', 1000) FROM generate_series(1, 5000)");
    middle
        .wait_for("SELECT bool_and(flush_lsn - pg_last_wal_replay_lsn() > 1000000) FROM pg_stat_replication")
        .await;
    let queries = Queries::new(&shipped());
    let samples = scrape(&function(&queries, &middle.copied(&shop)).await).await;
    assert_eq!(samples.of("pg_exporter_query_error"), []);
    assert!(samples.value("pg_stat_wal_receiver_not_replayed_bytes") > 1e6);
    for series in ["pg_replication_slots_retained_bytes", "pg_stat_replication_replay_lag_bytes"] {
        let [(_, bytes)] = samples.of(series)[..] else { panic!("{series}") };
        assert!(bytes >= 0.0, "{series} {bytes}");
    }

    middle.admin("SELECT pg_wal_replay_resume()");
    middle.wait_for("SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()").await;
    middle.stop();
    middle.start();
    middle.wait_for("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'").await;
    let samples = scrape(&function(&queries, &middle.copied(&shop)).await).await;
    assert_eq!(samples.value("pg_replication_lag_seconds"), 0.0);
}

/// Otherwise PostgresStandbyDisappeared fires after a long backup that had begun before the monitoring.
#[tokio::test]
async fn a_backup_is_no_standby() {
    let server = Server::private();
    let database = server.database("copied");
    let mut backup = server.begin_backup();
    // One connection sends the files, the other the log.
    let runs = "SELECT count(*) = 2 AND bool_or(state = 'backup') AND bool_or(state = 'streaming')
                FROM pg_stat_replication";
    database.wait_for(runs).await;
    let samples = scrape(&function(&Queries::new(&shipped()), &database).await).await;
    assert_eq!(samples.value("pg_replication_connected_standbys"), 0.0);
    backup.kill().unwrap();
    backup.wait().unwrap();
}

#[tokio::test]
async fn a_slot_that_lost_its_wal_keeps_none() {
    let server = Server::private();
    for setting in ["max_slot_wal_keep_size = 16MB", "min_wal_size = 32MB", "max_wal_size = 32MB"] {
        server.set(setting);
    }
    server.stop();
    server.start();
    let database = server.database("losing");
    database.admin("SELECT pg_create_physical_replication_slot('left', true); CREATE TABLE filled (a int)");
    for _ in 0..6 {
        database.admin("INSERT INTO filled VALUES (1)");
        database.admin("SELECT pg_switch_wal()");
    }
    database.admin("CHECKPOINT");
    database.wait_for("SELECT wal_status = 'lost' FROM pg_replication_slots").await;
    let samples = scrape(&function(&Queries::new(&shipped()), &database).await).await;
    let slot = "slot_name=\"left\",slot_type=\"physical\"";
    let lost = format!("pg_replication_slots_wal_status{{{slot},pg_replication_slots_wal_status=\"lost\"}}");
    assert_eq!(samples.value(&lost), 1.0);
    // Two alerts ask for these too, and one slot has one alert.
    assert_eq!(samples.of("pg_replication_slots_retained_bytes"), []);
    assert_eq!(samples.value(&format!("pg_replication_slots_active{{{slot}}}")), 0.0);
}

/// Scrapes until a condition holds, since the server's statistics are a little late.
async fn scraped_until(
    lambda: &crate::runtime_api::Lambda,
    holds: impl Fn(&crate::samples::Samples) -> bool,
) -> crate::samples::Samples {
    let scrapes = async {
        loop {
            let samples = scrape(lambda).await;
            if holds(&samples) {
                return samples;
            }
        }
    };
    tokio::time::timeout(AMPLE, scrapes).await.unwrap()
}

#[tokio::test]
async fn of_many_tables_and_indexes_few_are_there_and_the_busiest_are() {
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
    // Busier ones that are temporary take no place.
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
    let lambda = function(&Queries::new(&shipped()), &database).await;
    let busiest = "{datname=\"many_tables\",relname=\"t217\",schemaname=\"public\"}";
    let samples = scraped_until(&lambda, |samples| {
        let rows = samples.of("pg_stat_user_tables_tup_ins_total");
        rows.iter().any(|(labels, value)| (*labels, *value) == (busiest, 1000.0))
    })
    .await;
    let tables = samples.of("pg_stat_user_tables_live_rows");
    assert!(
        tables.len() <= 65 && tables.iter().all(|(labels, _)| labels.contains("relname=\"t")),
        "{tables:?}"
    );
    let indexes = samples.of("pg_stat_user_indexes_idx_scan_total");
    assert!(indexes.len() <= 50, "{indexes:?}");
    assert!(indexes.iter().any(|(labels, _)| labels.contains("indexrelname=\"t217_b_key\"")), "{indexes:?}");
}

/// Among 55 busier tables: one with dead rows, one that is large by its TOAST, one with the oldest transaction id.
#[tokio::test]
async fn tables_that_hurt_are_there_though_others_are_busier() {
    // On a shared server the transactions of other tests would give tables the same age.
    let server = Server::private();
    let database = server.database("hurting");
    database
        .admin("CREATE TABLE oldest (a int) WITH (autovacuum_enabled = off); INSERT INTO oldest VALUES (1)");
    database.admin(
        "CREATE TABLE dead (a int) WITH (autovacuum_enabled = off);
         CREATE TABLE wide (v text) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
         ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
         INSERT INTO wide SELECT repeat('x', 1000000) FROM generate_series(1, 3)",
    );
    database.admin("INSERT INTO dead SELECT generate_series(1, 3000)");
    database.admin("DELETE FROM dead");
    database.admin(
        "DO $$ BEGIN
           FOR number IN 1..55 LOOP
             EXECUTE format('CREATE TABLE busy%s (a int) WITH (autovacuum_enabled = off)', number);
             EXECUTE format('INSERT INTO busy%s SELECT generate_series(1, 10000)', number);
           END LOOP;
         END $$",
    );
    database.admin("VACUUM wide");
    let lambda = function(&Queries::new(&shipped()), &database).await;
    let of = |samples: &crate::samples::Samples, column: &str, table: &str| {
        let series = format!("pg_stat_user_tables_{column}");
        let labels = format!("{{datname=\"hurting\",relname=\"{table}\",schemaname=\"public\"}}");
        samples.of(&series).into_iter().find(|(given, _)| *given == labels).map(|(_, value)| value)
    };
    let samples = scraped_until(&lambda, |samples| {
        of(samples, "dead_rows", "dead") == Some(3000.0)
            && samples.of("pg_stat_user_tables_live_rows").len() > 25
    })
    .await;
    assert!(
        of(&samples, "frozen_transaction_ids", "oldest") > of(&samples, "frozen_transaction_ids", "dead")
    );
    // Never analyzed, and still with a size.
    assert_eq!(of(&samples, "size_bytes", "oldest"), Some(8192.0));
    let with_toast = of(&samples, "size_bytes", "wide").unwrap();
    assert!(with_toast > 3e6, "{with_toast}");
    let exact = "SELECT sum(pg_relation_size(oid)) FROM pg_class
                 WHERE oid IN (SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class WHERE relname = 'wide')
                    OR oid IN (SELECT indexrelid FROM pg_index
                               WHERE indrelid = (SELECT reltoastrelid FROM pg_class WHERE relname = 'wide'))";
    assert_eq!(database.admin_cell(exact).parse::<f64>().unwrap(), with_toast);
    assert!(samples.of("pg_stat_user_tables_live_rows").len() <= 65);

    // A lock makes nothing wait: the sizes are those of the last vacuum.
    let _locker = open(&database, "BEGIN; LOCK TABLE wide, dead").await;
    let samples = scrape(&lambda).await;
    assert_eq!(samples.of("pg_exporter_query_error"), []);
    assert_eq!(of(&samples, "size_bytes", "dead"), Some(0.0));
    assert!(of(&samples, "size_bytes", "wide").is_some_and(|bytes| bytes > 3e6));
}

/// The indexes of a table count as that table. Each of 25 has more reads than a small table, which has none of the oldest
/// transaction ids and no dead rows.
#[tokio::test]
async fn indexes_of_one_table_take_no_places_of_others() {
    let database = Server::shared().database("crowd");
    database.admin(
        "DO $$ BEGIN
           FOR number IN 1..12 LOOP EXECUTE format('CREATE TABLE old%s (a int)', number); END LOOP;
         END $$",
    );
    database.admin(
        "CREATE TABLE crowd (v text);
         ALTER TABLE crowd ALTER v SET STORAGE PLAIN;
         INSERT INTO crowd SELECT repeat('x', 2500) || n FROM generate_series(1, 450) AS n;
         DO $$ BEGIN
           FOR number IN 1..25 LOOP EXECUTE 'CREATE INDEX ON crowd (v)'; END LOOP;
         END $$;
         INSERT INTO crowd SELECT repeat('y', 2500) || n FROM generate_series(1, 50) AS n;
         CREATE TABLE small (a int);
         INSERT INTO small SELECT generate_series(1, 20)",
    );
    let busier = "SELECT count(*) = 25 FROM pg_class WHERE relpages > 127 AND relkind = 'i' AND oid >= 16384
                         AND pg_stat_get_blocks_fetched(oid) > pg_stat_get_blocks_fetched('small'::regclass)
                         AND pg_stat_get_blocks_fetched('small'::regclass) > 0";
    database.wait_for(busier).await;
    let samples = scrape(&function(&Queries::new(&shipped()), &database).await).await;
    let rows = samples.of("pg_stat_user_tables_tup_ins_total");
    assert!(
        rows.contains(&("{datname=\"crowd\",relname=\"small\",schemaname=\"public\"}", 20.0)),
        "{rows:?}"
    );
}

/// Each file has its cost at its head.
#[test]
fn collections_say_what_they_cost() {
    for (name, text) in collections().into_iter().chain(of_other_exporters()) {
        assert!(text.contains("\n# Cost: ") && !text.contains("COST_"), "{name}");
    }
}

#[tokio::test]
async fn collections_find_invalid_and_unused_indexes_and_bloat() {
    let server = Server::private();
    let database = server.database("collections");
    database.admin(&format!(
        "CREATE TABLE bloated (id bigint PRIMARY KEY, v text) WITH (autovacuum_enabled = off);
         INSERT INTO bloated SELECT n, md5(n::text) FROM generate_series(1, 60000) AS n;
         CREATE TABLE sound AS SELECT * FROM bloated; CREATE INDEX unused ON sound (v);
         CREATE TABLE partly_read AS SELECT * FROM bloated; GRANT SELECT (id) ON partly_read TO {ROLE};
         GRANT SELECT ON bloated, sound TO {ROLE}; INSERT INTO sound VALUES (1, 'a'), (1, 'a')"
    ));
    let session = database.session().await;
    let failed = session.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY twice ON sound (id)").await;
    assert!(failed.is_err(), "the column has the same number twice");
    database.admin("DELETE FROM bloated WHERE id % 3 > 0");
    database.admin("VACUUM ANALYZE bloated");
    database.admin("VACUUM ANALYZE sound");
    database.admin("VACUUM ANALYZE partly_read");
    let queries = Queries::new(&collections().into_values().collect::<String>());
    let samples = scrape(&function(&queries, &database).await).await;
    assert_eq!(samples.of("pg_exporter_query_error"), []);
    assert_eq!(samples.value("pg_indexes_invalid{datname=\"collections\"}"), 1.0);
    let [(invalid, _)] = samples.of("pg_index_invalid_size_bytes")[..] else { panic!("{samples:#?}") };
    assert!(invalid.contains("indexrelname=\"twice\""), "{invalid}");
    let [(unused, bytes)] = samples.of("pg_index_unused_size_bytes")[..] else { panic!("{samples:#?}") };
    assert!(unused.contains("indexrelname=\"unused\"") && bytes > 1e6, "{unused} {bytes}");
    let ratio = |table: &str| {
        let labels = format!("{{datname=\"collections\",relname=\"{table}\",schemaname=\"public\"}}");
        samples.value(&format!("pg_table_bloat_bloat_ratio{labels}"))
    };
    assert!((0.55..0.75).contains(&ratio("bloated")), "{}", ratio("bloated"));
    assert!(ratio("sound") < 0.25, "{}", ratio("sound"));
    // The widths of the columns that the role may not read are missing, and an estimate without them is too high.
    let tables = samples.of("pg_table_bloat_bloat_ratio");
    assert!(tables.iter().all(|(labels, _)| !labels.contains("partly_read")), "{tables:?}");
}
